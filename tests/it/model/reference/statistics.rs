//! What happened to all sessions, in numbers: counted from the events, whatever became of their sessions and their
//! workers.

use sessionkeeper::State;

use super::{Line, Ms, Reference, Who, family::has_ended};

/// Something that was recorded, and when by the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happened {
    at: Ms,
    who: Who,
    line: Line,
}

/// Of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Span {
    SinceTheBeginning,
    Minutes(u64),
}

/// What happened in a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::model) struct Numbers {
    pub(in crate::model) started: u64,
    /// Completed, failed, stopped, expired.
    pub(in crate::model) ended: [u64; 4],
    /// How long each took to complete, and to fail.
    pub(in crate::model) took: [Vec<Ms>; 2],
    pub(in crate::model) lifecycle: u64,
    pub(in crate::model) usage: u64,
    pub(in crate::model) custom: u64,
}

impl Numbers {
    pub(in crate::model) const ENDS: [State; 4] =
        [State::Completed, State::Failed, State::Stopped, State::Expired];

    fn count(&mut self, line: Line, took: Ms) {
        match line {
            Line::Event => self.custom += 1,
            Line::Usage => self.usage += 1,
            _ => self.lifecycle += 1,
        }
        match line {
            Line::Created => self.started += 1,
            Line::Moved(_, to, _) if has_ended(to) => {
                let end = Self::ENDS.iter().position(|end| *end == to).expect("these are all");
                self.ended[end] += 1;
                if let Some(all) = self.took.get_mut(end) {
                    all.push(took);
                }
            }
            _ => {}
        }
    }
}

/// The minute by the wall clock, whose first one of the life had begun before.
const fn minute(at: Ms) -> u64 {
    (at + BEGAN) / MINUTE
}

const MINUTE: Ms = 60_000;
/// What happens so close to the turn of a minute may be of either.
const TURN: Ms = 20;
/// How much of its hour the wall clock shows when a life begins.
const BEGAN: Ms = 13 * MINUTE + 20_000;

impl Reference {
    /// Notes what was written down since it was last looked.
    pub(super) fn note_what_happened(&mut self) {
        let at = self.wall_now();
        for (who, session) in self.sessions.iter_mut().enumerate() {
            if session.recorded.is_empty() {
                session.created = at;
            }
            let new = session.log[session.recorded.len()..].iter();
            self.happened.extend(new.map(|line| Happened { at, who, line: *line }));
            session.recorded.resize(session.log.len(), self.now);
        }
    }

    /// What is to be counted of all sessions, or of those with a label. `None` where it cannot be told: labels have changed, or
    /// something happened just where one minute ends and the next begins.
    pub(in crate::model) fn numbers(&self, team: Option<u8>, span: Span) -> Option<Numbers> {
        let is_at_the_turn = |happened: &Happened| (happened.at + BEGAN + TURN) % MINUTE < 2 * TURN;
        if team.is_some() && self.relabelled
            || span != Span::SinceTheBeginning && self.happened.iter().any(is_at_the_turn)
        {
            return None;
        }
        let now = minute(self.wall_now());
        let since = match (span, team) {
            (Span::SinceTheBeginning, _) => 0,
            (Span::Minutes(minutes), None) => now.saturating_sub(minutes),
            // Those of a label are kept by the hour.
            (Span::Minutes(minutes), Some(_)) => now.saturating_sub(minutes) / 60 * 60,
        };
        let mut numbers = Numbers::default();
        for happened in &self.happened {
            let session = &self.sessions[happened.who];
            let counts = team.is_none() || session.team == team;
            if counts && minute(happened.at) >= since {
                numbers.count(happened.line, happened.at - session.created);
            }
        }
        Some(numbers)
    }
}
