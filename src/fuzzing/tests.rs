//! The inputs that the fuzzer found worth keeping, and small changes of them.

use std::{collections::BTreeSet, fs, panic::catch_unwind, path::PathBuf};

use fastrand::Rng;

use super::{TARGETS, Target};

/// How many changes are tried of each input.
const CHANGES: usize = 20;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// Whether the inputs are here; they are not in the package.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_packaged(test: &str) -> bool {
    let packaged = !corpus().exists();
    if packaged {
        eprintln!("skipped: {test}: fuzz/corpus is not in the package");
    }
    packaged
}

/// The inputs of a target, by their names.
fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target.name);
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .expect("a folder for each target")
        .map(|entry| {
            let entry = entry.expect("a folder that can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file that can be read"))
        })
        .collect();
    inputs.sort();
    inputs
}

fn check(target: &Target, name: &str, bytes: &[u8]) {
    let checked = catch_unwind(|| (target.check)(bytes));
    assert!(checked.is_ok(), "{}/{name}: {}", target.name, bytes.escape_ascii());
}

#[test]
fn every_kept_input_is_decoded_as_promised() {
    if is_packaged("every_kept_input_is_decoded_as_promised") {
        return;
    }
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "{} has no inputs", target.name);
        for (name, bytes) in inputs {
            check(target, &name, &bytes);
        }
    }
}

#[test]
fn every_folder_of_inputs_has_its_target() {
    if is_packaged("every_folder_of_inputs_has_its_target") {
        return;
    }
    let folders: BTreeSet<_> = fs::read_dir(corpus())
        .expect("a folder that can be read")
        .map(|entry| entry.expect("a folder that can be read").file_name())
        .collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name.into()).collect();
    assert_eq!(folders, targets);
}

#[test]
fn small_changes_of_the_kept_inputs_are_decoded_as_promised() {
    if is_packaged("small_changes_of_the_kept_inputs_are_decoded_as_promised") {
        return;
    }
    let mut random = Rng::with_seed(7);
    for target in TARGETS.iter().filter(|target| target.name != "import") {
        for (name, bytes) in inputs(target) {
            for _ in 0..CHANGES {
                let mut changed = bytes.clone();
                for _ in 0..random.usize(1..4) {
                    change(&mut changed, &mut random);
                }
                check(target, &name, &changed);
            }
        }
    }
}

fn change(bytes: &mut Vec<u8>, random: &mut Rng) {
    let place = random.usize(0..=bytes.len());
    let end = random.usize(place..=bytes.len());
    match random.u8(0..5) {
        0 => bytes.truncate(place),
        1 => drop(bytes.drain(place..end.min(place + 8))),
        2 => bytes.insert(place, random.u8(..)),
        3 => bytes.extend_from_within(place..end),
        _ => {
            let chosen = random.u8(..);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = [0, u8::MAX, *byte ^ 1, chosen][random.usize(0..4)];
            }
        }
    }
}
