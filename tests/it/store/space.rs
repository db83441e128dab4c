//! What was removed makes room for what comes.

use std::{fs, sync::Arc};

use sessionkeeper::{
    Deleted, Removal,
    store::{Purge, Purged, Store, Then},
};

use super::{
    fixture::{
        next, noise, only, opened, put, record, session, supervised, with_events, with_snapshot,
        worker,
    },
    sled::Folder,
};

/// How many sessions there are at a time, and how often all of them are replaced.
const SESSIONS: u128 = 8;
const ROUNDS: u128 = 6;

/// Sessions with a state of 512 KiB and 512 KiB of events come and go: the files stay as large as what is
/// there at a time needs, and do not grow with what there ever was.
#[tokio::test]
async fn a_store_uses_the_space_of_deleted_sessions_again() {
    let (place, store) = opened::<Folder>().await;
    let length = || fs::metadata(place.path().join("sled/db")).expect("the files").len();
    let mut lengths = Vec::new();
    for round in 0..ROUNDS {
        let mut filled = Vec::new();
        for number in 1..=SESSIONS {
            let number = round * SESSIONS + number;
            let state = noise(u64::try_from(number).expect("small"), 512 << 10);
            let mut stored = put(&store, with_snapshot(record(number), 0, &state)).await;
            let text = "x".repeat(1 << 10);
            for _ in 0..8 {
                let texts = std::iter::repeat_n(text.as_str(), 64);
                stored = put(&store, with_events(next(&stored, |_| ()), texts)).await;
            }
            filled.push(stored);
        }
        for stored in filled {
            let deleted = Deleted { at: supervised(0), by: Removal::Asked, purged: false };
            let tombstone = next(&stored, |record| record.deleted = Some(deleted));
            let tombstone = put(&store, only(tombstone)).await;
            let gone = next(&tombstone, |record| {
                record.snapshots.clear();
                record.deleted = Some(Deleted { purged: true, ..deleted });
            });
            let purge = Purge {
                generation: worker(1),
                session: tombstone.id,
                version: tombstone.version,
                rows: 32,
                then: Then::Keep(Arc::new(gone)),
            };
            while store.purge(purge.clone()).await.expect("a purge") == Ok(Purged::More) {}
        }
        lengths.push(length() >> 20);
    }
    assert!(store.load(session(1)).await.expect("load").is_some(), "its tombstone is there");
    let [first, .., last] = lengths.as_slice() else { panic!("{lengths:?}") };
    assert!(*last <= first * 3, "{lengths:?} MiB after each round");
}
