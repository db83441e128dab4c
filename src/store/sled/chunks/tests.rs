use std::{collections::HashMap, convert::Infallible};

use fastrand::Rng;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

fn cut(bytes: &[u8]) -> Cut {
    Cut::new(session(1), bytes.into())
}

/// The rows of a snapshot, by their keys.
fn rows(cut: &Cut) -> HashMap<Vec<u8>, Vec<u8>> {
    let mut rows = HashMap::new();
    cut.missing(|_| false, |key, row| assert!(rows.insert(key, row).is_none(), "given twice"));
    rows
}

fn join(
    head: &[u8],
    number: u128,
    rows: &HashMap<Vec<u8>, Vec<u8>>,
) -> Result<Vec<u8>, Unreadable> {
    let row = |address: &_| Ok::<_, Infallible>(rows.get(&chunk_key(session(1), address)));
    match Head::read(head)?.join(session(number), row) {
        Ok(joined) => joined,
        Err(never) => match never {},
    }
}

/// How many chunks the second one has that the first has not.
fn differences(first: &Cut, second: &Cut) -> usize {
    let mut missing = 0;
    second.missing(|address| first.has(address), |_, _| missing += 1);
    missing
}

#[test]
fn what_is_cut_can_be_joined_again() {
    let lengths = [0, 1, FRONT, FRONT + BACK, FRONT + BACK + 1, LARGE + 1, 3_000_000];
    for (seed, length) in (0..).zip(lengths) {
        let snapshot = noise(seed, length);
        let cut = cut(&snapshot);
        assert!(join(cut.head(), 1, &rows(&cut)).expect("sound") == snapshot, "{length}");
    }
}

#[test]
fn no_row_of_a_cut_is_larger_than_its_page_allows() {
    let texts = [noise(1, 30 << 20), vec![0; 40 << 20], b"abcdefg, ".repeat(1 << 20)];
    for snapshot in &texts {
        for length in [LARGE + 1, snapshot.len() / 3, snapshot.len()] {
            let cut = cut(&snapshot[..length]);
            let rows = rows(&cut);
            let largest = rows.values().map(Vec::len).max().expect("a row");
            assert!(largest <= value::ROW, "{largest} of {length}");
            assert!(cut.head().len() <= FRONT + BACK + 40 + TOP * Address::LENGTH);
            assert!(join(cut.head(), 1, &rows).expect("sound") == snapshot[..length]);
        }
    }
}

#[test]
fn chunks_grow_with_the_state_and_never_too_large() {
    let mebi = 1 << 20;
    let cases = [(1, 2), (10, 2), (16, 2), (24, 2), (25, 4), (64, 8), (128, 16), (1024, 16)];
    for (mebibytes, kibibytes) in cases {
        assert_eq!(average(mebibytes * mebi), kibibytes << 10, "{mebibytes} MiB");
    }
    // Where limits are likely to be, nothing changes just above and just below.
    for power in 17..30 {
        let limit = 1 << power;
        assert_eq!(average(limit - 100_000), average(limit + 100_000), "{limit}");
    }
    let snapshot = noise(1, 10 << 20);
    let chunks = cut(&snapshot).chunks.len();
    assert!((4_000..7_000).contains(&chunks), "{chunks} chunks");
}

#[test]
fn content_that_comes_again_is_stored_once() {
    let cut = cut(&vec![7; 20 << 20]);
    let rows = rows(&cut);
    // One for all but the last, and a list or two of that on each level.
    assert!(rows.len() < 12, "{} rows", rows.len());
}

#[test]
fn bytes_that_look_like_a_list_are_not_taken_for_one() {
    let list = joined(&[Address([7; 16]); SHORTEST_LIST]);
    let addresses = [0, 1, 2].map(|level| Address::of(session(1), level, &list));
    assert!(addresses[0] != addresses[1] && addresses[1] != addresses[2]);
    assert!(addresses[0] != Address::of(session(2), 0, &list), "nor is it that of another session");
}

#[test]
fn the_chunks_of_one_session_are_not_taken_for_those_of_another() {
    let cut = cut(&noise(1, LARGE + 1));
    let why = join(cut.head(), 2, &rows(&cut)).expect_err("another session's");
    assert!(matches!(why, Unreadable::Misplaced), "{why}");
}

#[test]
fn what_is_below_an_unreadable_list_is_not_named_and_the_rest_is() {
    let snapshot = noise(1, 4 << 20);
    let cut = cut(&snapshot);
    let rows = rows(&cut);
    let head = Head::read(cut.head()).expect("sound");
    let name = |is_known: &dyn Fn(&Address) -> bool, gone: Option<&Address>| {
        let mut named = HashSet::new();
        let row = |address: &Address| {
            let row = rows.get(&chunk_key(session(1), address));
            Ok(row.filter(|_| gone != Some(address)))
        };
        let found = head.name(session(1), is_known, row, &mut named);
        (named, found)
    };
    let (all, found) = name(&|_| false, None);
    found.expect("sound");
    assert_eq!(all.len(), rows.len());
    let list = cut.top.first().expect("a list");
    let (without, found) = name(&|_| false, Some(list));
    found.expect_err("one is gone");
    let below = cut.lists[list].len();
    assert!(without.len() + below <= all.len() && without.len() > all.len() / 2);
    let (known, found) = name(&|address| address == list, Some(list));
    found.expect("nobody looked at it");
    assert_eq!(known, without);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_edit_changes_the_chunks_around_it_only(
        seed: u64,
        place in 0..2_000_000_usize,
        removed in 0..5_000_usize,
        added in 0..5_000_usize,
    ) {
        let before = noise(seed, 2_000_000);
        let mut after = before.clone();
        let end = (place + removed).min(after.len());
        after.splice(place..end, noise(!seed, added));
        let (first, second) = (cut(&before), cut(&after));
        // Of some thousand. It takes a few chunks until the cuts are where they were.
        let different = differences(&first, &second);
        prop_assert!(different <= 30, "{different}");
        prop_assert_eq!(differences(&second, &second), 0);
    }
}
