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
