//! Small snapshots lie in slots, and each checkpoint writes over the one that is not kept any more.

use sessionkeeper::{
    SessionRecord,
    store::{Commit, SledStore, Store, StoreError},
};

use super::{
    fixture::{Place, next, noise, only, opened, put, record, session, with_snapshot, worker},
    guards::{part, spoil},
    sled::{Folder, raw},
};

/// How many rows are in the slots, and how many snapshots have rows of their own.
fn rows(place: &Folder) -> (usize, usize) {
    raw(place.path(), |db| {
        let [slots, snapshots] = ["slots", "snapshots"].map(|name| db.open_tree(name).unwrap());
        (slots.len(), snapshots.len())
    })
}

async fn assert_read(store: &SledStore, sequence: u64, state: &[u8]) {
    let found = store.snapshot(session(1), sequence).await.expect("sound");
    assert_eq!(found.as_deref(), Some(state), "snapshot {sequence}");
}

/// The slot of a session with an even or odd number.
fn slot(sequence: u64) -> Vec<u8> {
    let mut key = session(1).as_uuid().as_bytes().to_vec();
    key.push(u8::from(!sequence.is_multiple_of(2)));
    key
}

/// Commits a state that gets a number some way after the last.
async fn put_later(
    store: &SledStore,
    stored: &SessionRecord,
    by: u64,
    state: &[u8],
) -> SessionRecord {
    let mut commit: Commit = with_snapshot(next(stored, |_| ()), 0, state);
    commit.record_mut().snapshots[0].sequence += by - 1;
    put(store, commit).await
}

/// A store where a session has the states `first` and `second`.
async fn two_states() -> (Folder, SledStore, SessionRecord) {
    let (place, store) = opened::<Folder>().await;
    let first = put(&store, with_snapshot(record(1), 0, b"first")).await;
    let second = put(&store, with_snapshot(next(&first, |_| ()), 0, b"second")).await;
    (place, store, second)
}

#[tokio::test]
async fn small_snapshots_take_two_rows_however_many_there_were() {
    let (place, store) = opened::<Folder>().await;
    let mut stored = put(&store, with_snapshot(record(1), 0, b"0")).await;
    for number in 1..9 {
        let state = number.to_string();
        stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, state.as_bytes())).await;
    }
    assert_read(&store, 8, b"7").await;
    assert_read(&store, 9, b"8").await;
    assert_eq!(store.snapshot(session(1), 7).await.expect("sound"), None);
    store.close().await.expect("close");
    assert_eq!(rows(&place), (2, 0));
}

#[tokio::test]
async fn a_kept_snapshot_is_never_written_over() {
    let sizes = [10, 32_000, 32_755, 32_756, 40_000, 150_000];
    for seed in 0..12 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (place, mut store) = opened::<Folder>().await;
        let mut state = noise(seed, 10);
        let mut stored = put(&store, with_snapshot(record(1), 0, &state)).await;
        let mut states = vec![state];
        for step in 0..30 {
            if rng.u8(..4) == 0 {
                drop(store);
                store = place.open().await;
                store.begin(worker(1)).await.expect("begin");
            }
            state = noise(seed * 100 + step, sizes[rng.usize(..sizes.len())]);
            stored = put_later(&store, &stored, rng.u64(1..4), &state).await;
            states.insert(0, state);
            states.truncate(2);
            if rng.u8(..4) == 0 {
                // The newest is dropped, as after a fall back to the one before.
                let older = next(&stored, |record| {
                    record.snapshots.remove(0);
                });
                stored = put(&store, only(older)).await;
                states.remove(0);
            }
            for (kept, state) in stored.snapshots.iter().zip(&states) {
                let found = store.snapshot(session(1), kept.sequence).await.expect("sound");
                assert!(found.as_deref() == Some(&state[..]), "{seed}, {step}: {}", kept.sequence);
            }
        }
        assert_eq!(store.damaged().await.expect("a list"), []);
        drop(store);
        let (slots, snapshots) = rows(&place);
        assert_eq!(slots + snapshots, stored.snapshots.len(), "{seed}");
    }
}

#[tokio::test]
async fn small_snapshots_with_rows_of_their_own_are_read_and_replaced() {
    let (place, store, mut stored) = two_states().await;
    drop(store);
    // As versions wrote them that had no slots.
    raw(place.path(), |db| {
        let snapshots = db.open_tree("snapshots").expect("a tree");
        for (sequence, state) in [(1, b"first".as_slice()), (2, b"second")] {
            let mut row = [b"S\x01", state].concat();
            row.extend(crc32fast::hash(&row).to_le_bytes());
            snapshots.insert(part(session(1), sequence), row).expect("inserted");
        }
        assert!(db.drop_tree("slots").expect("dropped"));
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_read(&store, 1, b"first").await;
    assert_read(&store, 2, b"second").await;
    stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"third")).await;
    assert_read(&store, 2, b"second").await;
    assert_read(&store, 3, b"third").await;
    put(&store, with_snapshot(next(&stored, |_| ()), 0, b"fourth")).await;
    assert_read(&store, 3, b"third").await;
    assert_read(&store, 4, b"fourth").await;
    drop(store);
    assert_eq!(rows(&place), (2, 0));
}

#[tokio::test]
async fn a_damaged_slot_is_reported_and_written_over() {
    let (place, store, mut stored) = two_states().await;
    drop(store);
    spoil(place.path(), "slots", &slot(1));
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    let error = store.snapshot(session(1), 1).await.expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    let damaged = store.damaged().await.expect("a list");
    assert!(damaged[0].reason.starts_with("its snapshot 1 cannot be read"), "{damaged:?}");
    assert_read(&store, 2, b"second").await;
    stored = put(&store, with_snapshot(next(&stored, |_| ()), 0, b"third")).await;
    assert_eq!(stored.snapshots.len(), 2);
    assert_read(&store, 2, b"second").await;
    assert_read(&store, 3, b"third").await;
}

#[tokio::test]
async fn a_slot_with_another_snapshot_is_not_taken_for_the_one_that_is_wanted() {
    let (place, store, _) = two_states().await;
    drop(store);
    raw(place.path(), |db| {
        let slots = db.open_tree("slots").expect("a tree");
        let second = slots.get(slot(2)).expect("read").expect("a row");
        slots.insert(slot(1), second).expect("inserted");
    });
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    assert_eq!(store.snapshot(session(1), 1).await.expect("sound"), None);
    assert_read(&store, 2, b"second").await;
}
