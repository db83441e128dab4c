use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;

#[test]
fn a_reserve_takes_the_room_that_it_keeps_back() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("RESERVE");
    for is_there in [false, true] {
        assert_eq!(path.exists(), is_there);
        assert!(make(&path).expect("made"), "there is room for it");
        let found = fs::metadata(&path).expect("a file");
        assert!(found.len() > SEGMENT as u64, "{} bytes", found.len());
        let taken = found.blocks() * 512;
        assert!(taken >= found.len(), "{taken} of {} bytes", found.len());
    }
    // One that a process left half-way.
    fs::write(&path, b"half").expect("written");
    assert!(make(&path).expect("made"), "there is room for it");
    assert!(fs::metadata(&path).expect("a file").len() > SEGMENT as u64);
    give_back(&path).expect("given back");
    assert!(!path.exists());
    give_back(&path).expect("there is nothing to give back");
    let nowhere = folder.path().join("nowhere/RESERVE");
    make(&nowhere).expect_err("it is not the room that is missing");
}
