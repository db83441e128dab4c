use std::{fs, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio_test::{assert_pending, task};
use uuid::Uuid;

use super::{
    log::{self, Log},
    mark::{Found, Mark, MarkFile},
    table::Table,
    value, *,
};
use crate::model::time::SupervisedTime;
use crate::store::{Commit, codec};

fn worker() -> WorkerGeneration {
    WorkerGeneration::from_uuid(Uuid::from_u128(1))
}

fn empty() -> Batch {
    Batch {
        generation: worker(),
        supervised: SupervisedTime::from_millis(7),
        commits: Vec::new(),
        bookmarks: Vec::new(),
    }
}

#[tokio::test]
async fn a_store_that_failed_answers_nothing_until_it_is_healed() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.commit(empty()).await.expect("commit");
    store.ask(Job::Break).await.expect("broken");

    let error = store.commit(empty()).await.expect_err("broken");
    assert_eq!(error.to_string(), "the store failed: told to");
    store.begin(worker()).await.expect_err("broken");
    store.heal().await.expect("heal");
    store.commit(empty()).await.expect("commit");
    let reserve = folder.path().join("RESERVE");
    assert!(reserve.exists(), "it is made again where there is room");
    let opened = store.begin(worker()).await.expect("begin");
    assert_eq!(opened.supervised, SupervisedTime::from_millis(7));
}

#[tokio::test]
async fn a_read_waits_until_what_it_saw_is_durable() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.shared.applying(2);
    let (ran, has_run) = oneshot::channel();
    let mut read = task::spawn(store.shared.read(move |_| {
        ran.send(()).expect("the test waits for it");
        Ok(())
    }));
    assert_pending!(read.poll());
    has_run.await.expect("it ran");
    // Its thread may take a moment to hand over what it found.
    for _ in 0..50 {
        assert_pending!(read.poll());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.shared.durable(2);
    read.await.expect("durable");
}

#[tokio::test]
async fn a_read_of_what_never_became_durable_is_an_error() {
    for health in [Health::Failed("the disk is full".into()), Health::Closed] {
        let folder = TempDir::new().expect("a folder");
        let store = SledStore::open(folder.path()).expect("open");
        store.begin(worker()).await.expect("begin");
        let read = async || store.shared.read(|_| Ok(())).await;
        store.shared.set_health(health.clone());
        read().await.expect("what was durable before can be read");
        store.shared.applying(2);
        let error = read().await.expect_err("not durable");
        assert_eq!(error.to_string(), health.check().expect_err("not well").to_string());
        store.shared.durable(3);
        read().await.expect("what is durable can be read");
    }
}

/// A commit that makes the version of a session that follows, under a name.
fn named(version: u64, name: &str) -> Batch {
    of_session(9, version, name)
}

fn of_session(number: u128, version: u64, name: &str) -> Batch {
    let metadata = [("name".to_owned(), name.into())];
    let record = serde_json::json!({
        "id": Uuid::from_u128(number), "kind": "coder", "version": version, "writer": worker(),
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "phase": { "state": "stopped" }, "last_event": 0, "metadata": serde_json::Map::from_iter(metadata),
    });
    let commit = Commit {
        record: serde_json::from_value(record).expect("a record"),
        events: Vec::new(),
        inputs: Vec::new(),
        steps: Vec::new(),
        snapshot: None,
        successor: None,
    };
    Batch { commits: vec![Arc::new(commit)], ..empty() }
}

async fn name_in(store: &SledStore) -> serde_json::Value {
    let record = store.load(SessionId::from_uuid(Uuid::from_u128(9))).await.expect("load");
    record.expect("a record").metadata["name"].clone()
}

#[tokio::test]
async fn nothing_is_answered_that_the_device_did_not_take() {
    for (durability, is_answered) in [(Durability::Synced, false), (Durability::Flushed, true)] {
        let folder = TempDir::new().expect("a folder");
        let store = SledStore::options(folder.path()).durability(durability).open().expect("open");
        store.begin(worker()).await.expect("begin");
        store.commit(named(1, "old")).await.expect("commit");
        store.shared.engine_mut().as_mut().expect("an engine").break_device();

        let answer = store.commit(named(2, "new")).await;
        assert_eq!(answer.is_ok(), is_answered, "{durability:?}: {answer:?}");
        if !is_answered {
            store.heal().await.expect_err("nobody knows what the device holds");
            store.commit(named(2, "new")).await.expect_err("so it is not answered later either");
        }
    }
}

#[tokio::test]
async fn what_failed_to_be_written_is_written_when_it_is_repeated() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.commit(named(1, "old")).await.expect("commit");
    store.shared.engine_mut().as_mut().expect("an engine").break_trees();

    let error = store.commit(named(2, "new")).await.expect_err("broken");
    assert!(error.to_string().contains("panicked: every table has a tree"), "{error}");
    store.heal().await.expect("heal");
    assert_eq!(name_in(&store).await, "old");
    assert_eq!(store.commit(named(2, "new")).await.expect("commit"), [Ok(())]);
    assert_eq!(name_in(&store).await, "new");
}

#[tokio::test]
async fn a_store_that_comes_back_older_than_it_was_does_not_heal() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.commit(named(1, "old")).await.expect("commit");
    let [sled, older, newer] = ["sled", "older", "newer"].map(|name| folder.path().join(name));
    layout::copy_folder(&sled, &older).expect("copied");
    store.commit(named(2, "new")).await.expect("commit");
    store.ask(Job::Break).await.expect("broken");
    fs::rename(&sled, &newer).expect("moved");
    fs::rename(&older, &sled).expect("moved");

    let error = store.heal().await.expect_err("the latest commit is missing");
    assert!(error.to_string().contains("and should hold"), "{error}");
    store.commit(named(2, "new")).await.expect_err("not healed");
    fs::remove_dir_all(&sled).expect("removed");
    fs::rename(&newer, &sled).expect("put back");
    store.heal().await.expect("nothing is missing");
    assert_eq!(name_in(&store).await, "new");
}

#[tokio::test]
async fn commits_that_wait_become_durable_at_once() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    let before = mark(folder.path()).commit;
    let mut waiting: Vec<_> =
        (1..=20).map(|number| task::spawn(store.commit(of_session(number, 1, "new")))).collect();
    {
        let _hindered = store.shared.engine_mut();
        for commit in &mut waiting {
            assert_pending!(commit.poll());
        }
    }
    for commit in waiting {
        assert_eq!(commit.await.expect("commit"), [Ok(())]);
    }
    // The writer had taken those that were there by then, and took the rest together.
    let groups = mark(folder.path()).commit - before;
    assert!(groups <= 2, "{groups} groups");
}

#[tokio::test]
async fn every_transaction_has_a_number_of_its_own() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    assert_eq!(mark(folder.path()).commit, 1);
    // One session: each of its commits must see the one before it.
    let commits = [named(1, "old"), named(2, "new")].into_iter().flat_map(|batch| batch.commits);
    let batch = Batch { commits: commits.collect(), ..empty() };
    assert_eq!(store.commit(batch).await.expect("commit"), [Ok(()), Ok(())]);
    assert_eq!(mark(folder.path()).commit, 3);
}

/// What the mark of a store says, also while that is open.
fn mark(store: &Path) -> Mark {
    let bytes = fs::read(store.join("MARK")).expect("a mark");
    mark::read(&bytes).0
}

#[tokio::test]
async fn a_closed_store_knows_what_its_log_was_like() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.commit(named(1, "name")).await.expect("commit");
    store.close().await.expect("close");
    let sled = folder.path().join("sled");
    let mark = mark(folder.path());
    assert_eq!(log::check(&sled, &mark), Log::Whole);
    assert_eq!(mark.length, fs::metadata(sled.join("db")).expect("the log").len());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_store_without_room_for_its_reserve_works_all_the_same() {
    let folder = TempDir::new().expect("a folder");
    let reserve = folder.path().join("RESERVE");
    // A device that is always full.
    std::os::unix::fs::symlink("/dev/full", &reserve).expect("a link");
    let store = SledStore::open(folder.path()).expect("open");
    assert!(fs::symlink_metadata(&reserve).is_err(), "it takes no room that is needed");
    store.begin(worker()).await.expect("begin");
    store.commit(named(1, "name")).await.expect("commit");
    store.heal().await.expect("heal");
    assert!(reserve.exists(), "it is made where there is room again");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_missing_reserve_is_tried_again_now_and_then() {
    use super::{engine::Engine, meta::Meta, plan::Plan};

    let folder = TempDir::new().expect("a folder");
    let reserve = folder.path().join("RESERVE");
    // It is two commits from where that is done.
    let database = Engine::open(&folder.path().join("sled"), 1 << 20, Arc::default());
    let database = database.expect("open");
    let meta = Meta { commit: writer::HOUSEKEEPING - 2, ..Meta::default() };
    Plan::new(&database, meta.commit).apply(&meta).expect("written");
    drop(database);
    std::os::unix::fs::symlink("/dev/full", &reserve).expect("a link");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    assert!(!reserve.exists());
    for version in 1..=2 {
        // The second is answered after what follows the first.
        store.commit(named(version, "name")).await.expect("commit");
    }
    assert!(reserve.exists());
}

#[tokio::test]
async fn a_reserve_that_cannot_be_given_back_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let store = SledStore::open(folder.path()).expect("open");
    store.begin(worker()).await.expect("begin");
    store.commit(named(1, "name")).await.expect("commit");
    let reserve = folder.path().join("RESERVE");
    fs::remove_file(&reserve).expect("removed");
    fs::create_dir(&reserve).expect("something in its place");
    store.ask(Job::Break).await.expect("broken");
    let error = store.heal().await.expect_err("in the way");
    assert!(error.to_string().contains("the reserve was not given back"), "{error}");
    fs::remove_dir(&reserve).expect("out of the way");
    store.heal().await.expect("heal");
    assert_eq!(name_in(&store).await, "name");
}

#[test]
fn the_mark_survives_a_torn_write() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("MARK");
    let (mut mark, found) = MarkFile::open(&path).expect("open").expect("ours");
    assert_eq!(found, Found::Absent);
    for commit in 1..=5 {
        mark.write(|mark| mark.commit = commit).expect("write");
    }
    let (mark, found) = MarkFile::open(&path).expect("open").expect("ours");
    assert_eq!((mark.mark().commit, found), (5, Found::Sound));

    // The fifth write went to the second slot.
    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[4096 + 9] ^= 1;
    std::fs::write(&path, &bytes).expect("torn");
    let (mark, found) = MarkFile::open(&path).expect("open").expect("ours");
    assert_eq!((mark.mark().commit, found), (4, Found::Sound));
    bytes[9] ^= 1;
    std::fs::write(&path, &bytes).expect("torn");
    let (mark, found) = MarkFile::open(&path).expect("open").expect("ours");
    assert_eq!((mark.mark().commit, found), (0, Found::Unreadable));
}

#[test]
fn no_row_is_larger_than_32_kib() {
    for length in [0, 1, value::ROW - 7, value::ROW - 6, value::ROW - 5, 100_000] {
        let body = vec![7; length];
        let encoded = value::encode(Table::Snapshots, b"key", 1, &body);
        let pieces = encoded.pieces.iter().map(|(_, row)| row.len());
        let largest = pieces.chain([encoded.row.len()]).max().expect("a row");
        assert!(largest <= value::ROW, "{largest} for {length} bytes");
        let split = codec::claims(codec::Frame::Head, &encoded.row);
        assert_eq!(split, length + codec::OVERHEAD > value::ROW, "{length} bytes");
        assert_eq!(value::is_in_pieces(&body), split);
    }
}

#[test]
fn every_table_has_a_name_and_a_frame_of_its_own() {
    let names: std::collections::BTreeSet<_> = Table::ALL.map(Table::name).into();
    let frames: std::collections::BTreeSet<_> = Table::ALL.map(|table| table.frame() as u8).into();
    assert_eq!((names.len(), frames.len()), (Table::ALL.len(), Table::ALL.len()));
}

#[test]
fn the_futures_of_a_store_can_be_sent() {
    fn check<T: Send + Sync>() {}
    check::<SledStore>();
    check::<Arc<dyn Store>>();
}
