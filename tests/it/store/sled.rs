//! What is special about the store on disk.

use std::{fs, path::Path};

use sessionkeeper::{
    EventType, EventTypes, SessionId,
    store::{
        Durability, LogItem, LogQuery, OnDamage, Order, Query, Refusal, SledStore, Store,
        StoreError,
    },
    testing::conformance,
};
use tempfile::TempDir;
use tokio_test::task;

use super::fixture::{
    Damageable, Place, batch, messages, next, noise, only, opened, put, record, reopened, session,
    with_events, with_inputs, with_snapshot, worker,
};

pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Place for Folder {
    type Store = SledStore;

    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    async fn open(&self) -> SledStore {
        SledStore::open(self.path()).expect("open")
    }
}

impl Damageable for Folder {
    async fn damage_record(&self, store: SledStore, session: SessionId) -> SledStore {
        drop(store);
        overwrite(self.path(), "records", session, b"R\x01 not what was written");
        self.open().await
    }
}

conformance!(Folder, damage);

#[tokio::test]
async fn a_second_opener_is_told_who_is_in_the_way() {
    let (place, store) = opened::<Folder>().await;
    let error = SledStore::open(place.path()).expect_err("in use");
    assert!(matches!(&error, StoreError::InUse { path } if path == place.path()), "{error}");
    let text = error.to_string();
    assert!(text.contains(&place.path().display().to_string()), "{text}");
    drop(store);
    SledStore::open(place.path()).expect("free again");
}

#[tokio::test]
async fn a_dropped_store_is_free_at_once() {
    let place = Folder::new();
    for round in 1..=20 {
        let store =
            SledStore::open(place.path()).unwrap_or_else(|error| panic!("{round}: {error}"));
        store.begin(worker(1)).await.expect("begin");
        let commit = only(record(round));
        put(&store, commit).await;
    }
}

/// What the system has of a process is all that a `kill -9` leaves of it.
#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    for durability in [Durability::Synced, Durability::Flushed] {
        let place = Folder::new();
        let live = place.path().join("live");
        let store = SledStore::options(&live).durability(durability).open().expect("open");
        store.begin(worker(1)).await.expect("begin");
        let first = put(&store, with_snapshot(record(1), 0, &noise(1, 100_000))).await;
        let second = put(&store, only(next(&first, |_| ()))).await;
        let left = place.path().join("left");
        copy(&live, &left);
        let found = SledStore::open(&left).expect("open");
        let loaded = found.load(session(1)).await.expect("load");
        assert_eq!(loaded, Some(second), "{durability:?}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_a_folder_is_refused_with_advice() {
    let place = Folder::new();
    let file = place.path().join("file");
    fs::write(&file, "taken").expect("a file");
    for path in [file.clone(), file.join("below")] {
        let error = SledStore::open(&path).expect_err("not a folder");
        assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
        assert!(error.to_string().contains("choose a path"), "{error}");
    }
    assert_eq!(fs::read_to_string(file).expect("the file"), "taken");
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_without_permission_is_refused_with_advice() {
    use std::os::unix::fs::PermissionsExt;

    let place = Folder::new();
    let folder = place.path().join("data");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).expect("read only");
    match SledStore::open(&folder) {
        Err(error) => {
            assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
            assert!(error.to_string().contains("the right to read and write"), "{error}");
        }
        // The superuser may write everywhere: then the store must simply work.
        Ok(store) => {
            store.begin(worker(1)).await.expect("begin");
            put(&store, only(record(1))).await;
        }
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("writable");
}

#[tokio::test]
async fn no_value_ever_becomes_a_blob() {
    let (place, store) = opened::<Folder>().await;
    let blobs = || fs::read_dir(place.path().join("sled/blobs")).expect("a folder").count();
    let mut stored = put(&store, with_snapshot(record(1), 0, &noise(1, 5 << 20))).await;
    let text = "x".repeat(300_000);
    for round in 0..4 {
        let mut commit = with_events(next(&stored, |_| ()), [text.as_str(); 3]);
        commit.record_mut().metadata.insert("text".to_owned(), text.clone().into());
        stored = put(&store, commit).await;
        let bytes = noise(round, 700_000);
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &bytes)).await;
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &noise(round, 130_000))).await;
        assert_eq!(blobs(), 0);
    }
    // Rows as large as they get, side by side.
    for number in 2..40 {
        put(&store, with_snapshot(record(number), 0, &noise(1, 32_700))).await;
    }
    let store = reopened(&place, store, 2).await;
    assert_eq!(blobs(), 0);
    let read = store.snapshot(session(1), 8).await.expect("snapshot").expect("kept");
    assert!(*read == *noise(3, 700_000));
}

#[tokio::test]
async fn what_is_replaced_leaves_no_pieces_behind() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, &noise(1, 100_000))).await;
    for _ in 0..2 {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"small")).await;
    }
    store.close().await.expect("close");
    assert_eq!(rows(place.path(), "pieces"), 0);
    assert_eq!((rows(place.path(), "slots"), rows(place.path(), "snapshots")), (2, 0));
}

#[tokio::test]
async fn small_events_share_rows_across_commits() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, only(record(1))).await;
    for number in 0..200 {
        let text = format!("event {number}");
        stored = put(&store, with_events(next(&stored, |_| ()), [text.as_str()])).await;
    }
    let events = store.events(session(1), 1..=999, 999).await.expect("events");
    assert_eq!(events.len(), 200);
    store.close().await.expect("close");
    // Some 150 bytes each: a row of 4 KiB has room for about 28 of them.
    let rows = rows(place.path(), "events");
    assert!((4..=12).contains(&rows), "{rows} rows");
}

#[tokio::test]
async fn an_emptied_store_is_not_taken_for_a_new_one() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    fs::remove_dir_all(place.path().join("sled")).expect("emptied");
    // Not even when it is tried again.
    for _ in 0..2 {
        let error = SledStore::open(place.path()).expect_err("emptied");
        assert!(matches!(error, StoreError::StoreDamaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_that_was_put_back_is_not_taken_for_the_newest() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    let sled = place.path().join("sled");
    let backup = place.path().join("backup");
    copy(&sled, &backup);
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    put(&store, only(record(2))).await;
    drop(store);
    fs::remove_dir_all(&sled).expect("removed");
    fs::rename(&backup, &sled).expect("put back");

    let error = SledStore::open(place.path()).expect_err("rolled back");
    let StoreError::StoreDamaged { aside, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(aside.join("db").exists(), "{error}");
    assert!(!sled.exists());
}

#[tokio::test]
async fn a_damaged_database_is_set_aside_and_named() {
    let (place, store) = opened::<Folder>().await;
    put(&store, with_snapshot(record(1), 0, &noise(1, 100_000))).await;
    drop(store);
    let db = place.path().join("sled/db");
    let bytes = spoil(&db);

    let error = SledStore::open(place.path()).expect_err("damaged");
    let StoreError::StoreDamaged { path, aside, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(path, place.path());
    assert!(aside.starts_with(place.path()) && aside.join("db").exists(), "{error}");
    assert!(error.to_string().contains(&aside.display().to_string()), "{error}");
    let kept = fs::metadata(aside.join("db")).expect("the file").len();
    assert!(kept >= bytes / 2, "{kept} of {bytes} bytes");
    // It stays so until somebody decides.
    let again = SledStore::open(place.path()).expect_err("damaged");
    assert!(matches!(&again, StoreError::StoreDamaged { aside: same, .. } if same == aside));
}

#[tokio::test]
async fn a_fresh_start_after_damage_is_made_only_where_it_was_asked_for() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    spoil(&place.path().join("sled/db"));
    let options = SledStore::options(place.path()).on_damage(OnDamage::StartFresh);
    let store = options.open().expect("fresh");
    store.begin(worker(2)).await.expect("begin");
    assert_eq!(store.load(session(1)).await.expect("load"), None);
    let damaged = store.damaged().await.expect("damaged");
    assert_eq!(damaged.len(), 1);
    assert!(damaged[0].reason.contains("damaged-1"), "{}", damaged[0].reason);
    drop(store);
    let store = place.open().await;
    assert_eq!(store.damaged().await.expect("damaged"), []);
}

#[tokio::test]
async fn one_damaged_record_harms_no_other() {
    let (place, store) = opened::<Folder>().await;
    for number in 1..=3 {
        put(&store, only(record(number))).await;
    }
    drop(store);
    overwrite(place.path(), "records", session(2), b"R\x01 not what was written");

    let store = place.open().await;
    store.begin(worker(2)).await.expect("begin");
    let damaged = store.damaged().await.expect("damaged");
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].session, Some(session(2)));
    assert_eq!(&*damaged[0].bytes, b"R\x01 not what was written");
    let error = store.load(session(2)).await.expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    let all = Query { limit: 9, ..Query::default() };
    let page = store.list(all).await.expect("a page");
    assert_eq!(page.records, [record(3), record(1)]);
    let commits = [only(next(&record(2), |_| ())), only(next(&record(3), |_| ()))];
    let answers = store.commit(batch(2, commits)).await.expect("answers");
    assert!(matches!(answers[0], Err(Refusal::Damaged { .. })), "{answers:?}");
    assert_eq!(answers[1], Ok(()));
}

#[tokio::test]
async fn a_value_of_a_newer_version_is_an_error_and_kept() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    overwrite(place.path(), "records", session(1), b"R\x02 from the future");
    let store = place.open().await;
    let error = store.load(session(1)).await.expect_err("newer");
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[tokio::test]
async fn a_damaged_row_of_events_does_not_stop_the_log() {
    let (place, store) = opened::<Folder>().await;
    let first = put(&store, with_events(record(1), ["lost"])).await;
    drop(store);
    let mut key = session(1).as_uuid().as_bytes().to_vec();
    key.extend_from_slice(&1_u64.to_be_bytes());
    raw(place.path(), |db| {
        let tree = db.open_tree("events").expect("a tree");
        tree.insert(key.as_slice(), b"E\x01 spoiled".as_slice()).expect("insert");
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    put(&store, with_events(next(&first, |_| ()), ["kept"])).await;
    store.events(session(1), 1..=9, 9).await.expect_err("damaged");
    let events = store.events(session(1), 2..=9, 9).await.expect("events");
    assert_eq!(messages(&events), [(2, "kept".to_owned())]);
    assert_eq!(store.damaged().await.expect("damaged").len(), 1);
}

#[tokio::test]
async fn a_damaged_row_of_the_log_of_all_sessions_is_a_gap_in_it() {
    let (place, store) = opened::<Folder>().await;
    for number in 1..=3 {
        put(&store, with_events(record(number), ["one", "two"])).await;
    }
    drop(store);
    raw(place.path(), |db| {
        let tree = db.open_tree("index").expect("a tree");
        let key = [b"j".as_slice(), &3_u64.to_be_bytes()].concat();
        let spoiled = tree.insert(key, b"X\x01 spoiled".as_slice()).expect("insert");
        assert!(spoiled.is_some());
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    for types in [EventTypes::ALL, EventType::Completion.into()] {
        for from in 1..=6 {
            let order = Order::OldestFirst;
            let query = LogQuery { from, order, types, ..LogQuery::default() };
            let page = store.log(query).await.expect("a page");
            let found = page.items.iter().map(|item| match item {
                LogItem::Event(logged) => (logged.position, logged.position),
                LogItem::Gap { from, to } => (*from, *to),
            });
            let found: Vec<_> = found.collect();
            let all = [(1, 1), (2, 2), (3.max(from), 4), (5, 5), (6, 6)];
            let wanted = all.into_iter().filter(|(_, to)| *to >= from);
            assert_eq!(found, wanted.collect::<Vec<_>>(), "{types:?} from {from}");
            let newest =
                store.log(LogQuery { types, ..LogQuery::default() }).await.expect("a page");
            assert_eq!(newest.items.len(), 4);
        }
    }
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_done_all_the_same() {
    let (place, store) = opened::<Folder>().await;
    let mut commit = task::spawn(store.commit(batch(1, [only(record(1))])));
    // It is in the queue of the writer; the answer cannot be there yet, or it does not matter.
    let _ = commit.poll();
    drop(commit);
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.load(session(1)).await.expect("load"), Some(record(1)));
}

#[tokio::test]
async fn flushed_commits_survive_a_reopening_too() {
    let place = Folder::new();
    let options = || SledStore::options(place.path()).durability(Durability::Flushed);
    let store = options().open().expect("open");
    store.begin(worker(1)).await.expect("begin");
    put(&store, only(record(1))).await;
    drop(store);
    let store = options().open().expect("open");
    assert_eq!(store.load(session(1)).await.expect("load"), Some(record(1)));
}

#[tokio::test]
async fn an_unreadable_mark_is_written_anew_and_reported() {
    let (place, store) = opened::<Folder>().await;
    put(&store, only(record(1))).await;
    drop(store);
    fs::write(place.path().join("MARK"), "nonsense").expect("spoiled");
    let store = place.open().await;
    store.begin(worker(2)).await.expect("begin");
    assert_eq!(store.load(session(1)).await.expect("load"), Some(record(1)));
    assert_eq!(store.damaged().await.expect("damaged").len(), 1);
    drop(store);
    fs::remove_dir_all(place.path().join("sled")).expect("emptied");
    SledStore::open(place.path()).expect_err("the new mark holds");
}

/// Overwrites the middle of a file, as a bad disk does, and gives its length.
fn spoil(file: &Path) -> u64 {
    let mut bytes = fs::read(file).expect("the file");
    let length = bytes.len();
    for byte in &mut bytes[64..length / 2] {
        *byte = 0xA5;
    }
    fs::write(file, &bytes).expect("spoiled");
    length as u64
}

/// Opens the database of a closed store behind its back.
pub(crate) fn raw<T>(store: &Path, action: impl FnOnce(&sled::Db) -> T) -> T {
    let config =
        sled::Config::new().path(store.join("sled")).segment_size(4 << 20).flush_every_ms(None);
    // Threads of the database that was just closed can hold its file for a moment.
    let db = std::iter::repeat_with(|| config.open().inspect_err(|_| std::thread::yield_now()))
        .take(100_000)
        .find_map(Result::ok)
        .expect("open");
    let result = action(&db);
    db.flush().expect("flush");
    result
}

fn rows(store: &Path, tree: &str) -> usize {
    raw(store, |db| db.open_tree(tree).expect("a tree").len())
}

pub(crate) fn overwrite(store: &Path, tree: &str, session: SessionId, bytes: &[u8]) {
    raw(store, |db| {
        let tree = db.open_tree(tree).expect("a tree");
        tree.insert(session.as_uuid().as_bytes(), bytes).expect("insert");
    });
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Batches that wait for the device together are written together: what one does, the next sees.
#[tokio::test]
async fn commits_of_one_session_can_wait_together() {
    let (place, store) = opened::<Folder>().await;
    let mut first = with_inputs(record(1), &[(Some("once"), b"one")]);
    first.events = with_events(record(1), ["one"]).events;
    first.record_mut().last_event = 1;
    let second = with_events(next(&first.record, |_| ()), ["two", "three"]);
    let twice = with_inputs(next(&second.record, |_| ()), &[(Some("once"), b"two")]);
    let third = with_inputs(next(&second.record, |_| ()), &[(Some("another"), b"two")]);
    let stored = std::sync::Arc::unwrap_or_clone(third.record.clone());
    // Another session's goes to the device first, and the others wait for it.
    let ahead = store.commit(batch(1, [only(record(2))]));
    let waiting = [first, second, twice, third].map(|commit| store.commit(batch(1, [commit])));
    let (ahead, answers) = futures::join!(ahead, futures::future::join_all(waiting));
    ahead.expect("committed");
    let answers: Vec<_> = answers.into_iter().flat_map(|answer| answer.expect("answers")).collect();
    assert!(matches!(&answers[2], Err(Refusal::InputTaken { sequence: 1, .. })), "{answers:?}");
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    let store = reopened(&place, store, 2).await;
    assert_eq!(store.load(session(1)).await.expect("load"), Some(stored));
    let inputs = store.inputs(session(1), 0, 9).await.expect("inputs");
    assert_eq!(inputs.iter().map(|input| input.sequence).collect::<Vec<_>>(), [1, 2]);
    let events = store.events(session(1), 1..=9, 9).await.expect("events");
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
}
