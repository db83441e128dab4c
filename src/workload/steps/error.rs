//! What can become of a step.

use std::fmt;

use crate::{
    model::ids::{InvalidName, RunId, SessionId, StepKey},
    policy::restart::Retry,
    store::BoxError,
    workload::WorkloadError,
};

/// Why a step gives no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// It was begun, and nobody knows whether it happened: the workload decides.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// Its call gave an error. That is recorded: the step may be called again.
    #[error(transparent)]
    Failed(FailedStep),
    /// It is being called already. Nothing was done.
    #[error("session {session}: step {key:?} is being called already; give each its own key")]
    InHand {
        /// The session.
        session: SessionId,
        /// The step.
        key: StepKey,
    },
    /// Its key cannot serve as one. Nothing was done.
    #[error("session {session}: a step with a key that cannot serve")]
    InvalidKey {
        /// The session.
        session: SessionId,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// The steps of the turn are larger than the policy allows for a state. Where this comes
    /// before the call, nothing was done; where the result is too large, the step counts as
    /// interrupted.
    #[error(
        "session {session}: with step {key:?} the steps of this turn have {bytes} bytes, {limit} \
         are allowed; return less, end the turn with `checkpoint`, or raise `max_snapshot_bytes`"
    )]
    TooLarge {
        /// The session.
        session: SessionId,
        /// The step.
        key: StepKey,
        /// What all steps of the turn would have.
        bytes: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// Its result cannot be encoded. It counts as interrupted.
    #[error("session {session}: the result of step {key:?} cannot be encoded")]
    Encode {
        /// The session.
        session: SessionId,
        /// The step.
        key: StepKey,
        /// What the encoder said.
        #[source]
        source: BoxError,
    },
    /// Its recorded result is not of this type. It stays recorded.
    #[error(
        "session {session}: the recorded result of step {key:?} cannot be decoded; \
         read it as the type that it was recorded as, or as JSON"
    )]
    Undecodable {
        /// The session.
        session: SessionId,
        /// The step.
        key: StepKey,
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
    /// The run is not its session's current one any more. Nothing more is recorded.
    #[error("session {session}: run {run} has been fenced off and can change nothing any more")]
    Fenced {
        /// The session.
        session: SessionId,
        /// The run.
        run: RunId,
    },
}

impl StepError {
    /// What the error says about trying again.
    pub(in crate::workload) const fn retry(&self) -> Retry {
        match self {
            Self::Failed(failed) => failed.retry,
            Self::Interrupted(_)
            | Self::InHand { .. }
            | Self::InvalidKey { .. }
            | Self::TooLarge { .. }
            | Self::Encode { .. }
            | Self::Undecodable { .. }
            | Self::Fenced { .. } => Retry::ByPolicy,
        }
    }
}

/// A step that was begun and never finished: its run was lost, cancelled or panicked meanwhile, or
/// its future was dropped. What it does outside may have happened or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "session {session}: step {key:?} was begun and never finished, so it may have happened \
     (as {idempotency_key:?} outside); call `retry_step` or `skip_step`"
)]
#[non_exhaustive]
pub struct Interrupted {
    /// The session.
    pub session: SessionId,
    /// The step.
    pub key: StepKey,
    /// What it was known by outside.
    pub idempotency_key: IdempotencyKey,
}

impl Interrupted {
    pub(super) const fn new(
        session: SessionId,
        key: StepKey,
        idempotency_key: IdempotencyKey,
    ) -> Self {
        Self { session, key, idempotency_key }
    }
}

/// A step whose call gave an error. The error is its source.
#[derive(Debug, thiserror::Error)]
#[error("session {session}: step {key:?} failed")]
pub struct FailedStep {
    session: SessionId,
    key: StepKey,
    retry: Retry,
    source: BoxError,
}

impl FailedStep {
    pub(super) fn new(session: SessionId, key: StepKey, error: WorkloadError) -> Self {
        let (source, retry) = error.into_parts();
        Self { session, key, retry, source }
    }

    /// The session.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The step.
    pub const fn key(&self) -> &StepKey {
        &self.key
    }

    /// What the call gave.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.source
    }

    /// What the call gave, to keep.
    pub fn into_error(self) -> BoxError {
        self.source
    }
}

/// What makes a step known outside: the same for each attempt at it, and no other step has it.
///
/// Hand it to whatever can tell a repeated request by it. Its text is
/// `session/turn/step`, such as `01890a5d-ac96-774b-bcce-b302099a8057/7/charge`; it stays the same
/// across versions of this library. Where a turn was begun in a session that was rolled over, that is the one in the key: it is the same
/// in each successor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for IdempotencyKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
