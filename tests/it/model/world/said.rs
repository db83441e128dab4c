//! What the library says, in the words of the model.

use std::{collections::BTreeMap, sync::Arc};

use sessionkeeper::{
    FindError, ForkError, GroupReport, Interruption, InvalidTransition, NotRunning, Origin, Paused,
    Receipt, RecoveryReport, RolloverError, RunEnd, RunId, RunStatus, SendError, SessionError,
    SessionHandle, SessionId, Settled, ShuttingDown, StartError, StartedSession, Status,
    StopReport, StopTicket,
};

use crate::model::{
    player::Player,
    reference::{Answer, End, Recovered, RunState, Who},
};

/// The sessions that were heard of, in the order in which they were made.
#[derive(Debug, Clone, Default)]
pub(in crate::model) struct Known {
    sessions: Vec<SessionId>,
    /// How many runs each had, and those that were seen, by their numbers.
    runs: BTreeMap<Who, (u32, BTreeMap<u32, RunId>)>,
}

impl Known {
    /// A session, as the model names it.
    pub(super) fn who(&mut self, session: SessionId) -> Who {
        let place = self.sessions.iter().position(|known| *known == session);
        place.unwrap_or_else(|| {
            self.sessions.push(session);
            self.sessions.len() - 1
        })
    }

    pub(super) fn id(&self, who: Who) -> SessionId {
        self.sessions[who]
    }

    /// The events of a session tell of its runs, the last one last.
    pub(super) fn know_runs(&mut self, who: Who, count: u32, mut runs: Vec<RunId>) {
        runs.dedup();
        let known = self.runs.entry(who).or_default();
        known.0 = count;
        known.1.extend((1..=count).rev().zip(runs.into_iter().rev()));
    }

    /// The run that was so many before the last one, if there was one.
    pub(super) fn earlier_run(&self, who: Who, back: u32) -> Option<Earlier> {
        let (count, seen) = self.runs.get(&who)?;
        let number = count.checked_sub(back).filter(|number| *number > 0)?;
        Some(seen.get(&number).map_or(Earlier::Unseen, |run| Earlier::Seen(*run)))
    }

    /// A run, and the session that it is of, as the model names them.
    fn run(&self, run: RunId) -> Option<(Who, u32)> {
        self.runs.iter().find_map(|(who, runs)| {
            let (number, _) = runs.1.iter().find(|(_, known)| **known == run)?;
            Some((*who, *number))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// A run of a session.
#[derive(Debug, Clone, Copy)]
pub(super) enum Earlier {
    Seen(RunId),
    /// All that was written of it was gone when it was looked.
    Unseen,
}

/// An answer of the library.
pub(in crate::model) trait Said {
    fn said(self, known: &mut Known) -> Answer;
}

impl<T: Said, E: Said> Said for Result<T, E> {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Ok(answer) => answer.said(known),
            Err(error) => error.said(known),
        }
    }
}

impl Said for Answer {
    fn said(self, _: &mut Known) -> Answer {
        self
    }
}

impl Said for () {
    fn said(self, _: &mut Known) -> Answer {
        Answer::Done
    }
}

impl Said for Interruption {
    fn said(self, _: &mut Known) -> Answer {
        match self {
            Self::Turn { input, then, .. } => Answer::Interrupted { input, then },
            Self::Nothing => Answer::NothingInHand,
        }
    }
}

impl Said for Paused {
    fn said(self, _: &mut Known) -> Answer {
        assert!(self.snapshot.is_some(), "what is paused has a snapshot");
        Answer::Done
    }
}

impl Said for Receipt {
    fn said(self, known: &mut Known) -> Answer {
        let who = known.who(self.session);
        Answer::Received { who, input: self.sequence, repeated: self.repeated }
    }
}

impl Said for Status {
    fn said(self, _: &mut Known) -> Answer {
        Answer::Reached(self.state())
    }
}

impl Said for Settled {
    fn said(self, _: &mut Known) -> Answer {
        Answer::Reached(self.status().state())
    }
}

/// Whether a stop has to wait for a run.
impl Said for StopTicket {
    fn said(self, _: &mut Known) -> Answer {
        Answer::Stopping { alive: self.run().is_some() }
    }
}

impl<T: Said> Said for GroupReport<T> {
    fn said(self, known: &mut Known) -> Answer {
        let lines = self.lines.into_iter();
        Answer::Each(lines.map(|(id, line)| (known.who(id), line.said(known))).collect())
    }
}

impl Said for StopReport {
    fn said(self, _: &mut Known) -> Answer {
        Answer::Gone(self.end.as_ref().map(end))
    }
}

impl Said for NotRunning {
    fn said(self, _: &mut Known) -> Answer {
        Answer::NotRunning
    }
}

impl Said for SessionError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::Refused(InvalidTransition { from, to, .. }) => Answer::Refused(from, to),
            Self::RolledOver { successor, .. } => Answer::RolledOver(known.who(successor)),
            Self::Superseded { by, .. } => Answer::Superseded(by),
            Self::NotCurrentRun { current, .. } => {
                let current = current.map(|run| known.run(run).expect("it began here").1);
                Answer::NotCurrentRun(current)
            }
            Self::NotFound { .. } => Answer::NotFound,
            Self::NotAtRest { state, .. } => Answer::NotAtRest(state),
            Self::ShuttingDown { .. } => Answer::ShuttingDown,
            Self::OutcomeUnknown { .. } => Answer::OutcomeUnknown,
            error => panic!("{error}"),
        }
    }
}

impl Said for FindError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::NoSuchRun { .. } => Answer::NotFound,
            Self::Session(error) => error.said(known),
            error => panic!("{error}"),
        }
    }
}

impl Said for RunStatus {
    fn said(self, known: &mut Known) -> Answer {
        let (who, run) = known.run(self.run).expect("it began here");
        assert_eq!(known.who(self.session.id()), who, "it is told whose it is");
        let state = match &self.state {
            sessionkeeper::RunState::Current => RunState::Current,
            sessionkeeper::RunState::Ending => RunState::Ending,
            sessionkeeper::RunState::Ended(how) => RunState::Ended(end(how)),
            state => panic!("{state:?}"),
        };
        Answer::Run { who, run, state }
    }
}

impl Said for SendError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::NotAccepting { state, .. } => Answer::NotAccepting(state),
            Self::Full { .. } => Answer::Full,
            Self::UrgentFull { .. } => Answer::UrgentFull,
            Self::InputIdReused { sequence, .. } => Answer::InputIdReused(sequence),
            Self::RolledOver { successor, .. } => Answer::RolledOver(known.who(successor)),
            Self::Session(error) => error.said(known),
            error => panic!("{error}"),
        }
    }
}

impl Said for StartedSession<Player> {
    fn said(self, known: &mut Known) -> Answer {
        let repeated = self.origin() == Origin::Repeated;
        Answer::Started { who: known.who(self.id()), repeated }
    }
}

impl Said for StartError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::Exists { .. } => Answer::Exists,
            Self::Deleted { session } => Answer::Deleted(known.who(session)),
            Self::Input(error) => error.said(known),
            Self::KeyReused { session, .. } => Answer::KeyReused(known.who(session)),
            Self::ParentEnded { state, .. } => Answer::ParentEnded(state),
            Self::TooManyChildren { .. } => Answer::TooManyChildren,
            Self::Session(error) => error.said(known),
            Self::NameTaken { holder, .. } => Answer::NameTaken(known.who(holder)),
            error => panic!("{error}"),
        }
    }
}

impl Said for RolloverError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::Refused { state, .. } => Answer::NoSuccessor(state),
            Self::Start(error) => error.said(known),
            Self::Session(error) => error.said(known),
            error => panic!("{error}"),
        }
    }
}

impl Said for ForkError {
    fn said(self, known: &mut Known) -> Answer {
        match self {
            Self::NotKept { kept, .. } => Answer::NotKept(kept),
            Self::Start(error) => error.said(known),
            Self::Session(error) => error.said(known),
            error => panic!("{error}"),
        }
    }
}

/// Where a handle leads.
impl Said for SessionHandle<Player> {
    fn said(self, known: &mut Known) -> Answer {
        Answer::Found(Some(known.who(self.id())))
    }
}

pub(super) fn end(end: &RunEnd) -> End {
    match end {
        RunEnd::Yielded => End::Yielded,
        RunEnd::Completed => End::Completed,
        RunEnd::Failed { .. } => End::Failed,
        RunEnd::Panicked { .. } => End::Panicked,
        RunEnd::Cancelled => End::Cancelled,
        RunEnd::Interrupted => End::Interrupted,
        end => panic!("{end}"),
    }
}

impl Said for Arc<RecoveryReport> {
    fn said(self, known: &mut Known) -> Answer {
        assert!(self.failed.is_empty(), "{:?}", self.failed);
        let mut who = |ids: &[SessionId]| ids.iter().map(|id| known.who(*id)).collect();
        Answer::Recovered(Recovered {
            resumed: who(&self.resumed),
            stopped: who(&self.stopped),
            interrupted: who(&self.interrupted),
            quarantined: who(&self.quarantined),
        })
    }
}

impl Said for ShuttingDown {
    fn said(self, _: &mut Known) -> Answer {
        Answer::ShuttingDown
    }
}
