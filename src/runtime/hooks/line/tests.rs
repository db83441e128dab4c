use super::*;
use crate::model::{
    event::{Cause, RunEnd},
    state::State,
    time::Timestamp,
};

fn event(sequence: u64, what: Lifecycle) -> Arc<EventRecord> {
    let fact = Fact::Lifecycle(what);
    Arc::new(EventRecord { sequence, at: Timestamp::default(), run: None, input: None, fact })
}

fn run_ended() -> Arc<EventRecord> {
    event(3, Lifecycle::RunEnded { how: RunEnd::Interrupted })
}

fn session_ended() -> Arc<EventRecord> {
    let (from, to) = (State::Active, State::Completed);
    let cause = Cause::RolledOver;
    event(4, Lifecycle::StateChanged { from, to, cause, reason: None, begins: false })
}

fn owed(line: &Line) -> Vec<(Hook, u64)> {
    line.owed.iter().map(|owed| (owed.hook, owed.event.sequence)).collect()
}

#[test]
fn a_run_that_ends_its_session_is_told_after_that() {
    let mut line = Line::default();
    line.owe(&run_ended());
    line.owe(&session_ended());
    assert_eq!(owed(&line), [(Hook::StateChanged, 4), (Hook::SessionEnd, 4), (Hook::AfterRun, 3)]);
}

/// The end of a run that was lost may be a commit of its own. What comes of its call must not be taken for another hook's, which
/// would never be called then.
#[test]
fn a_hook_that_was_begun_stays_the_first() {
    for (is_called, failures) in [(true, 0), (true, 2), (false, 1)] {
        let mut line = Line::default();
        line.owe(&run_ended());
        (line.is_called, line.failures) = (is_called, failures);
        line.owe(&session_ended());
        assert_eq!(
            owed(&line),
            [(Hook::AfterRun, 3), (Hook::StateChanged, 4), (Hook::SessionEnd, 4)]
        );
    }
}

fn moved(sequence: u64) -> EventRecord {
    let (from, to) = (State::Active, State::Paused);
    let what =
        Lifecycle::StateChanged { from, to, cause: Cause::Asked, reason: None, begins: false };
    EventRecord::clone(&event(sequence, what))
}

/// What one session is owed may grow for as long as one of its hooks hangs. What is held of that does not.
#[test]
fn of_a_long_line_the_rest_is_looked_at_later() {
    let mut all: Vec<EventRecord> = (1..=300).map(moved).collect();
    // Where the first page ends, and where the line is full.
    for end in [128, 128 + 16] {
        let ends = [run_ended(), session_ended()].map(|event| EventRecord::clone(&event));
        for (event, sequence) in ends.into_iter().zip(end..) {
            all[usize::try_from(sequence).unwrap() - 1] = EventRecord { sequence, ..event };
        }
    }
    let mut line = Line::default();
    let mut told = Vec::new();
    for event in all.iter().cloned().map(Arc::new) {
        line.take(&event);
        assert!(line.owed.len() <= MOST + 2);
    }
    assert_eq!(line.rest, Some((MOST as u64 + 1, 300)));
    while !line.is_done() {
        told.extend(line.owed.drain(..).map(|owed| (owed.hook, owed.event.sequence)));
        if let Some((first, last)) = line.rest_to_look_at() {
            let page = all.iter().filter(|event| (first..=last).contains(&event.sequence));
            let page: Vec<_> = page.take(112).cloned().collect();
            let next = page.last().unwrap().sequence + 1;
            line.looked(page, next);
            assert!(line.owed.len() <= MOST + 2);
        }
    }
    let mut whole = Line::default();
    all.into_iter().map(Arc::new).for_each(|event| whole.owe(&event));
    assert_eq!(told, owed(&whole));
}
