//! What the store on disk notices about itself, and what it says about it.

use std::{fs, path::Path};

use sessionkeeper::{
    SessionId,
    store::{OnDamage, SledStore, Store, StoreError, export},
};

use super::{
    fixture::{
        Place, messages, next, noise, only, opened, put, record, session, with_events, with_inputs,
        with_snapshot, worker,
    },
    sled::{Folder, copy, raw},
};

/// The key of a numbered part of a session.
pub(crate) fn part(session: SessionId, sequence: u64) -> Vec<u8> {
    let mut key = session.as_uuid().as_bytes().to_vec();
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// Writes a value that cannot be read behind the back of a closed store.
pub(crate) fn spoil(store: &Path, tree: &str, key: &[u8]) {
    raw(store, |db| {
        let tree = db.open_tree(tree).expect("a tree");
        let old = tree.insert(key, b"?\x01 spoiled".as_slice()).expect("insert");
        assert!(old.is_some(), "there was a value");
    });
}

/// The files of a database with their bytes, by name.
fn files(database: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(database).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_file() && entry.file_name() != "MARK" {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push((name, fs::read(entry.path()).expect("a file")));
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn a_store_that_was_put_back_to_before_its_last_worker_is_not_taken_for_the_newest() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    store.close().await.expect("close");
    let [sled, backup] = ["sled", "backup"].map(|name| place.path().join(name));
    copy(&sled, &backup);
    let store = place.open().await;
    store.begin(worker(2)).await.expect("begin");
    drop(store);
    fs::remove_dir_all(&sled).expect("removed");
    fs::rename(&backup, &sled).expect("put back");
    let error = SledStore::open(place.path()).expect_err("rolled back");
    assert!(matches!(error, StoreError::StoreDamaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_that_only_a_worker_was_in_is_missed_when_it_is_gone() {
    let (place, store) = opened::<Folder>().await;
    drop(store);
    fs::remove_dir_all(place.path().join("sled")).expect("emptied");
    let error = SledStore::open(place.path()).expect_err("emptied");
    assert!(matches!(error, StoreError::StoreDamaged { .. }), "{error:?}");
    assert!(error.to_string().contains("it is empty and should hold commit 1"), "{error}");
}

#[tokio::test]
async fn an_empty_store_without_its_mark_is_set_aside_as_it_was() {
    let place = Folder::new();
    drop(place.open().await);
    // Sled changes its files whenever it opens them.
    let before = files(&place.path().join("sled"));
    fs::write(place.path().join("MARK"), "nonsense").expect("spoiled");
    let error = SledStore::open(place.path()).expect_err("nobody knows what it held");
    let StoreError::StoreDamaged { aside, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(files(aside) == before, "it was changed");
}

#[tokio::test]
async fn events_and_inputs_before_a_damaged_one_can_be_read() {
    let (place, store) = opened::<Folder>().await;
    // Each too large to share a row.
    let long = "x".repeat(9_000);
    let stored = put(&store, with_events(record(1), [long.as_str(); 2])).await;
    let inputs = [(None, b"one".as_slice()), (None, b"two")];
    put(&store, with_inputs(next(&stored, |_| ()), &inputs)).await;
    drop(store);
    for tree in ["events", "inputs"] {
        spoil(place.path(), tree, &part(session(1), 2));
    }
    let store = place.open().await;
    let events = store.events(session(1), 1..=9, 1).await.expect("sound");
    assert_eq!(messages(&events), [(1, long)]);
    store.events(session(1), 1..=9, 2).await.expect_err("damaged");
    let inputs = store.inputs(session(1), 0, 1).await.expect("sound");
    assert_eq!(inputs.len(), 1);
    store.inputs(session(1), 0, 2).await.expect_err("damaged");
}

#[tokio::test]
async fn damage_is_reported_with_the_number_of_the_part() {
    let (place, store) = opened::<Folder>().await;
    // The length of the key of a numbered part says what it is.
    let id = "longer than a number is";
    let first = put(&store, with_inputs(record(1), &[(Some(id), b"one"), (None, b"two")])).await;
    let large = with_snapshot(next(&first, |_| ()), 0, &[7; 40_000]);
    let stored = put(&store, large).await;
    put(&store, with_snapshot(next(&stored, |_| ()), 0, b"state")).await;
    drop(store);
    let own = session(1).as_uuid().into_bytes();
    // Which one is in a slot is not known any more.
    spoil(place.path(), "slots", &[&own[..], &[0]].concat());
    spoil(place.path(), "snapshots", &part(session(1), 1));
    spoil(place.path(), "inputs", &part(session(1), 2));
    spoil(place.path(), "input_ids", &[&own, id.as_bytes()].concat());
    spoil(place.path(), "records", &own);
    let report = export(place.path(), Vec::new()).expect("export");
    let mut reasons: Vec<_> = report.lost.iter().map(|damage| damage.reason.as_str()).collect();
    reasons.sort_unstable();
    let parts: Vec<_> = reasons.iter().filter_map(|reason| reason.split_once(" cannot")).collect();
    let parts: Vec<_> = parts.into_iter().map(|(part, _)| part).collect();
    let expected = ["its input 2", "its input id", "its record", "its snapshot 1", "its snapshot"];
    assert_eq!(parts, expected);
}

#[tokio::test]
async fn a_value_in_a_file_of_its_own_is_reported() {
    let (place, store) = opened::<Folder>().await;
    let stored = put(&store, only(record(1))).await;
    fs::write(place.path().join("sled/blobs/1234567"), "not on the device").expect("a file");
    store.begin(worker(2)).await.expect("begin");
    let damaged = store.damaged().await.expect("a list");
    let reasons: Vec<_> = damaged.iter().map(|damage| damage.reason.as_str()).collect();
    assert_eq!(reasons, ["1 values are in blob files, which a power cut can destroy"]);
    assert_eq!(store.load(session(1)).await.expect("load"), Some(stored));
}

#[tokio::test]
async fn pieces_go_with_their_snapshot_whatever_was_committed_in_between() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, b"small")).await;
    // A large one takes its number.
    let mut again = only(next(&stored, |_| ()));
    let large = noise(1, 100_000);
    again.snapshot = Some(large.as_slice().into());
    stored = put(&store, again).await;
    let found = store.snapshot(session(1), 1).await.expect("snapshot").expect("kept");
    assert!(*found == *large);
    for _ in 0..2 {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"small")).await;
        stored = put(&store, only(next(&stored, |_| ()))).await;
    }
    drop(store);
    let pieces = raw(place.path(), |db| db.open_tree("pieces").expect("a tree").len());
    assert_eq!(pieces, 0);
}

#[tokio::test]
async fn small_events_of_one_commit_share_rows() {
    let (place, store) = opened::<Folder>().await;
    let texts: Vec<_> = (0..200).map(|number| format!("event {number}")).collect();
    put(&store, with_events(record(1), texts.iter().map(String::as_str))).await;
    drop(store);
    let rows = raw(place.path(), |db| db.open_tree("events").expect("a tree").len());
    assert!((4..=12).contains(&rows), "{rows} rows");
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_as_it_was() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, only(record(1))).await;
    let long = "x".repeat(9_000);
    for _ in 0..20 {
        stored = put(&store, with_events(next(&stored, |_| ()), [long.as_str()])).await;
    }
    drop(store);
    let database = place.path().join("sled");
    // The end of its log is gone.
    let log = fs::OpenOptions::new().write(true).open(database.join("db")).expect("the log");
    log.set_len(100_000).expect("cut short");
    let before = files(&database);
    let error = SledStore::open(place.path()).expect_err("damaged");
    let StoreError::StoreDamaged { aside, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(files(aside) == before, "it was changed");
    assert!(!place.path().join("reading").exists(), "the copy that was looked at is gone");
}

#[tokio::test]
async fn one_damaged_store_is_set_aside_beside_another() {
    let place = Folder::new();
    for number in 1..=3 {
        let options = SledStore::options(place.path()).on_damage(OnDamage::StartFresh);
        let store = options.open().expect("open");
        store.begin(worker(1)).await.expect("begin");
        assert_eq!(store.load(session(number)).await.expect("load"), None);
        put(&store, only(record(number))).await;
        drop(store);
        let log = place.path().join("sled/db");
        fs::write(&log, format!("the damage of store {number}")).expect("damaged");
    }
    SledStore::open(place.path()).expect_err("damaged");
    for number in 1..=3 {
        let log = place.path().join(format!("damaged-{number}/db"));
        let found = fs::read_to_string(log).expect("kept");
        assert_eq!(found, format!("the damage of store {number}"));
    }
}
