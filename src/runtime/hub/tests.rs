use super::*;
use crate::model::{
    event::{Event, Fact},
    time::Timestamp,
};

fn event(sequence: u64, bytes: usize) -> Arc<EventRecord> {
    let fact = Fact::Work(Event::completion("x".repeat(bytes)));
    Arc::new(EventRecord { sequence, at: Timestamp::default(), run: None, input: None, fact })
}

fn numbers(newest: &Newest, next: u64) -> Option<Vec<u64>> {
    let events = newest.from(next)?;
    Some(events.iter().map(|event| event.sequence).collect())
}

#[test]
fn the_newest_events_are_kept_and_no_more() {
    let mut newest = Newest::default();
    assert_eq!(numbers(&newest, 1), None);
    for sequence in 1..=1_000 {
        newest.push(event(sequence, 100));
        assert!(newest.events.len() <= TAIL);
    }
    assert_eq!(numbers(&newest, 937), Some((937..=1_000).collect()));
    assert_eq!(numbers(&newest, 1_000), Some(vec![1_000]));
    assert_eq!(numbers(&newest, 936), None, "it is in the store");
    assert_eq!(numbers(&newest, 1_001), None, "there is none yet");
}

#[test]
fn large_events_are_fewer() {
    let mut newest = Newest::default();
    for sequence in 1..=20 {
        newest.push(event(sequence, 200 << 10));
        assert!(newest.bytes <= TAIL_BYTES);
        assert_eq!(newest.bytes, newest.events.iter().map(|(_, bytes)| bytes).sum::<usize>());
    }
    assert_eq!(numbers(&newest, 16), Some((16..=20).collect()));
}

#[test]
fn nothing_is_kept_from_before_a_gap() {
    let mut newest = Newest::default();
    for sequence in [1, 2, 3, 7, 8] {
        newest.push(event(sequence, 1));
    }
    assert_eq!((numbers(&newest, 3), numbers(&newest, 7)), (None, Some(vec![7, 8])));
}
