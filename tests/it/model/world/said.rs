//! What the library says, in the words of the model.

use sessionkeeper::{
    InvalidTransition, NotRunning, Paused, Receipt, RunEnd, SendError, SessionError, SessionId,
    Settled, StartError, StartedSession, Status, StopReport,
};

use crate::model::{
    player::Player,
    reference::{Answer, End, Who},
};

/// An answer of the library.
pub(in crate::model) trait Said {
    fn said(self) -> Answer;
}

impl<T: Said, E: Said> Said for Result<T, E> {
    fn said(self) -> Answer {
        match self {
            Ok(answer) => answer.said(),
            Err(error) => error.said(),
        }
    }
}

impl Said for () {
    fn said(self) -> Answer {
        Answer::Done
    }
}

impl Said for Paused {
    fn said(self) -> Answer {
        assert!(self.snapshot.is_some(), "what is paused has a snapshot");
        Answer::Done
    }
}

impl Said for Receipt {
    fn said(self) -> Answer {
        Answer::Received { input: self.sequence, repeated: self.repeated }
    }
}

impl Said for Status {
    fn said(self) -> Answer {
        Answer::Reached(self.state())
    }
}

impl Said for Settled {
    fn said(self) -> Answer {
        Answer::Reached(self.status().state())
    }
}

impl Said for StopReport {
    fn said(self) -> Answer {
        Answer::Gone(self.end.as_ref().map(end))
    }
}

impl Said for NotRunning {
    fn said(self) -> Answer {
        Answer::NotRunning
    }
}

impl Said for SessionError {
    fn said(self) -> Answer {
        match self {
            Self::Refused(InvalidTransition { from, to, .. }) => Answer::Refused(from, to),
            Self::Superseded { by, .. } => Answer::Superseded(by),
            Self::ShuttingDown { .. } => Answer::ShuttingDown,
            Self::OutcomeUnknown { .. } => Answer::OutcomeUnknown,
            error => panic!("{error}"),
        }
    }
}

impl Said for SendError {
    fn said(self) -> Answer {
        match self {
            Self::NotAccepting { state, .. } => Answer::NotAccepting(state),
            Self::Full { .. } => Answer::Full,
            Self::InputIdReused { sequence, .. } => Answer::InputIdReused(sequence),
            Self::Session(error) => error.said(),
            error => panic!("{error}"),
        }
    }
}

pub(super) fn started(
    started: Result<StartedSession<Player>, StartError>,
    sessions: &[SessionId],
) -> Answer {
    match started {
        Ok(started) => Answer::Started {
            who: who(started.id(), sessions),
            repeated: started.origin() == sessionkeeper::Origin::Repeated,
        },
        Err(StartError::KeyReused { session, .. }) => Answer::KeyReused(who(session, sessions)),
        Err(StartError::NameTaken { holder, .. }) => Answer::NameTaken(who(holder, sessions)),
        Err(error) => panic!("{error}"),
    }
}

/// A session, by the order of the starts.
pub(super) fn who(session: SessionId, sessions: &[SessionId]) -> Who {
    let place = sessions.iter().position(|known| *known == session);
    place.expect("it was started here")
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
