//! The exact bytes that edits leave, as a person would have written them.

use super::array::{append_elements, prepend_elements, put_modules_first, remove_elements};
use super::words::{append_words, remove_word, replace_word};
use super::{CannotEdit, Dialect, Evaluation, Shells, Sourcing, evaluate, parse};

const X: &str = "GRUB_CMDLINE_LINUX_DEFAULT";

fn text(bytes: Result<Vec<u8>, CannotEdit>) -> String {
    bytes.map_or_else(|error| format!("refused: {error}"), |bytes| String::from_utf8(bytes).unwrap())
}

/// `X` in the tables stands for the variable's name.
fn full(text: &str) -> String {
    text.replace('X', X)
}

#[test]
fn words_are_appended_in_place_or_on_a_line_of_their_own() {
    let table = [
        ("X=\"quiet\"\n", "X=\"quiet a=b\"\n"),
        ("X='quiet'\n", "X='quiet a=b'\n"),
        ("X=\"\" # note\n", "X=\"a=b\" # note\n"),
        ("X=\n", "X=\"a=b\"\n"),
        ("X=quiet\n", "X=\"quiet a=b\"\n"),
        ("X=\"  quiet  \"\n", "X=\"  quiet a=b  \"\n"),
        ("X=\"quiet \\\n  splash\"\n", "X=\"quiet \\\n  splash a=b\"\n"),
        ("X=\"q\"\nX=\"$X r\"\n", "X=\"q\"\nX=\"$X r a=b\"\n"),
        ("X=\"q d=\\\"x y\\\"\"\n", "X=\"q d=\\\"x y\\\" a=b\"\n"),
        ("X=\"quiet -- single\"\n", "X=\"quiet a=b -- single\"\n"),
        ("A='q'\nX=\"$A\"\n", "A='q'\nX=\"$A\"\nX=\"$X a=b\"\n"),
        ("X=\"q $(id)\"", "X=\"q $(id)\"\nX=\"$X a=b\"\n"),
        ("A=1", "A=1\nX=\"a=b\"\n"),
        ("", "X=\"a=b\"\n"),
    ];
    for (before, after) in table {
        assert_eq!(text(append_words(full(before).as_bytes(), X, &["a=b"], Shells::Either)), full(after), "{before}");
    }
}

#[test]
fn what_is_special_in_the_quotes_is_escaped() {
    let word = "a=\"$x `y\\z it's\"";
    for before in ["X=\"q\"\n", "X='q'\n", "X=q\n"] {
        let new = append_words(full(before).as_bytes(), X, &[word], Shells::Either).unwrap();
        let Evaluation::Scalar(value) = evaluate(&[&new], Sourcing::Each, Dialect::Dash, X) else { panic!("{before}") };
        assert_eq!(value.bytes().unwrap(), format!("q {word}").into_bytes(), "{before}");
    }
}

#[test]
fn words_are_removed_with_the_blank_beside_them() {
    let table = [
        ("X=\"a w b\"\n", "X=\"a b\"\n"),
        ("X=\"w b\"\n", "X=\"b\"\n"),
        ("X=\"a w\"\n", "X=\"a\"\n"),
        ("X='w'\n", "X=''\n"),
        ("X=a\\ w\n", "X=a\n"),
        ("X=\"a \\\n  w \\\n  b\"\n", "X=\"a \\\n  b\"\n"),
        ("X=\"w a w\"\n", "X=\"w a\"\n"),
        ("X=\"a\"\nX=\"$X w\"\nB=1\n", "X=\"a\"\nB=1\n"),
        ("X=\"$(id)\"\nX=\"$X w\"\n", "X=\"$(id)\"\n"),
    ];
    for (before, after) in table {
        assert_eq!(text(remove_word(full(before).as_bytes(), X, "w", Shells::Either)), full(after), "{before}");
    }
    assert_eq!(text(replace_word(full("X='a w b'").as_bytes(), X, "w", "v=1", Shells::Either)), full("X='a v=1 b'"));
}

#[test]
fn refusals_name_the_line_and_what_to_do() {
    let table = [
        ("A=1\r\nX=\"q\"\r\n", "line 1: the file has CR line ends"),
        ("X=\"q\n", "line 1: double quote that is not closed"),
        ("X=\"q\"\n[ -e /x ] && X=\"r\"\n", "line 2: a conditional or compound command may change"),
        ("A=1\nX=\"q\"\nX+=\" r\"\n", "dash and bash read"),
        ("X=\"q d=\\\"x\"\n", "line 1: GRUB_CMDLINE_LINUX_DEFAULT has a double quote that is not closed"),
        ("A=(1)\nX=q\n", "line 1: unexpected `(`"),
    ];
    for (before, why) in table {
        let error = append_words(full(before).as_bytes(), X, &["a=b"], Shells::Either).unwrap_err().to_string();
        assert!(error.contains(why), "{before}: {error}");
    }
    for word in ["a b", "", "--", "a=\"b", "a\nb"] {
        let error = append_words(b"", X, &[word], Shells::Either).unwrap_err();
        assert!(matches!(error, CannotEdit::NotAWord { .. }), "{word:?}: {error}");
    }
    let error = remove_word(full("A=1\nX=\"a\"\n").as_bytes(), X, "w", Shells::Either).unwrap_err();
    assert!(error.to_string().starts_with("line 2: ") && matches!(error, CannotEdit::NotThere { .. }));
}

#[test]
fn arrays_keep_their_form() {
    let first = |file: &str| text(put_modules_first(file.as_bytes(), "MODULES", &["vfio_pci", "vfio"], &["vfio_virqfd"]));
    let table = [
        ("MODULES=()\n", "MODULES=(vfio_pci vfio)\n"),
        ("MODULES=(a b)\n", "MODULES=(vfio_pci vfio a b)\n"),
        ("MODULES=( vfio-pci vfio_virqfd? a )\n", "MODULES=( vfio_pci vfio a )\n"),
        ("MODULES=(\n  a # one\n  vfio_virqfd\n)\n", "MODULES=(\n  vfio_pci vfio\n  a # one\n)\n"),
        ("MODULES=\"a vfio\"\n", "MODULES=\"vfio_pci vfio a\"\n"),
        ("MODULES=''\n", "MODULES='vfio_pci vfio'\n"),
        ("MODULES+=(a)\n", "MODULES+=(vfio_pci vfio a)\n"),
        ("A=1", "A=1\nMODULES+=(vfio_pci vfio)\n"),
        ("MODULES=(vfio_pci vfio a)\n", "MODULES=(vfio_pci vfio a)\n"),
    ];
    for (before, after) in table {
        assert_eq!(first(before), after);
    }
    assert!(first("MODULES=($(lsmod))\n").starts_with("refused: line 1: the value is computed"));
}

#[test]
fn elements_go_and_come_one_by_one() {
    assert_eq!(text(append_elements(b"MODULES=(\n  a # x\n)\n", "MODULES", &["b"])), "MODULES=(\n  a # x\n  b\n)\n");
    assert_eq!(text(append_elements(b"MODULES=(a)\nMODULES+=(b)\n", "MODULES", &["c"])), "MODULES=(a)\nMODULES+=(b c)\n");
    assert_eq!(text(prepend_elements(b"MODULES=(a)\nMODULES+=(b)\n", "MODULES", &["c"])), "MODULES=(c a)\nMODULES+=(b)\n");
    assert_eq!(text(remove_elements(b"MODULES=(a 'b' c)\n", "MODULES", &["b", "c"])), "MODULES=(a)\n");
    assert_eq!(text(remove_elements(b"A=1\nMODULES+=(b)\n", "MODULES", &["b"])), "A=1\n");
    assert_eq!(text(remove_elements(b"MODULES=(a)\n", "MODULES", &["b"])), "MODULES=(a)\n");
}

#[test]
fn errors_point_at_the_line_where_the_unclosed_thing_began() {
    let table: [(&[u8], usize); 7] = [
        (b"A=1\nB='x\nC=2\n", 2),
        (b"A=1\n\nB=(a\n", 3),
        (b"if true; then\nA=1\n", 1),
        (b"A=$(echo\n", 1),
        (b"A=1\ncat <<E\nx\n", 2),
        (b"A=${B\n", 1),
        (b"fi\n", 1),
    ];
    for (file, line) in table {
        assert_eq!(parse(file, Dialect::Bash).unwrap_err().line, line, "{}", String::from_utf8_lossy(file));
    }
}
