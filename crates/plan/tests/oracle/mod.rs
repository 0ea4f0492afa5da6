//! Real shells as oracle: what their variables hold after sourcing a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use cede_plan::edit::shell::{Dialect, Evaluation};

/// What a shell holds in a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    Unset,
    Scalar(Vec<u8>),
    Array(Vec<Vec<u8>>),
}

const BASH: &str = r#"
ulimit -t 2
. "$0" >/dev/null 2>&1 </dev/null
printf 'OK\0'
for __n in "$@"; do
  __d=$(declare -p "$__n" 2>/dev/null)
  __f=${__d#declare -}; __f=${__f%%[ =]*}
  case $__d in *=*) __v=1;; *) __v=;; esac
  case $__f:$__v in
    *a*:1) declare -n __r=$__n; printf 'A%s\0' "${#__r[@]}"; for __e in "${__r[@]}"; do printf '%s\0' "$__e"; done; unset -n __r;;
    *a*:) printf 'A0\0';;
    *:1) printf 'S%s\0' "${!__n}";;
    *) printf 'U\0';;
  esac
done
"#;

const DASH: &str = r#"
ulimit -t 2
. "$0" >/dev/null 2>&1 </dev/null
printf 'OK\0'
for __n in "$@"; do
  eval "__set=\${$__n+set}"
  if [ -n "$__set" ]; then eval "printf 'S%s\\0' \"\${$__n}\""; else printf 'U\0'; fi
done
"#;

static COUNTER: AtomicUsize = AtomicUsize::new(0);

/// An empty directory of this test process, so that patterns match nothing.
fn scratch() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("shell-oracle-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("empty")).unwrap();
    directory
}

/// Sources the file in the real shell without environment or commands and reads the variables; `None` if the shell
/// gave up.
pub(crate) fn ask(dialect: Dialect, file: &[u8], names: &[String]) -> Option<Vec<Held>> {
    let directory = scratch();
    let path = directory.join(format!("file-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
    std::fs::File::create(&path).unwrap().write_all(file).unwrap();
    let (shell, script) = match dialect {
        Dialect::Bash => ("/bin/bash", BASH),
        Dialect::Dash => ("/bin/dash", DASH),
    };
    let mut command = Command::new(shell);
    if dialect == Dialect::Bash {
        command.args(["--norc", "--noprofile"]);
    }
    command.arg("-c").arg(script).arg(&path).args(names);
    command.env_clear().env("PATH", "/nonexistent").current_dir(directory.join("empty"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    read(&output.stdout, names.len())
}

fn read(output: &[u8], count: usize) -> Option<Vec<Held>> {
    let mut fields = output.split(|b| *b == 0);
    if fields.next() != Some(b"OK") {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..count {
        let field = fields.next()?;
        found.push(match field.split_first()? {
            (b'S', value) => Held::Scalar(value.to_vec()),
            (b'A', length) => {
                let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
                Held::Array((0..length).map(|_| fields.next().map(<[u8]>::to_vec)).collect::<Option<_>>()?)
            }
            _ => Held::Unset,
        });
    }
    Some(found)
}

/// Our answer in the same form; `None` if unknown.
pub(crate) fn held(evaluation: &Evaluation) -> Option<Held> {
    match evaluation {
        Evaluation::Unset => Some(Held::Unset),
        Evaluation::Scalar(text) => text.bytes().map(Held::Scalar),
        Evaluation::Array(texts) => texts.iter().map(|text| text.bytes()).collect::<Option<_>>().map(Held::Array),
        Evaluation::Unknown(_) => None,
    }
}
