//! What is on the disks of users: every format that was ever written is read for ever, and a newer
//! one is refused and kept as it is.

use std::{fmt::Write, fs, path::Path};

use sessionkeeper::{
    Lane, PauseCause, Phase, SessionRecord, StartRequest,
    store::{
        Commit, Key, LogItem, LogQuery, Order, Query, Refusal, SledStore, Store, StoreError,
        export, repair,
    },
};

use super::{
    fixture::{
        Place, answer, at, input_id, messages, next, only, opened, paused, put, record, session,
        supervised, with_events, with_inputs, with_snapshot, worker,
    },
    sled::{Folder, raw},
};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/store-1.txt");

const CHUNKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/chunks-1.txt");

const SLOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/slots-1.txt");

/// The commits that the fixture was made with.
fn commits() -> Vec<Commit> {
    let mut first = record(1);
    first.name = Some("nightly".parse().expect("a name"));
    first.external_id = Some("ticket 7".parse().expect("an id"));
    first.start_key =
        Some(StartRequest { key: "once".parse().expect("a key"), digest: 0xfeed_beef });
    first.labels = sessionkeeper::Labels::new([("team", "red")]).expect("labels");
    first.phase = paused(PauseCause::Idle, 10, Some(90));
    let first = with_inputs(first, &[(Some("a"), b"one"), (None, b"two"), (Some("b"), b"three")]);
    let second = with_snapshot(next(&first.record, |_| ()), 1, b"a small state");
    let third = with_snapshot(next(&second.record, |_| ()), 2, &large());
    let texts: Vec<_> = (0..40).map(|number| format!("event {number}")).collect();
    let fourth = with_events(next(&third.record, |_| ()), texts.iter().map(String::as_str));
    let other = with_events(record(2), ["begun", "ended"]);
    let ended = only(next(&other.record, |record| record.phase = Phase::Completed));
    vec![first, second, third, fourth, other, ended]
}

/// A state in three pieces. Zeros take no room in a fixture.
fn large() -> Vec<u8> {
    let mut bytes = vec![0; 80_000];
    for place in (0..bytes.len()).step_by(10_000) {
        bytes[place..place + 4].copy_from_slice(b"text");
    }
    bytes
}

/// The records as they are in the end.
fn records() -> [SessionRecord; 2] {
    let mut commits = commits();
    let second = commits.pop().expect("the last").record;
    [commits.swap_remove(3).record, second].map(std::sync::Arc::unwrap_or_clone)
}

/// The files of a folder as text: for each its length, and what is not zero in it.
pub(super) fn pack(folder: &Path) -> String {
    let mut text = String::new();
    for file in ["MARK", "sled/conf", "sled/db"] {
        let bytes = fs::read(folder.join(file)).expect("a file");
        writeln!(text, "{file} {}", bytes.len()).expect("text");
        for (number, line) in bytes.chunks(32).enumerate() {
            if line.iter().any(|byte| *byte != 0) {
                let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(text, "  {:x} {hex}", number * 32).expect("text");
            }
        }
    }
    text
}

pub(super) fn unpack(text: &str) -> Folder {
    let place = Folder::new();
    fs::create_dir_all(place.path().join("sled/blobs")).expect("a folder");
    let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        let (left, right) = line.trim().split_once(' ').expect("two words");
        if line.starts_with(' ') {
            let bytes = &mut files.last_mut().expect("a file").1;
            let from = usize::from_str_radix(left, 16).expect("a place");
            for (number, hex) in right.as_bytes().chunks(2).enumerate() {
                let hex = str::from_utf8(hex).expect("hexadecimal");
                bytes[from + number] = u8::from_str_radix(hex, 16).expect("hexadecimal");
            }
        } else {
            files.push((left, vec![0; right.parse().expect("a length")]));
        }
    }
    for (file, bytes) in files {
        fs::write(place.path().join(file), bytes).expect("written");
    }
    place
}

fn fixture() -> Folder {
    unpack(&fs::read_to_string(FIXTURE).expect("the fixture"))
}

#[tokio::test]
async fn a_store_of_format_1_is_read() {
    let place = fixture();
    let store = place.open().await;
    let opened = store.begin(worker(2)).await.expect("begin");
    assert_eq!(opened.supervised, supervised(5_000));
    assert_eq!(store.damaged().await.expect("a list"), []);
    let [first, second] = records();
    let page = store.list(Query::default()).await.expect("a page");
    assert_eq!(page.records, [second.clone(), first.clone()]);
    for expected in [&first, &second] {
        let found = store.load(expected.id).await.expect("load");
        assert_eq!(found.as_ref(), Some(expected));
    }
    let small = store.snapshot(session(1), 1).await.expect("snapshot");
    assert_eq!(small.as_deref(), Some(b"a small state".as_slice()));
    let found = store.snapshot(session(1), 2).await.expect("snapshot").expect("kept");
    assert!(*found == *large());

    let all = commits();
    let inputs = store.inputs(session(1), 0, 9).await.expect("inputs");
    assert_eq!(inputs, all[0].inputs[1..], "the first snapshot covers the first input");
    assert_eq!(store.events(session(1), 1..=99, 99).await.expect("events"), all[3].events);
    assert_eq!(store.events(session(2), 1..=99, 99).await.expect("events"), all[4].events);
    for (id, sequence, payload) in [("a", 1, b"one".as_slice()), ("b", 3, b"three")] {
        let found = store.accepted(session(1), input_id(id)).await.expect("read").expect("known");
        assert_eq!((found.sequence, found.checksum), (sequence, crc32fast::hash(payload)));
    }
    let keys = [
        Key::Name("nightly".parse().expect("a name")),
        Key::ExternalId("ticket 7".parse().expect("an id")),
        Key::Start("once".parse().expect("a key")),
    ];
    for key in keys {
        assert_eq!(store.find(key).await.expect("find"), Some(session(1)));
    }
    let due = store.due(Lane::Timeout, supervised(90).into(), 9).await.expect("due");
    assert_eq!(due.iter().map(|due| due.session).collect::<Vec<_>>(), [session(1)]);
    let team = vec![("team".to_owned(), "red".to_owned())];
    let queries = [
        (Query { labels: team, ..Query::default() }, &first),
        (Query { states: vec![first.state()], ..Query::default() }, &first),
        (Query { states: vec![second.state()], ..Query::default() }, &second),
    ];
    for (query, expected) in queries {
        let page = store.list(query.clone()).await.expect("a page");
        assert_eq!(page.records, std::slice::from_ref(expected), "{query:?}");
    }
    assert_eq!(second.created_at, at(2));
    assert_eq!(
        logged(&store).await,
        [vec![1; 40], vec![2; 2]].concat(),
        "by their time, then by session"
    );

    // And it goes on from there.
    let commit = with_events(next(&first, |_| ()), ["after"]);
    let mut batch = super::fixture::batch(2, [commit]);
    batch.supervised = supervised(6_000);
    assert_eq!(store.commit(batch).await.expect("answers"), [Ok(())]);
    let events = store.events(session(1), 40..=99, 99).await.expect("events");
    assert_eq!(messages(&events), [(40, "event 39".to_owned()), (41, "after".to_owned())]);
    store.close().await.expect("close");
    drop(store);
    let store = place.open().await;
    store.begin(worker(3)).await.expect("begin");
    assert_eq!(logged(&store).await, [vec![1; 40], vec![2; 2], vec![1]].concat());
}

/// Whose the events are in the log of all sessions.
async fn logged(store: &SledStore) -> Vec<u128> {
    let query = LogQuery { from: 1, order: Order::OldestFirst, limit: 99, ..LogQuery::default() };
    let items = store.log(query).await.expect("a page").items.into_iter().zip(1..);
    let whose = items.map(|(item, position)| match item {
        LogItem::Event(logged) if logged.position == position => logged.session.as_uuid().as_u128(),
        item => panic!("{item:?} at {position}"),
    });
    whose.collect()
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_store_fixture() {
    let (place, store) = opened::<Folder>().await;
    let mut batch = super::fixture::batch(1, []);
    batch.supervised = supervised(5_000);
    store.commit(batch).await.expect("commit");
    for commit in commits() {
        put(&store, commit).await;
    }
    store.close().await.expect("close");
    fs::write(FIXTURE, pack(place.path())).expect("written");
}

/// Lets the values in a table claim a newer format, as far as they belong to the first session,
/// and gives their bytes.
pub(super) fn make_newer(place: &Folder, table: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let first = session(1).as_uuid().into_bytes();
    raw(place.path(), |db| {
        let tree = db.open_tree(table).expect("a tree");
        let rows: Vec<_> = tree.iter().map(|row| row.expect("a row")).collect();
        let mut changed = Vec::new();
        for (key, value) in rows {
            let is_ours = match table {
                "meta" | "index" => true,
                "pieces" => key[1..].starts_with(&first),
                _ => key.starts_with(&first),
            };
            if is_ours {
                let mut value = value.to_vec();
                value[1] = 2;
                tree.insert(&key, value.as_slice()).expect("insert");
                changed.push((key.to_vec(), value));
            }
        }
        changed
    })
}

#[tokio::test]
async fn a_newer_format_of_any_part_is_refused_by_its_number_and_kept() {
    let tables = ["records", "snapshots", "inputs", "input_ids", "events", "index", "pieces"];
    for table in tables {
        let place = fixture();
        let newer = make_newer(&place, table);
        assert!(!newer.is_empty(), "{table}");
        let store = place.open().await;
        store.begin(worker(1)).await.expect("begin");
        let id = session(1);
        let error = match table {
            "records" => store.load(id).await.expect_err("newer"),
            "snapshots" | "pieces" => store.snapshot(id, 2).await.expect_err("newer"),
            "inputs" => store.inputs(id, 0, 9).await.expect_err("newer"),
            "input_ids" => store.accepted(id, input_id("a")).await.expect_err("newer"),
            "events" => store.events(id, 1..=9, 9).await.expect_err("newer"),
            _ => {
                let name = Key::Name("nightly".parse().expect("a name"));
                store.find(name).await.expect_err("newer")
            }
        };
        assert!(error.to_string().contains("format 2"), "{table}: {error}");
        assert!(error.to_string().contains("up to 1"), "{table}: {error}");
        // The other session is none the worse, and what is newer is never written over.
        let [first, second] = records();
        assert_eq!(store.load(second.id).await.expect("load"), Some(second.clone()));
        if table == "records" {
            let refused = answer(&store, only(next(&first, |_| ()))).await;
            assert!(matches!(refused, Err(Refusal::Damaged { .. })), "{refused:?}");
        }
        if table == "events" {
            put(&store, with_events(next(&first, |_| ()), ["after"])).await;
        }
        put(&store, with_events(next(&second, |_| ()), ["after"])).await;
        store.close().await.expect("close");
        drop(store);
        raw(place.path(), |db| {
            let tree = db.open_tree(table).expect("a tree");
            for (key, value) in newer {
                assert_eq!(tree.get(key).expect("read").as_deref(), Some(value.as_slice()));
            }
        });
    }
}

/// Two states in chunks. Zeros take no room in a fixture, and no other row either.
fn in_chunks() -> [Vec<u8>; 2] {
    let mut first = vec![0; 400_000];
    for place in (0..first.len()).step_by(45_000) {
        first[place..place + 6].copy_from_slice(format!("{place:06}").as_bytes());
    }
    let mut second = first.clone();
    second[100_000..100_003].copy_from_slice(b"new");
    second.extend([0; 20_000]);
    [first, second]
}

#[tokio::test]
async fn chunks_of_format_1_are_read() {
    let place = unpack(&fs::read_to_string(CHUNKS).expect("the fixture"));
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let read = async |sequence: u64| {
        let found = store.snapshot(session(1), sequence).await.expect("sound");
        found.expect("kept").to_vec()
    };
    let [first, mut second] = in_chunks();
    assert!(read(1).await == first && read(2).await == second);
    // And it goes on from there.
    second.extend(b"after");
    let stored = store.load(session(1)).await.expect("load").expect("a record");
    put(&store, with_snapshot(next(&stored, |_| ()), 0, &second)).await;
    assert!(read(3).await == second && read(2).await == in_chunks()[1]);
    assert_eq!(store.damaged().await.expect("a list"), []);
}

#[tokio::test]
async fn a_newer_format_of_chunks_is_refused_by_its_number_and_harms_no_other() {
    for table in ["chunks", "snapshots"] {
        let place = unpack(&fs::read_to_string(CHUNKS).expect("the fixture"));
        assert!(!make_newer(&place, table).is_empty(), "{table}");
        let store = place.open().await;
        store.begin(worker(1)).await.expect("begin");
        let [_, state] = in_chunks();
        let mut stored = store.load(session(1)).await.expect("load").expect("a record");
        for sequence in [1, 2] {
            let error = store.snapshot(session(1), sequence).await.expect_err("newer");
            assert!(error.to_string().contains("format 2"), "{table}: {error}");
            assert!(error.to_string().contains("up to 1"), "{table}: {error}");
        }
        for _ in 0..2 {
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &state)).await;
            let sequence = stored.snapshots[0].sequence;
            let found = store.snapshot(session(1), sequence).await.expect("sound");
            assert!(*found.expect("kept") == *state, "{table}");
        }
    }
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_fixture_of_chunks() {
    let (place, store) = opened::<Folder>().await;
    let [first, second] = in_chunks();
    let stored = put(&store, with_snapshot(record(1), 0, &first)).await;
    put(&store, with_snapshot(next(&stored, |_| ()), 0, &second)).await;
    store.close().await.expect("close");
    fs::write(CHUNKS, pack(place.path())).expect("written");
}

#[tokio::test]
async fn slots_of_format_1_are_read() {
    let place = unpack(&fs::read_to_string(SLOTS).expect("the fixture"));
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    for (sequence, state) in [(2, b"second"), (3, b"third ")] {
        let found = store.snapshot(session(1), sequence).await.expect("sound").expect("kept");
        assert_eq!(found[..], state[..]);
    }
    assert_eq!(store.snapshot(session(1), 1).await.expect("sound"), None);
    assert_eq!(store.damaged().await.expect("a list"), []);
}

#[tokio::test]
async fn a_newer_format_of_slots_is_refused_by_its_number() {
    let place = unpack(&fs::read_to_string(SLOTS).expect("the fixture"));
    assert_eq!(make_newer(&place, "slots").len(), 2);
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    for sequence in [2, 3] {
        let error = store.snapshot(session(1), sequence).await.expect_err("newer");
        assert!(error.to_string().contains("format 2"), "{error}");
        assert!(error.to_string().contains("up to 1"), "{error}");
    }
}

/// Writes the fixture anew. To be used only where a new format gets a fixture of its own.
#[tokio::test]
#[ignore = "writes a fixture; executed by hand, by its name and with --ignored"]
async fn write_the_fixture_of_slots() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, b"first")).await;
    for state in [b"second", b"third "] {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, state)).await;
    }
    store.close().await.expect("close");
    fs::write(SLOTS, pack(place.path())).expect("written");
}

/// The files of a store, and their bytes.
fn files(place: &Folder) -> Vec<Vec<u8>> {
    ["MARK", "sled/conf", "sled/db"]
        .map(|file| fs::read(place.path().join(file)).expect("a file"))
        .to_vec()
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_not_changed() {
    for part in ["meta", "mark"] {
        let place = fixture();
        if part == "meta" {
            make_newer(&place, "meta");
        } else {
            let mark = place.path().join("MARK");
            let mut bytes = fs::read(&mark).expect("the mark");
            bytes[1] = 2;
            bytes[4096 + 1] = 2;
            fs::write(mark, bytes).expect("written");
        }
        let before = files(&place);
        for _ in 0..2 {
            let error = SledStore::open(place.path()).expect_err("newer");
            assert!(matches!(error, StoreError::Open { .. }), "{part}: {error:?}");
            let mut text = error.to_string();
            if let Some(source) = std::error::Error::source(&error) {
                text.push_str(&source.to_string());
            }
            assert!(text.contains("format 2"), "{part}: {text}");
            assert!(text.contains(&place.path().display().to_string()), "{part}: {text}");
            assert!(text.contains("use the version"), "{part}: {text}");
        }
        assert!(files(&place) == before, "{part}: something was changed");
        if part == "mark" {
            export(place.path(), Vec::new()).expect_err("newer");
            repair(place.path()).expect_err("newer");
            assert!(files(&place) == before, "something was changed");
        }
    }
}
