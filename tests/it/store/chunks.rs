//! Large snapshots, which are stored in chunks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sessionkeeper::{
    SessionRecord,
    store::{Durability, SledStore, Store},
};

use super::{
    fixture::{
        Place, next, noise, only, opened, put, record, reopened, session, with_snapshot, worker,
    },
    guards::part,
    sled::{Folder, raw},
};

mod damaged;

/// What is larger is in chunks.
const LARGE: usize = 128 << 10;

type Address = [u8; 16];

/// The body of a row.
fn body(row: &[u8]) -> &[u8] {
    &row[2..row.len() - 4]
}

fn key(number: u128, address: &Address) -> Vec<u8> {
    [session(number).as_uuid().as_bytes().as_slice(), address].concat()
}

fn addresses(list: &[u8]) -> Vec<Address> {
    let (addresses, rest) = list.as_chunks();
    assert!(rest.is_empty());
    addresses.to_vec()
}

/// The chunks of a snapshot in a closed store, each with its level.
fn named(db: &sled::Db, number: u128, sequence: u64) -> BTreeMap<Address, u8> {
    let [snapshots, chunks] = ["snapshots", "chunks"].map(|name| db.open_tree(name).unwrap());
    let head = snapshots.get(part(session(number), sequence)).unwrap();
    let Some(head) = head.filter(|head| head[0] == b'L') else {
        return BTreeMap::new();
    };
    let head = body(&head);
    let length = |place: usize| usize::from(u16::from_le_bytes([head[place], head[place + 1]]));
    let ends = length(13) + length(15);
    let mut waiting: Vec<_> =
        addresses(&head[17 + ends..]).into_iter().map(|address| (head[0], address)).collect();
    let mut named = BTreeMap::new();
    while let Some((level, address)) = waiting.pop() {
        if named.insert(address, level).is_none() && level > 0 {
            let list = chunks.get(key(number, &address)).unwrap().expect("a list");
            let below = addresses(body(&list));
            waiting.extend(below.into_iter().map(|address| (level - 1, address)));
        }
    }
    named
}

fn rows(place: &Folder, tree: &str) -> usize {
    raw(place.path(), |db| db.open_tree(tree).expect("a tree").len())
}

/// Whether the chunks of a session are those that its snapshots name.
fn assert_only_named(place: &Folder, record: &SessionRecord) {
    raw(place.path(), |db| {
        let kept = record.snapshots.iter().map(|kept| kept.sequence);
        let named: BTreeSet<_> = kept.flat_map(|kept| named(db, 1, kept).into_keys()).collect();
        let stored = db.open_tree("chunks").expect("a tree");
        let stored: BTreeSet<Address> =
            stored.iter().keys().map(|key| key.unwrap()[16..].try_into().unwrap()).collect();
        assert_eq!(stored.len(), named.len());
        assert!(stored == named);
    });
}

async fn assert_read(store: &SledStore, number: u128, sequence: u64, expected: &[u8]) {
    let found = store.snapshot(session(number), sequence).await.expect("sound").expect("kept");
    assert!(*found == *expected, "snapshot {sequence}: {} and {}", found.len(), expected.len());
}

/// A state changed in one of the ways in which states change.
fn changed(state: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut state = state.to_vec();
    let place = rng.usize(0..=state.len());
    let end = (place + rng.usize(0..60_000)).min(state.len());
    match rng.u8(0..10) {
        0..3 => state.extend(noise(rng.u64(..), rng.usize(1..30_000))),
        3 => drop(state.splice(place..end, noise(rng.u64(..), rng.usize(0..60_000)))),
        4 => drop(state.splice(place..place, noise(rng.u64(..), rng.usize(0..9)))),
        5 => state.truncate(place.max(1)),
        // The same again, here or at the end.
        6 => state.extend_from_within(place..end),
        7 => {
            let block = state[place..end].to_vec();
            drop(state.splice(0..0, block));
        }
        8 => state.extend(vec![0; rng.usize(0..200_000)]),
        _ => state = noise(rng.u64(..), rng.usize(1..3 * LARGE)),
    }
    state.truncate(5 * LARGE);
    state
}

#[tokio::test]
async fn both_kept_snapshots_come_back_whatever_the_states_were() {
    for seed in 0..8 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let place = Folder::new();
        let options = SledStore::options(place.path()).durability(Durability::Flushed);
        let mut store = options.clone().open().expect("open");
        store.begin(worker(1)).await.expect("begin");
        let mut stored = put(&store, only(record(1))).await;
        let mut states: Vec<Vec<u8>> = vec![noise(seed, LARGE)];
        for step in 0..30 {
            if rng.u8(0..8) == 0 {
                drop(store);
                store = options.clone().open().expect("open");
                store.begin(worker(1)).await.expect("begin");
            }
            let change = rng.usize(0..states.len());
            let state = changed(&states[change], &mut rng);
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &state)).await;
            if rng.bool() {
                stored = put(&store, only(next(&stored, |_| ()))).await;
            }
            states.insert(0, state);
            states.truncate(2);
            for (kept, state) in stored.snapshots.iter().zip(&states) {
                let found = store.snapshot(session(1), kept.sequence).await;
                let found = found.unwrap_or_else(|error| panic!("{seed}, {step}: {error}"));
                assert!(found.expect("kept")[..] == state[..], "{seed}, {step}");
            }
        }
        assert_eq!(store.damaged().await.expect("a list"), []);
        store.close().await.expect("close");
        drop(store);
        assert_only_named(&place, &stored);
        let store = place.open().await;
        store.begin(worker(1)).await.expect("begin");
        for _ in 0..2 {
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"small")).await;
        }
        drop(store);
        assert_eq!((rows(&place, "chunks"), rows(&place, "pieces")), (0, 0), "{seed}");
        assert_eq!((rows(&place, "slots"), rows(&place, "snapshots")), (2, 0));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_dropped_takes_only_its_own_chunks_along() {
    let (place, store) = opened::<Folder>().await;
    let first = noise(1, 3 * LARGE);
    let mut second = first.clone();
    second.extend(noise(2, 10_000));
    let third = noise(3, 2 * LARGE);
    let mut stored = put(&store, with_snapshot(record(1), 0, &first)).await;
    for state in [&second, &third] {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, state)).await;
    }
    // The first and the second had nearly everything in common, and the third has nothing of it.
    let store = reopened(&place, store, 1).await;
    assert_read(&store, 1, 2, &second).await;
    assert_read(&store, 1, 3, &third).await;
    // One that is not in chunks leaves those of the other alone.
    stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"small")).await;
    assert_read(&store, 1, 3, &third).await;
    // And so does a record that names one snapshot only, as after a fall back.
    let mut again = with_snapshot(next(&stored, |_| ()), 0, &second);
    again.record_mut().snapshots.remove(1);
    stored = put(&store, again).await;
    assert_read(&store, 1, 5, &second).await;
    drop(store);
    assert_only_named(&place, &stored);
}

/// The rows of a snapshot in pieces, as versions wrote it that knew no chunks: its head, and the
/// pieces with their keys.
fn in_pieces(number: u128, sequence: u64, bytes: &[u8]) -> (Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let seal = |kind: u8, body: &[&[u8]]| {
        let mut row = [&[kind, 1][..], &body.concat()].concat();
        row.extend(crc32fast::hash(&row).to_le_bytes());
        row
    };
    let generation = 5_u64.to_le_bytes();
    let pieces: BTreeMap<_, _> = (0_u32..)
        .zip(bytes.chunks((32 << 10) - 18))
        .map(|(place, piece)| {
            let key = [&b"S"[..], &part(session(number), sequence), &place.to_be_bytes()].concat();
            (key, seal(b'P', &[&generation, &place.to_le_bytes(), piece]))
        })
        .collect();
    let count = u32::try_from(pieces.len()).expect("few").to_le_bytes();
    let length = (bytes.len() as u64).to_le_bytes();
    let checksum = crc32fast::hash(bytes).to_le_bytes();
    (seal(b'H', &[b"S", &generation, &length, &count, &checksum]), pieces)
}

#[tokio::test]
async fn large_snapshots_in_pieces_are_read_and_replaced() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, b"not yet")).await;
    drop(store);
    let state = noise(1, 3 * LARGE);
    raw(place.path(), |db| {
        let (head, pieces) = in_pieces(1, 1, &state);
        let snapshots = db.open_tree("snapshots").expect("a tree");
        snapshots.insert(part(session(1), 1), head).expect("inserted");
        let tree = db.open_tree("pieces").expect("a tree");
        for (key, piece) in pieces {
            tree.insert(key, piece).expect("inserted");
        }
        // Nor were there these trees.
        for tree in ["chunks", "slots"] {
            assert!(db.drop_tree(tree).expect("dropped"));
        }
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_read(&store, 1, 1, &state).await;
    for sequence in 2..4 {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &state)).await;
        assert_read(&store, 1, sequence, &state).await;
        assert_read(&store, 1, sequence - 1, &state).await;
    }
    drop(store);
    assert_eq!(rows(&place, "pieces"), 0);
    assert_only_named(&place, &stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_replaced_while_it_is_read_is_not_taken_for_damaged() {
    for length in [LARGE - 1000, 4 * LARGE] {
        let place = Folder::new();
        let options = SledStore::options(place.path()).durability(Durability::Flushed);
        let store = Arc::new(options.open().expect("open"));
        store.begin(worker(1)).await.expect("begin");
        let state = move |sequence: u64| noise(sequence, length);
        let mut stored = put(&*store, with_snapshot(record(1), 0, &state(1))).await;
        let newest = Arc::new(AtomicU64::new(1));
        let reading = tokio::spawn({
            let (store, newest) = (Arc::clone(&store), Arc::clone(&newest));
            async move {
                let mut replaced = 0;
                loop {
                    let sequence = newest.load(Ordering::Acquire);
                    if sequence == 0 {
                        return replaced;
                    }
                    let older = sequence.saturating_sub(1).max(1);
                    match store.snapshot(session(1), older).await.expect("not damaged") {
                        Some(bytes) => assert!(*bytes == *state(older), "{older}"),
                        None => replaced += 1,
                    }
                }
            }
        });
        for sequence in 2..=60 {
            let commit = with_snapshot(next(&stored, |_| ()), 0, &state(sequence));
            stored = put(&*store, commit).await;
            newest.store(sequence, Ordering::Release);
        }
        newest.store(0, Ordering::Release);
        reading.await.expect("sound");
        assert_eq!(store.damaged().await.expect("a list"), []);
    }
}

/// 16 MiB, or 1 GiB if asked for.
fn huge() -> usize {
    if std::env::var_os("SESSIONKEEPER_HUGE").is_some() { 1 << 30 } else { 16 << 20 }
}

#[tokio::test]
async fn a_huge_state_is_stored_in_not_too_many_rows() {
    let (place, store) = opened::<Folder>().await;
    let mut state = noise(1, huge());
    let stored = put(&store, with_snapshot(record(1), 0, &state)).await;
    state.extend(noise(2, 4 << 10));
    put(&store, with_snapshot(next(&stored, |_| ()), 0, &state)).await;
    let store = reopened(&place, store, 1).await;
    assert_read(&store, 1, 2, &state).await;
    state.truncate(huge());
    assert_read(&store, 1, 1, &state).await;
    store.close().await.expect("close");
    drop(store);
    let rows = rows(&place, "chunks");
    assert!((1_000..100_000).contains(&rows), "{rows} rows");
    assert_eq!(fs::read_dir(place.path().join("sled/blobs")).expect("a folder").count(), 0);
}
