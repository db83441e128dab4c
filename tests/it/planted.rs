//! The list of bugs that can be planted (`src/faults/bug.rs`), which `.ci/planted` works off, says
//! what is true.

use std::{collections::BTreeSet, fs, path::Path};

use crate::tidy::rust_files;

/// An entry of the list.
#[derive(Debug)]
struct Entry {
    bug: String,
    place: String,
    tests: Vec<String>,
}

#[test]
fn every_bug_is_planted_where_its_entry_says_and_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = rust_files(root, Path::new("src"));
    let tests = rust_files(root, Path::new("tests"));
    let entries = entries(&fs::read_to_string(root.join("src/faults/bug.rs")).unwrap());
    assert!(entries.len() >= 24, "{} bugs", entries.len());
    for Entry { bug, place, tests: noticed } in &entries {
        let planted = format!("planted(Bug::{bug})");
        let places: Vec<_> = sources
            .iter()
            .flat_map(|(path, text)| text.matches(&planted).map(move |_| path))
            .collect();
        assert_eq!(places, [&format!("src/{place}")], "{bug}");
        assert!(!noticed.is_empty(), "{bug} names no test");
        for test in noticed {
            let exists = |text: &str| {
                text.contains(&format!("fn {test}(")) || text.contains(&format!("fn {test}<"))
            };
            let found = sources.iter().chain(&tests).any(|(_, text)| exists(text));
            assert!(found, "{bug}: there is no test {test}");
        }
    }
    let named: BTreeSet<_> = entries.iter().map(|entry| entry.bug.as_str()).collect();
    assert_eq!(named.len(), entries.len(), "each has one entry");
    #[cfg(sessionkeeper_faults)]
    {
        let all: BTreeSet<_> =
            sessionkeeper::faults::Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(named, all);
    }
}

/// A bug that could be planted by accident would have to be named in the program.
#[cfg(not(sessionkeeper_faults))]
#[test]
fn nothing_of_the_bugs_is_in_a_plain_build() {
    let program = fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = String::from_utf8_lossy(&program);
    assert!(program.contains("what is in the program is found"));
    // Taken apart, since this test is in the program too. One name stands for all.
    for trace in [["SESSIONKEEPER", "_PLANT"], ["Forget", "Mark"]] {
        assert!(!program.contains(&trace.concat()), "a plain build knows {trace:?}");
    }
}

/// Reads the list: of each variant the place, which its first line ends with, and the tests, which
/// its second line begins with.
fn entries(list: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut place, mut tests) = (String::new(), Vec::new());
    for line in list.lines().map(str::trim) {
        let quoted = || line.split('`').skip(1).step_by(2).map(str::to_owned);
        if line.starts_with("/// Noticed by ") {
            tests = quoted().collect();
        } else if line.starts_with("///") {
            place = quoted().last().unwrap_or_default();
        } else if let Some(bug) = line.strip_suffix(',') {
            let (place, tests) = (std::mem::take(&mut place), std::mem::take(&mut tests));
            entries.push(Entry { bug: bug.to_owned(), place, tests });
        }
    }
    entries
}
