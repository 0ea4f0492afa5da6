//! Journals that were cut off, damaged, or written by somebody else.

use super::*;

fn file(path: &str) -> Step {
    Step::ReplaceFile { path: path.into(), before: None, after: Some(b"x".to_vec()) }
}

#[test]
fn a_line_that_a_crash_cut_off_does_not_count() {
    let plan = Plan {
        steps: vec![file("/etc/a"), Step::RunTool { argv: vec!["/usr/sbin/update-grub".into()], why: String::new() }],
        ..Plan::default()
    };
    let mut text = line(&begin(Verb::Apply, 7, None, &plan));
    text.push_str(&line(&Record::Started { step: 0, made: Vec::new() }));
    text.push_str(line(&Record::Finished { end: End::Applied }).trim_end());
    let operation = read(3, "/j", text.as_bytes()).unwrap();
    assert_eq!((operation.number, operation.started.as_slice(), operation.end), (3, [0].as_slice(), None));
    assert_eq!(roll_back_steps(&operation), [Step::ReplaceFile { path: "/etc/a".into(), before: Some(b"x".to_vec()), after: None }]);
}

#[test]
fn a_file_cut_off_anywhere_is_open_or_named_as_damaged() {
    let step = || Record::Started { step: 0, made: vec!["/etc/x".into()] };
    let plan = Plan { steps: vec![file("/etc/x/a")], ..Plan::default() };
    let begin = line(&begin(Verb::Apply, 7, None, &plan));
    let kept = Record::Kept { path: "/boot/i".into(), copy: Some(format!("{KEPT}/0001-0")) };
    let rest: String = [kept, step(), Record::Done { step: 0 }, Record::Finished { end: End::Applied }].iter().map(line).collect();
    let text = format!("{begin}{rest}");
    for length in 0..text.len() {
        for tail in [b"".as_slice(), b"\0\0\0\0", b"\0\n", b"\xff{"] {
            let bytes = [&text.as_bytes()[..length], tail].concat();
            match read(1, "/j", &bytes) {
                Ok(operation) => assert!(length >= begin.len() - 1 && operation.end.is_none(), "{length} {tail:?}"),
                Err(error) => assert!(length < begin.len() && error.to_string().starts_with("/j"), "{length} {tail:?}: {error}"),
            }
            let closed = [bytes, line(&Record::Finished { end: End::RolledBack }).into_bytes()].concat();
            if length >= begin.len() && tail != b"\0\n" {
                assert_eq!(read(1, "/j", &closed).unwrap().end, Some(End::RolledBack), "recover can close it: {length} {tail:?}");
            }
        }
    }
    assert_eq!(read(1, "/j", text.as_bytes()).unwrap().end, Some(End::Applied));
}

#[test]
fn records_that_cannot_be_true_are_damage() {
    let plan = Plan { steps: vec![file("/etc/a")], ..Plan::default() };
    let begun = line(&begin(Verb::Apply, 7, None, &plan));
    for (record, problem) in [
        (Record::Started { step: 1, made: Vec::new() }, "no such step"),
        (Record::Started { step: 0, made: vec!["/usr/bin".into()] }, "no such directory"),
        (Record::Kept { path: "/usr/bin/ls".into(), copy: None }, "no such file"),
        (Record::Kept { path: "/boot/i".into(), copy: Some("/etc/shadow".into()) }, "no file there"),
        (Record::Kept { path: "/boot/i".into(), copy: Some(format!("{KEPT}/../../../etc/shadow")) }, "no file there"),
    ] {
        let error = read(1, "/j", format!("{begun}{}", line(&record)).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("/j:2") && error.contains(problem), "{error}");
    }
    let twice = format!("{begun}{begun}");
    assert!(read(1, "/j", twice.as_bytes()).is_err());
    let other = begun.replace("cede.journal/1", "cede.journal/9");
    assert!(read(1, "/j", other.as_bytes()).unwrap_err().to_string().contains("cede.journal/9"));
}

fn whole() -> String {
    let plan = Plan { steps: vec![file("/etc/a"), file("/etc/b")], ..Plan::default() };
    let step = |step| [line(&Record::Started { step, made: Vec::new() }), line(&Record::Done { step })].concat();
    let kept = line(&Record::Kept { path: "/boot/i".into(), copy: None });
    [line(&begin(Verb::Apply, 7, None, &plan)), kept, step(0), step(1), line(&Record::Finished { end: End::Applied })].concat()
}

#[test]
fn a_flipped_bit_changes_no_word_of_what_was_done() {
    let text = whole();
    let right = read(1, "/j", text.as_bytes()).unwrap();
    for at in 0..text.len() * 8 {
        let mut bytes = text.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        match read(1, "/j", &bytes) {
            Ok(operation) => {
                let open = Operation { end: None, ..right.clone() };
                let is_told = operation == right || operation == Operation { started: operation.started.clone(), ..open };
                assert!(is_told, "{at}: {}", String::from_utf8_lossy(&bytes));
            }
            Err(error) => assert!(error.to_string().starts_with("/j"), "{error}"),
        }
    }
}

#[test]
fn records_twice_missing_or_in_another_order_are_damage() {
    let text = whole();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let said = |lines: &[&str]| read(1, "/j", format!("{}\n", lines.join("\n")).as_bytes()).map_err(|error| error.to_string());
    assert!(said(&lines).is_ok());
    for index in 0..lines.len() - 1 {
        let mut list = lines.clone();
        list.insert(index, lines[index]);
        assert!(said(&list).unwrap_err().starts_with("/j"), "{index} twice");
        let mut list = lines.clone();
        list.remove(index);
        // That nothing was kept of a file is told by no other record.
        assert!(index == 1 || said(&list).unwrap_err().starts_with("/j"), "{index} missing");
        let mut list = lines.clone();
        list.swap(index, index + 1);
        assert!([1, 3].contains(&index) || said(&list).unwrap_err().starts_with("/j"), "{index} late");
    }
}

#[test]
fn what_an_earlier_version_wrote_is_read_and_closed() {
    let old = whole()
        .lines()
        .map(|line| line.split(SUM).next().unwrap().to_owned() + if line.is_empty() { "\n" } else { "}\n" })
        .collect::<String>();
    assert!(!old.contains("sum") && read(1, "/j", old.as_bytes()).unwrap().end == Some(End::Applied));
    let closed = format!("{}{}", old.trim_end(), line(&Record::Finished { end: End::RolledBack }));
    assert_eq!(read(1, "/j", closed.as_bytes()).unwrap().end, Some(End::RolledBack));
}

#[test]
fn names_that_cede_does_not_give_are_named() {
    for name in ["1.jsonl", "0000.jsonl", "00001.jsonl", "4294967296.jsonl", "99999999999999999999.jsonl"] {
        let mut capture = Capture::new();
        capture.insert(format!("{OPERATIONS}/{name}"), Entry::File(whole().into_bytes()));
        assert!(operations(&capture).unwrap_err().to_string().contains(name));
    }
    for name in ["0001.jsonl", "12345.jsonl", "4294967295.jsonl", "notes.jsonl", ".jsonl", "-1.jsonl"] {
        let mut capture = Capture::new();
        capture.insert(format!("{OPERATIONS}/{name}"), Entry::File(whole().into_bytes()));
        assert!(operations(&capture).is_ok(), "{name}");
    }
}

#[test]
fn two_cuts_one_after_the_other_can_be_closed() {
    let text = whole();
    let begun = text.lines().next().unwrap();
    let twice = format!("{begun}\n{{\"record\":\"sta\n{{\"record\":\"fini{}", line(&Record::Finished { end: End::RolledBack }));
    assert_eq!(read(1, "/j", twice.as_bytes()).unwrap().end, Some(End::RolledBack));
    let done = format!("{begun}\n{{\"record\":\"sta\n{}", line(&Record::Finished { end: End::Applied }));
    assert!(read(1, "/j", done.as_bytes()).is_err(), "nothing is done behind what was cut off");
}

#[test]
fn what_is_no_file_is_not_passed_over() {
    let path = path(1);
    for entry in [Entry::Dir, Entry::Link("x".into()), Entry::Present(9), Entry::Unreadable("Fifo".into())] {
        let mut capture = Capture::new();
        capture.insert(path.as_str(), entry);
        assert!(matches!(operations(&capture), Err(JournalError::NoFile { .. })));
    }
}

#[test]
fn damage_is_named() {
    let begun = line(&begin(Verb::Apply, 7, None, &Plan::default()));
    let closed = format!("{begun}{{\"record\":\"sta\n{}", line(&Record::Finished { end: End::RolledBack }));
    assert_eq!(read(1, "/j", closed.as_bytes()).unwrap().end, Some(End::RolledBack));
    let damaged = format!("{begun}nonsense\n{}", line(&Record::Started { step: 0, made: Vec::new() }));
    assert!(read(1, "/j", damaged.as_bytes()).unwrap_err().to_string().starts_with("/j:2"));
    for (text, problem) in [("", "does not begin"), ("{\"record\":\"started\",\"step\":0}\n", "does not begin"), ("nonsense\n", "/j:1")] {
        let error = read(1, "/j", text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
