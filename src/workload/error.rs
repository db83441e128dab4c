//! What can go wrong inside a run.

use std::{fmt, time::Duration};

use super::steps::StepError;
use crate::{
    model::{
        ids::{RunId, SessionId},
        labels::MAX_NESTING,
    },
    policy::restart::Retry,
    store::BoxError,
};

/// The error of a workload: anything that `?` can take, with a word on trying again.
///
/// Like `anyhow::Error` it does not implement `Error` itself, so that it can be made from every
/// error.
///
/// ```
/// use sessionkeeper::WorkloadError;
/// use std::time::Duration;
///
/// let by_policy: WorkloadError = "no answer".into();
/// let wait = WorkloadError::retry_after(Duration::from_secs(3600), "usage limit reached");
/// let never = WorkloadError::permanent("the repository is gone");
/// ```
pub struct WorkloadError {
    source: BoxError,
    retry: Retry,
}

impl WorkloadError {
    /// An error that would come again: the session fails at once.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self { source: error.into(), retry: Retry::Never }
    }

    /// An error that names its own wait before the next run, instead of the backoff. It still
    /// counts as a failure.
    pub fn retry_after(wait: Duration, error: impl Into<BoxError>) -> Self {
        Self { source: error.into(), retry: Retry::After(wait) }
    }

    /// The error inside.
    pub fn source(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.source
    }

    /// What it says about trying again, or the step that failed says in it.
    pub(crate) fn retry(&self) -> Retry {
        match self.retry {
            Retry::ByPolicy => {
                let mut steps = self.chain().filter_map(|error| error.downcast_ref::<StepError>());
                steps.next().map_or(Retry::ByPolicy, StepError::retry)
            }
            named @ (Retry::Never | Retry::After(_)) => named,
        }
    }

    /// The error inside, and what it says about trying again.
    pub(super) fn into_parts(self) -> (BoxError, Retry) {
        let retry = self.retry();
        (self.source, retry)
    }

    /// Whether the error only says that the run was fenced: then it is not the workload's.
    pub(crate) fn is_fenced(&self) -> bool {
        self.chain().any(|error| {
            matches!(error.downcast_ref(), Some(RunError::Fenced { .. }))
                || matches!(error.downcast_ref(), Some(StepError::Fenced { .. }))
        })
    }

    /// Whether the error only says that the turn was interrupted.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.chain().any(|error| matches!(error.downcast_ref(), Some(BusyError::Interrupted)))
    }

    /// The error with its sources.
    fn chain(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let first: &(dyn std::error::Error + 'static) = &*self.source;
        std::iter::successors(Some(first), |error| error.source())
    }
}

impl<E: Into<BoxError>> From<E> for WorkloadError {
    fn from(error: E) -> Self {
        Self { source: error.into(), retry: Retry::ByPolicy }
    }
}

impl fmt::Display for WorkloadError {
    /// The error with its sources, as it is recorded in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut next = self.source.source();
        while let Some(source) = next {
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

impl fmt::Debug for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadError")
            .field("source", &self.source)
            .field("retry", &self.retry)
            .finish()
    }
}

/// What a run is told when it asks for something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The run is not its session's current one any more. It can change nothing; return.
    #[error("session {session}: run {run} has been fenced off and can change nothing any more")]
    Fenced {
        /// The session.
        session: SessionId,
        /// The run.
        run: RunId,
    },
    /// The state is larger than the policy allows. Nothing was committed.
    #[error(
        "session {session}: the state has {bytes} bytes, {limit} are allowed; \
         keep less in it or raise `max_snapshot_bytes`"
    )]
    SnapshotTooLarge {
        /// The session.
        session: SessionId,
        /// The size of the encoded state.
        bytes: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// The state cannot be encoded. Nothing was committed.
    #[error("session {session}: the state cannot be encoded")]
    Encode {
        /// The session.
        session: SessionId,
        /// What the encoder said.
        #[source]
        source: BoxError,
    },
    /// The next input cannot be decoded. It is in hand, see `Context::next_input`.
    #[error("session {session}: input {input} cannot be decoded")]
    UndecodableInput {
        /// The session.
        session: SessionId,
        /// The number of the input.
        input: u64,
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
}

/// A declared silent operation was cancelled. The session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusyError {
    /// It outlasted its limit.
    #[error("the operation took longer than {} and was cancelled", humantime::format_duration(*.limit))]
    Lapsed {
        /// The limit.
        limit: Duration,
    },
    /// The turn was interrupted, see [`Run::interrupted`](super::Run::interrupted). End it, best by asking
    /// for the next input.
    #[error("the turn was interrupted, and the operation cancelled")]
    Interrupted,
}

/// An event that was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The buffer of the run is full; `emit` would wait.
    #[error("session {session}: the event buffer of the run is full")]
    Full {
        /// The session.
        session: SessionId,
    },
    /// One event is larger than it may be (256 KiB).
    #[error("session {session}: an event of {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// The session.
        session: SessionId,
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The free JSON in the event is nested deeper than [`MAX_NESTING`].
    #[error("session {session}: an event with data nested more than {MAX_NESTING} deep")]
    TooDeep {
        /// The session.
        session: SessionId,
    },
    /// The run is not its session's current one any more.
    #[error("session {session}: run {run} has been fenced off and can change nothing any more")]
    Fenced {
        /// The session.
        session: SessionId,
        /// The run.
        run: RunId,
    },
}

/// A stored version that the workload does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored version {found} is not supported, the workload is at version {supported}")]
pub struct UnsupportedVersion {
    /// The version that was found.
    pub found: u32,
    /// The version that the workload writes.
    pub supported: u32,
}
