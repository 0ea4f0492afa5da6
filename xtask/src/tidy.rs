//! What the compiler and clippy do not see: the fence of the pure crates, the size of files, fixtures without an origin.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// Everything that the pure crates may depend on. None of these does input or output by itself.
const PURE: [(&str, &[&str]); 2] = [
    ("model", &["thiserror", "flate2", "ruzstd", "lzma-rust2", "lz4_flex", "bzip2", "memchr"]),
    ("plan", &["cede-model", "thiserror", "serde", "serde_json", "sha2", "base64", "similar", "quick-xml"]),
];

/// What the sources of the pure crates may not name.
const IMPURE: [&str; 6] = ["std::fs", "std::env", "std::process", "std::net", "std::thread", "println!"];

/// Longest file, in lines.
const LONGEST: usize = 500;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut list = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            list.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            list.push(path);
        }
    }
    list
}

#[test]
fn pure_crates_depend_on_nothing_that_touches_a_machine() {
    for (name, allowed) in PURE {
        let manifest = fs::read_to_string(top().join(format!("crates/{name}/Cargo.toml"))).unwrap();
        let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
        let dependencies: Vec<&str> = section
            .lines()
            .filter_map(|line| line.split(['=', '.', ' ']).next())
            .filter(|word| !word.is_empty() && !word.starts_with('#'))
            .collect();
        assert!(!dependencies.is_empty());
        for dependency in dependencies {
            assert!(allowed.contains(&dependency), "crates/{name} depends on {dependency}, which is not on the list of the pure crates");
        }
    }
}

#[test]
fn pure_crates_name_nothing_that_touches_a_machine() {
    for (name, _) in PURE {
        for path in sources(&top().join(format!("crates/{name}/src"))) {
            let text = fs::read_to_string(&path).unwrap();
            for impure in IMPURE {
                assert!(!text.contains(impure), "{} names {impure}", path.display());
            }
        }
    }
}

/// The only file that may say `unsafe`.
const UNSAFE: &str = "host/src/vfio/ioctl.rs";

#[test]
fn one_file_has_what_the_compiler_cannot_check() {
    let of = |part: &str| sources(&top().join(part)).into_iter();
    let found: Vec<PathBuf> = of("crates")
        .chain(of("xtask").filter(|path| !path.ends_with("tidy.rs")))
        .filter(|path| fs::read_to_string(path).unwrap().contains("unsafe_code"))
        .collect();
    assert!(found.len() == 1 && found[0].ends_with(UNSAFE), "{found:?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources(&top().join("crates"))
        .into_iter()
        .chain(sources(&top().join("xtask")))
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_host_fixture_says_where_it_is_from() {
    let mut count = 0;
    for entry in fs::read_dir(top().join("fixtures/hosts")).unwrap().map(Result::unwrap) {
        let about = fs::read_to_string(entry.path().join("about.toml")).unwrap_or_default();
        assert!(
            about.contains("source = ") && about.contains("shows = "),
            "{} needs an about.toml with source and shows",
            entry.path().display()
        );
        count += 1;
    }
    assert!(count > 0);
}
