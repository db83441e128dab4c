//! Sessions by their runs, which are numbered from 1, and in numbers.

use sessionkeeper::State;

use super::{Call, End, Line, Reference, Session, Who, verbs::Answer};

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum RunState {
    Current,
    /// Its session has ended without it.
    Ending,
    Ended(End),
}

impl Session {
    /// The run that a stop of the session would be for.
    fn current_run(&self) -> Option<u32> {
        matches!(self.state, State::Active | State::Stopping).then_some(self.runs)
    }

    /// How a run ended, and the number of the event that says so. It ends before the next one begins.
    fn end_of(&self, run: u32) -> Option<(End, u64)> {
        let ends = (1..).zip(&self.log).filter_map(|(number, line)| match line {
            Line::Ended(end) => Some((*end, number)),
            _ => None,
        });
        ends.zip(1..).find(|(_, ended)| *ended == run).map(|(end, _)| end)
    }

    /// The run that was so many before the last one.
    pub(in crate::model) fn earlier_run(&self, back: u32) -> Option<u32> {
        self.runs.checked_sub(back).filter(|run| *run > 0)
    }
}

impl Reference {
    /// Whose a run is, and what has become of it.
    pub(in crate::model) fn find_run(&self, who: Who, back: u32) -> Option<Answer> {
        let session = &self.sessions[who];
        let Some(run) = session.earlier_run(back) else {
            return Some(Answer::Nobody);
        };
        if session.deleted.is_some() {
            return Some(Answer::NotFound);
        }
        let state = match session.end_of(run) {
            Some((end, event)) => {
                // It is known as long as the event is that it ended with.
                let gone = self.gone_events(session);
                let known = Answer::Run { who, run, state: RunState::Ended(end) };
                return Some(match event {
                    _ if event <= *gone.start() => Answer::NotFound,
                    _ if event <= *gone.end() => Answer::OneOf(vec![known, Answer::NotFound]),
                    _ => known,
                });
            }
            None if session.current_run() == Some(run) => RunState::Current,
            None => RunState::Ending,
        };
        Some(Answer::Run { who, run, state })
    }

    /// Only the present run of a session is stopped.
    pub(in crate::model) fn stop_run(&mut self, who: Who, back: u32, call: Call) -> Option<Answer> {
        let session = &self.sessions[who];
        let Some(run) = session.earlier_run(back) else {
            return Some(Answer::Nobody);
        };
        if session.deleted.is_some() {
            return Some(Answer::NotFound);
        }
        let current = session.current_run();
        // A session that is stopped goes by its last one: asking for what holds succeeds.
        let last = (session.state == State::Stopped).then_some(session.runs);
        if current.or(last) != Some(run) {
            return Some(Answer::NotCurrentRun(current));
        }
        self.stop(who, None, call)
    }

    /// How many sessions are in a state: of all, or of those with a label.
    pub(in crate::model) fn count(&self, state: State, team: Option<u8>) -> u64 {
        let counts =
            |session: &Session| session.state == state && (team.is_none() || session.team == team);
        self.present().filter(|(_, session)| counts(session)).count() as u64
    }
}
