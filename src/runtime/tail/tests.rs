use super::*;
use crate::model::{event::Event, ids::SessionId, time::Timestamp};

fn logged(position: u64, bytes: usize) -> LogItem {
    let fact = Fact::Work(Event::completion("x".repeat(bytes)));
    let (at, run, input) = (Timestamp::default(), None, None);
    let event = EventRecord { sequence: position, at, run, input, fact };
    let session = SessionId::from_uuid(uuid::Uuid::from_u128(1));
    LogItem::Event(Logged { position, session, event: Arc::new(event) })
}

/// Shows so many parts, each of so many events of a size.
fn shown(parts: u64, events: u64, bytes: usize) -> Shown {
    let mut shown = Shown { next: 1, ..Shown::default() };
    for part in 0..parts {
        let from = 1 + part * events;
        let items = (from..from + events).map(|position| logged(position, bytes)).collect();
        shown.take(from, items, from + events);
        assert!(shown.items <= MOST && shown.bytes <= MOST_BYTES);
        let (items, bytes) = shown
            .parts
            .iter()
            .fold((0, 0), |(items, bytes), part| (items + part.items.len(), bytes + part.bytes));
        assert_eq!((shown.items, shown.bytes), (items, bytes));
    }
    shown
}

fn first_from(shown: &Shown, next: u64) -> Option<u64> {
    let part = shown.from(next)?;
    part.items.get(part.place_of(next)).map(last_of)
}

#[test]
fn the_newest_parts_are_kept_and_no_more() {
    let shown = shown(20, 100, 1);
    assert_eq!((shown.items, shown.next), (1_000, 2_001));
    for (next, found) in [(1, None), (1_000, None), (1_001, Some(1_001)), (2_000, Some(2_000))] {
        assert_eq!(first_from(&shown, next), found, "from {next}");
    }
}

#[test]
fn large_events_are_fewer() {
    let shown = shown(20, 10, 100 << 10);
    assert_eq!(shown.items, 40);
    assert_eq!((first_from(&shown, 160), first_from(&shown, 161)), (None, Some(161)));
}

/// Who begins to follow elsewhere while the store is read must not be given what was read for another.
#[test]
fn what_was_read_for_another_place_is_not_taken() {
    let mut shown = shown(1, 10, 1);
    shown.take(5, vec![logged(5, 1)], 6);
    assert_eq!((shown.items, shown.next), (10, 11));
}
