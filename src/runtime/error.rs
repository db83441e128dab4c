//! What callers are told when a verb does not do what they asked.

use std::sync::Arc;

use crate::{
    model::{
        ids::{InputId, Kind, Name, RunId, SessionId, StartKey},
        labels::MAX_NESTING,
        state::{InvalidTransition, State},
    },
    store::{BoxError, StoreError},
};

/// What any verb on a session can meet.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// There is no such session. Nothing was done.
    #[error("session {session}: not found")]
    NotFound {
        /// The id that was asked for.
        session: SessionId,
    },
    /// The session is in a state that does not allow it. Nothing was done.
    #[error(transparent)]
    Refused(#[from] InvalidTransition),
    /// A later request won over this one.
    #[error("session {session}: superseded by a later {by}")]
    Superseded {
        /// The session.
        session: SessionId,
        /// The verb that won.
        by: &'static str,
    },
    /// An abandoned run of the session is still alive. Wait until it returns, or let the policy
    /// allow it (`while_abandoned`). Nothing was done.
    #[error("session {session}: run {run} was abandoned and is still alive")]
    RunStillAlive {
        /// The session.
        session: SessionId,
        /// The run.
        run: RunId,
    },
    /// No workload is registered for the kind of the session. Nothing was done.
    #[error(
        "session {session}: no workload is registered for kind {kind:?}; register it and start the supervisor again"
    )]
    NoWorkload {
        /// The session.
        session: SessionId,
        /// Its kind.
        kind: Kind,
    },
    /// The session is of another kind than the handle. Nothing was done.
    #[error("session {session}: its kind is {found:?}, not one of this handle's type")]
    WrongKind {
        /// The session.
        session: SessionId,
        /// Its kind.
        found: Kind,
    },
    /// The state of the session was written by a newer version of its workload. Run that version.
    /// Nothing was changed.
    #[error(
        "session {session}: its state has version {found}, the registered workload knows up to {supported}"
    )]
    NewerState {
        /// The session.
        session: SessionId,
        /// The stored version.
        found: u32,
        /// The newest that the workload knows.
        supported: u32,
    },
    /// None of the kept snapshots of the session can be read. Its bytes are kept.
    #[error("session {session}: its snapshot cannot be read: {reason}")]
    Unreadable {
        /// The session.
        session: SessionId,
        /// What is wrong with it.
        reason: String,
    },
    /// The stored state does not decode as the type that was asked for.
    #[error("session {session}: its state does not decode")]
    Undecodable {
        /// The session.
        session: SessionId,
        /// What the decoder said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The metadata is nested deeper than [`MAX_NESTING`]. Nothing was done.
    #[error("session {session}: metadata that is nested more than {MAX_NESTING} deep")]
    MetadataTooDeep {
        /// The session.
        session: SessionId,
    },
    /// The worker is shutting down and takes nothing new. Nothing was done.
    #[error("session {session}: the worker is shutting down")]
    ShuttingDown {
        /// The session.
        session: SessionId,
    },
    /// The worker ended, or lost its store to another one, while the request was under way. It
    /// may or may not have taken effect; the next worker on the store knows.
    #[error(
        "session {session}: the worker ended while the request was under way; its outcome is unknown"
    )]
    OutcomeUnknown {
        /// The session.
        session: SessionId,
    },
    /// The store failed. A request that had not reached it was not done; one that had
    /// (`outcome unknown`) takes effect when the store heals.
    #[error("session {session}: the store failed{}", if *.under_way { "; the request may take effect when it heals" } else { "; nothing was done" })]
    Store {
        /// The session.
        session: SessionId,
        /// Whether the request may take effect later.
        under_way: bool,
        /// What the store said.
        #[source]
        source: Arc<StoreError>,
    },
}

impl SessionError {
    pub(crate) fn undecodable(session: SessionId, error: impl Into<BoxError>) -> Self {
        Self::Undecodable { session, source: Arc::from(error.into()) }
    }

    /// A read that failed.
    pub(crate) fn read(session: SessionId, error: StoreError) -> Self {
        Self::Store { session, under_way: false, source: Arc::new(error) }
    }
}

/// Why an input was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The inbox is full: wait until the session has worked some inputs off.
    #[error("session {session}: its inbox is full ({inputs} inputs, {bytes} bytes wait)")]
    Full {
        /// The session.
        session: SessionId,
        /// How many inputs wait.
        inputs: u64,
        /// How many bytes they have.
        bytes: u64,
    },
    /// One input is larger than the whole inbox may be.
    #[error(
        "session {session}: an input of {bytes} bytes, the inbox holds {limit}; raise `max_input_bytes`"
    )]
    TooLarge {
        /// The session.
        session: SessionId,
        /// Its size.
        bytes: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// The session does not accept inputs in its state.
    #[error("session {session}: no input is accepted, it is {state}")]
    NotAccepting {
        /// The session.
        session: SessionId,
        /// Its state.
        state: State,
    },
    /// The id was used for another input of the session, with another content.
    #[error("session {session}: input id {id:?} was used for another input (number {sequence})")]
    InputIdReused {
        /// The session.
        session: SessionId,
        /// The id.
        id: InputId,
        /// The number of the input that has it.
        sequence: u64,
    },
    /// The input cannot be encoded, or is not one of the session's kind.
    #[error("session {session}: not an input of its kind")]
    Invalid {
        /// The session.
        session: SessionId,
        /// What is wrong with it.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl SendError {
    pub(crate) fn invalid(session: SessionId, error: impl Into<BoxError>) -> Self {
        Self::Invalid { session, source: Arc::from(error.into()) }
    }
}

/// Why a session was not started. Nothing was stored, unless the error says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A session with this id exists.
    #[error("session {session}: a session with this id exists already")]
    Exists {
        /// The id.
        session: SessionId,
    },
    /// The start key came with another request before.
    #[error(
        "session {session}: start key {key:?} belongs to it, and it was started with another request"
    )]
    KeyReused {
        /// The session that has the key.
        session: SessionId,
        /// The key.
        key: StartKey,
    },
    /// The unique name is taken.
    #[error(
        "session {session}: the name {name:?} is held by session {holder}, which has not ended"
    )]
    NameTaken {
        /// The session that was to be started.
        session: SessionId,
        /// The name.
        name: Name,
        /// Whose it is.
        holder: SessionId,
    },
    /// No workload is registered for the kind.
    #[error("no workload is registered for kind {kind:?}; register it with `Builder::workload`")]
    NoWorkload {
        /// The kind.
        kind: Kind,
    },
    /// The kind is registered with another type.
    #[error("kind {kind:?} is registered with another workload type")]
    WrongKind {
        /// The kind.
        kind: Kind,
    },
    /// The state cannot be encoded, or is not one of the kind.
    #[error("session {session}: not a state of kind {kind:?}")]
    Invalid {
        /// The session that was to be started.
        session: SessionId,
        /// The kind.
        kind: Kind,
        /// What is wrong with it.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The state is larger than the policy allows.
    #[error(
        "session {session}: the state has {bytes} bytes, {limit} are allowed; raise `max_snapshot_bytes`"
    )]
    SnapshotTooLarge {
        /// The session that was to be started.
        session: SessionId,
        /// The size of the encoded state.
        bytes: u64,
        /// What the policy allows.
        limit: u64,
    },
    /// The first input was not accepted.
    #[error("the first input was not accepted")]
    Input(#[from] SendError),
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}
