//! Why a session was not forked.

use std::time::Duration;

use crate::{
    model::ids::SessionId,
    runtime::error::{SendError, SessionError, StartError},
};

/// Why a session was not forked. Nothing was stored, unless the error says otherwise; and nothing of the session that was
/// to be forked is ever changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// The snapshot that was asked for is not kept: it was replaced by newer ones, or never was.
    #[error(
        "session {session}: snapshot {snapshot} is not kept; fork it from {}", named(.kept)
    )]
    NotKept {
        /// The session that was to be forked.
        session: SessionId,
        /// The number that was asked for.
        snapshot: u64,
        /// The numbers of those that are kept, the newest first.
        kept: Vec<u64>,
    },
    /// [`Workload::on_fork`](crate::Workload::on_fork) refused.
    #[error("session {session}: its workload refuses to be forked: {reason}")]
    Refused {
        /// The session that was to be forked.
        session: SessionId,
        /// The id of the fork that was not made.
        fork: SessionId,
        /// What the workload said, with all sources.
        reason: String,
    },
    /// The code of the workload panicked: [`on_fork`](crate::Workload::on_fork), or that of its state.
    #[error("session {session}: its workload panicked while it was forked: {message}")]
    Panicked {
        /// The session that was to be forked.
        session: SessionId,
        /// The id of the fork that was not made.
        fork: SessionId,
        /// The message of the panic.
        message: String,
    },
    /// [`Workload::on_fork`](crate::Workload::on_fork) did not return in time, and was dropped; unless it blocks its thread,
    /// which nobody can take from it.
    #[error(
        "session {session}: its workload did not copy it within {limit:?}; allow more with `Fork::within`"
    )]
    TookTooLong {
        /// The session that was to be forked.
        session: SessionId,
        /// The id of the fork that was not made.
        fork: SessionId,
        /// What it was allowed.
        limit: Duration,
    },
    /// What the start of any session can meet. The session that it names is the fork.
    #[error(transparent)]
    Start(StartError),
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}

fn named(kept: &[u64]) -> String {
    match kept {
        [] => "none, none is kept".to_owned(),
        kept => kept.iter().map(u64::to_string).collect::<Vec<_>>().join(" or "),
    }
}

impl From<StartError> for ForkError {
    fn from(error: StartError) -> Self {
        match error.into_session() {
            Ok(error) => Self::Session(error),
            Err(error) => Self::Start(error),
        }
    }
}

impl From<SendError> for ForkError {
    fn from(error: SendError) -> Self {
        StartError::from(error).into()
    }
}
