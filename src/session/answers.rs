//! What the verbs of a session answer.

use super::Session;
use crate::{
    model::{
        event::RunEnd,
        ids::{RunId, SessionId},
        record::SnapshotRef,
        state::State,
    },
    runtime::error::SessionError,
};

/// An input that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The session that has it: another one than was asked where a handle [follows](Session::following) a rollover.
    pub session: SessionId,
    /// Its number in the session, from 1.
    pub sequence: u64,
    /// Whether the same input had been accepted before, under the same id.
    pub repeated: bool,
}

/// A session at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paused {
    /// The snapshot that it will be resumed from.
    pub snapshot: Option<SnapshotRef>,
}

/// A committed state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot<S> {
    /// Which one it is.
    pub at: SnapshotRef,
    /// The state.
    pub state: S,
}

/// A stop that was accepted.
#[derive(Debug, Clone)]
#[must_use = "`stopping` is durable, but something of the run may still be alive: see `ended`"]
pub struct StopTicket {
    pub(super) session: Session,
    pub(super) run: Option<RunId>,
}

impl StopTicket {
    /// The run that is being stopped, if one was alive.
    pub const fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Waits until nothing of the run is alive any more, or it had to be abandoned.
    ///
    /// # Errors
    /// [`SessionError::OutcomeUnknown`] if the worker ends first; the next one finishes the stop.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn ended(&self) -> Result<StopReport, SessionError> {
        let run = self.run;
        self.session
            .wait_until(|status| {
                let moved_on = match status.state() {
                    State::Stopping => false,
                    State::Active => status.run() != run,
                    State::Pending
                    | State::Paused
                    | State::Stopped
                    | State::Completed
                    | State::Failed
                    | State::Expired => true,
                };
                moved_on.then(|| StopReport {
                    run,
                    end: status
                        .last_run()
                        .filter(|last| Some(last.run) == run)
                        .map(|last| last.end.clone()),
                    snapshot: status.record().snapshot().copied(),
                })
            })
            .await
    }
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// The run that was stopped, if one was alive.
    pub run: Option<RunId>,
    /// What became of it: an abandoned run may still be alive.
    pub end: Option<RunEnd>,
    /// The snapshot that the session keeps.
    pub snapshot: Option<SnapshotRef>,
}

/// The session has no run in this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("session {session}: no run is alive in this worker")]
pub struct NotRunning {
    /// The session.
    pub session: SessionId,
}
