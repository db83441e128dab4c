//! Export, import and repair: what a store holds survives them, and losses are named.

use std::fs;

use sessionkeeper::{
    Deleted, PauseCause, Phase, Removal, StartRequest, Trimmed, Turn,
    store::{
        ArchiveError, Key, OnDamage, Purged, Query, SledStore, Store, StoreError, Trim, export,
        import, repair,
    },
};

use super::{
    fixture::{
        Place, active, messages, next, noise, only, opened, paused, put, record, reopened, run,
        session, supervised, with_end_of_run, with_events, with_inputs, with_runs, with_snapshot,
        with_steps, worker,
    },
    sled::{Folder, overwrite, raw},
};

/// A store with some of everything.
async fn filled() -> Folder {
    let (place, store) = opened::<Folder>().await;
    store
        .commit(sessionkeeper::store::Batch {
            supervised: supervised(5_000),
            ..super::fixture::batch(1, [])
        })
        .await
        .expect("commit");
    for number in 1..=5 {
        let mut first = record(number);
        first.name = Some(format!("name {number}").parse().expect("a name"));
        first.start_key = Some(StartRequest {
            key: format!("start {number}").parse().expect("a key"),
            digest: 17,
        });
        first.phase = paused(PauseCause::Idle, 10, Some(90));
        let payload = noise(3, 40_000);
        let inputs = [(Some("a"), b"one".as_slice()), (None, &payload)];
        let mut stored = put(&store, with_inputs(first, &inputs)).await;
        for round in 0..3 {
            let bytes = noise(round, 70_000 * usize::try_from(round).expect("small"));
            stored = put(&store, with_snapshot(next(&stored, |_| ()), round.min(1), &bytes)).await;
            let bytes = noise(round, 50_000);
            let turn = Turn { input: 2, interlude: round };
            let steps = [(turn, "done", Some(bytes.as_slice())), (turn, "begun", None)];
            stored = put(&store, with_steps(next(&stored, |_| ()), &steps)).await;
            let texts: Vec<_> = (0..70).map(|event| format!("{round}-{event}")).collect();
            let commit = with_events(next(&stored, |_| ()), texts.iter().map(String::as_str));
            stored = put(&store, commit).await;
        }
    }
    drop(store);
    place
}

fn exported(place: &Folder) -> String {
    let mut archive = Vec::new();
    export(place.path(), &mut archive).expect("export");
    String::from_utf8(archive).expect("text")
}

#[tokio::test]
async fn an_archive_makes_an_equal_store() {
    let place = filled().await;
    let archive = exported(&place);
    let copy = Folder::new();
    let report = import(copy.path(), archive.as_bytes()).expect("import");
    assert_eq!((report.sessions, report.snapshots), (5, 10));
    assert_eq!((report.inputs, report.steps, report.events), (5, 5 * 6, 5 * 210));
    assert_eq!(report.lost, []);
    assert_eq!(exported(&copy), archive);

    let (old, new) = (place.open().await, copy.open().await);
    let opened = new.begin(worker(2)).await.expect("begin");
    assert_eq!(opened.supervised, supervised(5_000));
    let all = Query { limit: 9, ..Query::default() };
    let page = old.list(all.clone()).await.expect("a page");
    assert_eq!(new.list(all).await.expect("a page"), page);
    let key = Key::Start("start 3".parse().expect("a key"));
    assert_eq!(new.find(key).await.expect("find"), Some(session(3)));
    let due = new.due(sessionkeeper::Lane::Timeout, supervised(90).into(), 9).await.expect("due");
    assert_eq!(due.len(), 5);
    let steps = new.steps(session(4), Turn::default()).await.expect("steps");
    assert!(steps == old.steps(session(4), Turn::default()).await.expect("steps"));
    for sequence in [2, 3] {
        let read = new.snapshot(session(4), sequence).await.expect("snapshot");
        assert!(read == old.snapshot(session(4), sequence).await.expect("snapshot"));
    }
}

/// They are not in an archive, as they were not in the first stores: they follow from the events when it is opened.
#[tokio::test]
async fn all_runs_are_found_in_a_store_that_says_nothing_of_them() {
    let (place, store) = opened::<Folder>().await;
    let stored = put(&store, with_runs(record(1), (100..130).map(run))).await;
    put(&store, with_runs(record(2), [run(21)])).await;
    put(&store, with_end_of_run(next(&stored, |_| ()), run(129))).await;
    drop(store);
    let copy = Folder::new();
    import(copy.path(), exported(&place).as_bytes()).expect("import");
    let (old, mut new) = (place.open().await, copy.open().await);
    for again in [false, true] {
        if again {
            new.close().await.expect("close");
            drop(new);
            new = copy.open().await;
        }
        for number in (100..130).chain([21, 7]) {
            let found = new.run(run(number)).await.expect("an answer");
            assert_eq!(found, old.run(run(number)).await.expect("an answer"), "run {number}");
            assert_eq!(found.is_some(), number != 7);
        }
    }
}

/// Its record says what is gone, so it is not taken for damage; and a run that began before is found all the same.
#[tokio::test]
async fn a_session_whose_older_events_are_gone_comes_through_an_archive() {
    let (place, store) = opened::<Folder>().await;
    let stored = put(&store, with_runs(record(1), [run(11), run(12), run(13)])).await;
    let texts: Vec<_> = (0..500).map(|event| format!("event {event}")).collect();
    let texts = texts.iter().map(String::as_str);
    let stored = next(&stored, |record| record.phase = active(13));
    let stored = put(&store, with_events(stored, texts)).await;
    let stored = put(&store, with_end_of_run(next(&stored, |_| ()), run(13))).await;
    let to = stored.last_event - 100;
    let trimmed = Trimmed { to, since: None };
    put(&store, only(next(&stored, |record| record.trimmed = Some(trimmed.into())))).await;
    let trim = Trim { generation: worker(1), session: session(1), to, rows: 999 };
    assert_eq!(store.trim(trim).await.expect("a trim"), Ok(Purged::Done));
    let left = store.events(session(1), 1..=9_999, 9_999).await.expect("events");
    let first = left.first().expect("some are left").sequence;
    assert!(first > 6 && first <= to + 1, "{first}");
    drop(store);
    let archive = exported(&place);
    let copy = Folder::new();
    let report = import(copy.path(), archive.as_bytes()).expect("import");
    assert_eq!((report.lost, report.events), (Vec::new(), left.len() as u64));
    assert_eq!(exported(&copy), archive);
    let new = copy.open().await;
    assert_eq!(new.events(session(1), 1..=9_999, 9_999).await.expect("events"), left);
    let old = place.open().await;
    assert_eq!(new.held().await.expect("an answer"), old.held().await.expect("an answer"));
    let found = new.run(run(13)).await.expect("an answer").expect("its end is there");
    assert_eq!((found.session, found.ended), (session(1), Some(stored.last_event)));
    for gone in [11, 12] {
        assert_eq!(new.run(run(gone)).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn an_archive_that_is_not_whole_leaves_nothing() {
    let place = filled().await;
    let archive = exported(&place);
    let copy = Folder::new();
    let lines = archive.lines().count();
    let without = |gone: usize| {
        let kept = archive.lines().enumerate().filter(|(line, _)| *line != gone);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let half = archive.split_at(archive.len() / 2).0.to_owned();
    let future = archive.replacen("\"format\":1", "\"format\":2", 1);
    let broken = [String::new(), without(0), without(lines / 2), without(lines - 1), half, future];
    for (number, text) in broken.iter().enumerate() {
        let error = import(copy.path(), text.as_bytes()).expect_err("not whole");
        assert!(matches!(error, ArchiveError::Line { .. }), "{number}: {error:?}");
    }
    let store = copy.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(store.list(Query::default()).await.expect("a page").records, []);
}

#[tokio::test]
async fn an_import_never_overwrites_a_store() {
    let place = filled().await;
    let archive = exported(&place);
    let error = import(place.path(), archive.as_bytes()).expect_err("not empty");
    assert!(matches!(error, ArchiveError::NotEmpty { .. }), "{error:?}");
    assert_eq!(exported(&place), archive);
}

#[tokio::test]
async fn an_open_store_is_neither_exported_nor_repaired() {
    let (place, _store) = opened::<Folder>().await;
    let in_use =
        |error: &ArchiveError| matches!(error, ArchiveError::Store(StoreError::InUse { .. }));
    assert!(in_use(&export(place.path(), Vec::new()).expect_err("in use")));
    assert!(in_use(&repair(place.path()).expect_err("in use")));
    assert!(in_use(
        &import(place.path(), b"{\"archive\":{\"format\":1}}".as_slice()).expect_err("in use")
    ));
}

#[tokio::test]
async fn a_repair_of_a_sound_store_loses_nothing() {
    let place = filled().await;
    let archive = exported(&place);
    let report = repair(place.path()).expect("repair");
    assert_eq!(report.lost, []);
    assert_eq!(report.sessions, 5);
    assert!(report.aside.expect("set aside").join("db").exists());
    assert_eq!(exported(&place), archive);

    // And it goes on from there.
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let stored = store.load(session(1)).await.expect("load").expect("there");
    put(&store, with_events(next(&stored, |_| ()), ["after"])).await;
    let store = reopened(&place, store, 2).await;
    let events = store.events(session(1), 210..=999, 9).await.expect("events");
    assert_eq!(messages(&events), [(210, "2-69".to_owned()), (211, "after".to_owned())]);
}

#[tokio::test]
async fn a_repair_keeps_what_can_be_read_and_names_the_rest() {
    let place = filled().await;
    overwrite(place.path(), "records", session(2), b"R\x01 spoiled");
    let mut key = session(4).as_uuid().as_bytes().to_vec();
    key.extend_from_slice(&1_u64.to_be_bytes());
    raw(place.path(), |db| {
        let tree = db.open_tree("events").expect("a tree");
        tree.insert(key, b"E\x01 spoiled".as_slice()).expect("insert");
    });
    let report = repair(place.path()).expect("repair");
    assert_eq!(report.sessions, 4);
    let lost: Vec<_> = report.lost.iter().map(|damage| damage.session).collect();
    assert_eq!(lost, [Some(session(2)), Some(session(4)), Some(session(2))]);
    assert_eq!(&*report.lost[0].bytes, b"R\x01 spoiled");

    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(store.damaged().await.expect("damaged"), []);
    assert_eq!(store.load(session(2)).await.expect("load"), None);
    let events = store.events(session(4), 1..=999, 999).await.expect("events");
    let first = events[0].sequence;
    assert!(first > 1 && first < 100, "{first}");
    assert_eq!(messages(&events).last().expect("one").1, "2-69");
}

#[tokio::test]
async fn a_log_goes_on_after_its_end_was_lost() {
    let (place, store) = opened::<Folder>().await;
    let stored = put(&store, with_events(record(1), ["kept", "kept too"])).await;
    let long = "x".repeat(9_000);
    let stored = put(&store, with_events(next(&stored, |_| ()), [long.as_str()])).await;
    drop(store);
    let mut key = session(1).as_uuid().as_bytes().to_vec();
    key.extend_from_slice(&3_u64.to_be_bytes());
    raw(place.path(), |db| {
        let tree = db.open_tree("events").expect("a tree");
        assert!(tree.remove(key).expect("remove").is_some());
    });
    repair(place.path()).expect("repair");
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    put(&store, with_events(next(&stored, |_| ()), ["new"])).await;
    let events = store.events(session(1), 1..=9, 9).await.expect("events");
    let numbers: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 4]);
}

#[tokio::test]
async fn a_store_that_was_set_aside_is_repaired_from_there() {
    let place = filled().await;
    let archive = exported(&place);
    // As if its newest commits were missing: the mark is ahead.
    let sled = place.path().join("sled");
    let older = Folder::new();
    super::sled::copy(&sled, &older.path().join("sled"));
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let stored = store.load(session(1)).await.expect("load").expect("there");
    put(&store, super::fixture::only(next(&stored, |record| record.phase = Phase::Stopped))).await;
    drop(store);
    fs::remove_dir_all(&sled).expect("removed");
    super::sled::copy(&older.path().join("sled"), &sled);
    SledStore::open(place.path()).expect_err("rolled back");

    assert!(exported(&place).contains("are lost"));
    let report = repair(place.path()).expect("repair");
    assert_eq!(report.lost.len(), 1);
    assert!(report.lost[0].reason.contains("are lost"), "{}", report.lost[0].reason);
    assert_eq!(exported(&place), archive);
    place.open().await.begin(worker(1)).await.expect("begin");
}

#[tokio::test]
async fn a_repair_that_ended_half_way_is_begun_again() {
    let place = filled().await;
    let archive = exported(&place);
    repair(place.path()).expect("repair");
    // As if it had ended before the mark was written: the one that was kept says `set aside`.
    fs::copy(place.path().join("damaged-1/MARK"), place.path().join("MARK")).expect("the mark");
    SledStore::open(place.path()).expect_err("not decided");
    repair(place.path()).expect("repair");
    assert_eq!(exported(&place), archive);

    fs::copy(place.path().join("damaged-1/MARK"), place.path().join("MARK")).expect("the mark");
    let options = SledStore::options(place.path()).on_damage(OnDamage::StartFresh);
    let store = options.open().expect("fresh");
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(store.list(Query::default()).await.expect("a page").records, []);
}

/// Archives of every format that was ever written can be read for ever: this one is as the first
/// version of the library wrote it.
#[tokio::test]
async fn an_archive_of_format_1_is_read() {
    let copy = Folder::new();
    let archive = include_str!("../fixtures/archive-1.jsonl");
    let report = import(copy.path(), archive.as_bytes()).expect("import");
    assert_eq!((report.sessions, report.events), (2, 2));
    let store = copy.open().await;
    store.begin(worker(2)).await.expect("begin");
    let key = Key::Name("nightly".parse().expect("a name"));
    assert_eq!(store.find(key).await.expect("find"), Some(session(1)));
    let inputs = store.inputs(session(1), 0, 9).await.expect("inputs");
    assert_eq!(&*inputs[0].payload, b"hello");
    let snapshot = store.snapshot(session(1), 1).await.expect("snapshot");
    assert_eq!(snapshot.as_deref(), Some(b"state".as_slice()));
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_fixture() {
    let (place, store) = opened::<Folder>().await;
    let mut first = record(1);
    first.name = Some("nightly".parse().expect("a name"));
    first.labels = sessionkeeper::Labels::new([("team", "red")]).expect("labels");
    let mut commit = with_inputs(first, &[(Some("once"), b"hello")]);
    commit.snapshot = Some(b"state".as_slice().into());
    commit.record_mut().snapshots = with_snapshot(record(1), 0, b"state").record.snapshots.clone();
    commit.events = with_events(record(1), ["begun", "ended"]).events;
    commit.record_mut().last_event = 2;
    put(&store, commit).await;
    let mut second = record(2);
    second.phase = Phase::Completed;
    put(&store, super::fixture::only(second)).await;
    drop(store);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/archive-1.jsonl");
    fs::write(path, exported(&place)).expect("written");
}

/// That a session was deleted survives, and nothing of it comes back.
#[tokio::test]
async fn what_was_deleted_stays_deleted_through_archives_and_repairs() {
    let place = filled().await;
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let stored = store.load(session(2)).await.expect("load").expect("a record");
    let tombstone = next(&stored, |record| {
        let (at, by) = (supervised(70), Removal::Asked);
        record.deleted = Some(Deleted { at, by, purged: false });
        record.name = None;
    });
    let tombstone = put(&store, only(tombstone)).await;
    drop(store);
    let archive = exported(&place);
    let new = Folder::new();
    import(new.path(), archive.as_bytes()).expect("import");
    repair(place.path()).expect("repair");
    for place in [&new, &place] {
        let store = place.open().await;
        store.begin(worker(2)).await.expect("begin");
        let loaded = store.load(session(2)).await.expect("load");
        assert_eq!(loaded.as_ref(), Some(&tombstone));
        let events = store.events(session(2), 1..=999, 999).await.expect("events");
        assert_eq!(events, []);
        let page = store.list(Query::default()).await.expect("a page");
        assert_eq!(page.records.len(), 4);
        let key = Key::Start("start 2".parse().expect("a key"));
        assert_eq!(store.find(key).await.expect("find"), Some(session(2)));
        let due = store.due(sessionkeeper::Lane::Removal, supervised(u64::MAX).into(), 9);
        assert_eq!(due.await.expect("due").len(), 1, "what is left of it is removed");
    }
}
