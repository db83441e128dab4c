//! What becomes of large snapshots whose rows are damaged.

use std::{fs, path::Path};

use sessionkeeper::{
    SessionRecord,
    store::{SledStore, Store, StoreError, export, import, repair},
};

use super::{Address, LARGE, assert_read, key, named, rows};
use crate::store::{
    fixture::{
        Place, next, noise, only, opened, put, record, reopened, session, with_snapshot, worker,
    },
    guards::part,
    sled::{Folder, raw},
};

/// Two sessions of two large snapshots each. The second one of the first session goes on where its
/// first one ends.
async fn two_sessions() -> (Folder, SledStore, [Vec<u8>; 2], SessionRecord) {
    let (place, store) = opened::<Folder>().await;
    let first = noise(1, 40 * LARGE);
    let mut second = first.clone();
    second.extend(noise(2, 100_000));
    let states = [first, second];
    let mut last = record(1);
    for number in [2, 1] {
        let stored = put(&store, with_snapshot(record(number), 0, &states[0])).await;
        last = put(&store, with_snapshot(next(&stored, |_| ()), 0, &states[1])).await;
    }
    (place, store, states, last)
}

/// What a snapshot has and the one before it has not, at a level.
fn own(db: &sled::Db, sequence: u64, level: u8) -> Address {
    let before = named(db, 1, sequence - 1);
    let own = named(db, 1, sequence).into_iter();
    let mut own = own.filter(|(address, at)| !before.contains_key(address) && *at == level);
    own.next().expect("one at this level").0
}

/// How a row can be damaged.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Remove,
    Garble,
    /// A sound row of the same table takes its place.
    Swap,
}

const HARMS: [Harm; 3] = [Harm::Remove, Harm::Garble, Harm::Swap];

/// Damages a chunk that only the second snapshot of the first session has.
fn harm(place: &Path, level: u8, how: Harm) {
    raw(place, |db| {
        let chunks = db.open_tree("chunks").expect("a tree");
        let key = key(1, &own(db, 2, level));
        let other = chunks.iter().values().next().expect("a row").expect("sound");
        let mut row = chunks.remove(&key).expect("removed").expect("it was there").to_vec();
        match how {
            Harm::Remove => return,
            Harm::Garble => row[10] ^= 1,
            Harm::Swap => row = other.to_vec(),
        }
        chunks.insert(key, row).expect("inserted");
    });
}

/// Two sessions, of which the second snapshot of the first one is damaged.
async fn harmed(level: u8, how: Harm) -> (Folder, SledStore, [Vec<u8>; 2], SessionRecord) {
    let (place, store, states, last) = two_sessions().await;
    drop(store);
    harm(place.path(), level, how);
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    (place, store, states, last)
}

async fn assert_damaged(store: &SledStore, sequence: u64) {
    let error = store.snapshot(session(1), sequence).await.expect_err("damaged");
    let StoreError::Damaged { session: whose, what, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*whose, *what), (session(1), "snapshot"));
    let damaged = store.damaged().await.expect("a list");
    assert!(damaged.iter().all(|damage| damage.session == Some(session(1))), "{damaged:?}");
    assert!(!damaged.is_empty());
}

#[tokio::test]
async fn a_damaged_chunk_is_named_and_the_older_snapshot_serves() {
    for level in 0..=2 {
        for how in HARMS {
            let (place, store, states, last) = harmed(level, how).await;
            assert_damaged(&store, 2).await;
            assert_read(&store, 1, 1, &states[0]).await;
            for sequence in [1, 2] {
                assert_read(&store, 2, sequence, &states[usize::from(sequence == 2)]).await;
            }
            // It goes on from the older one, as a fall back does.
            let older = last.snapshots[1];
            let back = next(&last, |record| record.snapshots = vec![older]);
            let mut stored = put(&store, only(back)).await;
            for _ in 0..3 {
                stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &states[1])).await;
                for kept in &stored.snapshots {
                    let state = &states[usize::from(kept.sequence > 1)];
                    assert_read(&store, 1, kept.sequence, state).await;
                }
            }
            assert_eq!(fs::read_dir(place.path().join("sled/blobs")).expect("a folder").count(), 0);
        }
    }
}

#[tokio::test]
async fn what_a_damaged_snapshot_lost_is_written_again() {
    for level in 0..=2 {
        for how in HARMS {
            let (place, store, states, last) = harmed(level, how).await;
            assert_damaged(&store, 2).await;
            // With the damaged one still kept, a state that has the same chunks.
            let third = [&states[1][..], b"more"].concat();
            let stored = put(&store, with_snapshot(next(&last, |_| ()), 0, &third)).await;
            assert_read(&store, 1, 3, &third).await;
            let stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &third)).await;
            let store = reopened(&place, store, 1).await;
            assert_read(&store, 1, 3, &third).await;
            assert_read(&store, 1, 4, &third).await;
            assert_eq!(stored.snapshots.len(), 2);
        }
    }
}

#[tokio::test]
async fn a_damaged_list_takes_no_chunk_away_and_hinders_no_commit() {
    for how in HARMS {
        let (place, store, states, last) = harmed(1, how).await;
        // Nobody has read it: the first to see the damage is the writer, who looks for what to remove.
        let mut stored = last;
        for seed in 3..7 {
            let sequence = stored.snapshots[0].sequence + 1;
            let state = [&states[0][..], &noise(seed, 10_000)].concat();
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &state)).await;
            assert_read(&store, 1, sequence, &state).await;
        }
        assert!(!store.damaged().await.expect("a list").is_empty(), "{how:?}");
        for sequence in [1, 2] {
            assert_read(&store, 2, sequence, &states[usize::from(sequence == 2)]).await;
        }
        // What it named and nobody found is left behind, until a repair.
        for _ in 0..2 {
            stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"small")).await;
        }
        drop(store);
        let left = rows(&place, "chunks");
        let report = repair(place.path()).expect("repair");
        assert_eq!((report.sessions, report.snapshots), (2, 4));
        assert!(rows(&place, "chunks") < left, "{how:?}: of {left}");
    }
}

#[tokio::test]
async fn a_damaged_head_is_named_and_takes_no_chunk_of_another_away() {
    let (place, store, states, last) = two_sessions().await;
    drop(store);
    raw(place.path(), |db| {
        let snapshots = db.open_tree("snapshots").expect("a tree");
        let key = part(session(1), 2);
        let mut row = snapshots.get(&key).expect("read").expect("there").to_vec();
        row[20] ^= 1;
        snapshots.insert(key, row).expect("inserted");
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_damaged(&store, 2).await;
    assert_read(&store, 1, 1, &states[0]).await;
    let mut stored = last;
    for _ in 0..3 {
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, &states[1])).await;
        assert_read(&store, 1, stored.snapshots[0].sequence, &states[1]).await;
    }
    assert_read(&store, 1, stored.snapshots[1].sequence, &states[1]).await;
    assert_read(&store, 2, 2, &states[1]).await;
}

#[tokio::test]
async fn archives_and_repairs_carry_over_what_is_needed() {
    let (place, store, states, last) = two_sessions().await;
    drop(store);
    let chunks = rows(&place, "chunks");
    let mut archive = Vec::new();
    let report = export(place.path(), &mut archive).expect("export");
    assert_eq!((report.snapshots, report.lost.len()), (4, 0));
    let copy = Folder::new();
    import(copy.path(), archive.as_slice()).expect("import");
    // A chunk that nobody needs, and one that a snapshot needs.
    raw(place.path(), |db| {
        let chunks = db.open_tree("chunks").expect("a tree");
        chunks.insert(key(1, &[7; 16]), b"left behind").expect("inserted");
    });
    harm(place.path(), 0, Harm::Remove);
    let report = repair(place.path()).expect("repair");
    let lost: Vec<_> = report.lost.iter().map(|damage| damage.session).collect();
    assert_eq!((report.snapshots, lost), (3, vec![Some(session(1))]));
    for (place, whole) in [(&place, false), (&copy, true)] {
        assert_eq!(rows(place, "chunks") == chunks, whole);
        assert_eq!(rows(place, "pieces"), 0);
        let store = place.open().await;
        store.begin(worker(1)).await.expect("begin");
        assert_read(&store, 1, 1, &states[0]).await;
        assert_read(&store, 2, 2, &states[1]).await;
        // And it goes on from there.
        let stored = put(&store, with_snapshot(next(&last, |_| ()), 0, &states[1])).await;
        assert_read(&store, 1, stored.snapshots[0].sequence, &states[1]).await;
    }
}
