//! What callers are told when a verb does not do what they asked.

use std::sync::Arc;

use crate::{
    model::{
        ids::{InputId, Kind, Name, RunId, SessionId, StartKey},
        labels::MAX_NESTING,
        record::SessionRecord,
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
    /// The session was rolled over: its successor goes on in its place. Nothing was done.
    #[error("session {session}: it was rolled over; ask session {successor}, its successor")]
    RolledOver {
        /// The session.
        session: SessionId,
        /// Its successor, which may have one of its own: see [`Session::latest`](crate::Session::latest).
        successor: SessionId,
    },
    /// A later request won over this one.
    #[error("session {session}: superseded by a later {by}")]
    Superseded {
        /// The session.
        session: SessionId,
        /// The verb that won.
        by: &'static str,
    },
    /// The run that was to be stopped is not the session's present one. Look at the present one, and stop
    /// that if it is meant. Nothing was done.
    #[error(
        "session {session}: run {run} is not its present one, {}",
        current.map_or_else(|| "it has none".to_owned(), |current| format!("that is {current}"))
    )]
    NotCurrentRun {
        /// The session.
        session: SessionId,
        /// The run that was named.
        run: RunId,
        /// The present one, if there is one.
        current: Option<RunId>,
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
    /// The session is not at rest, so it was not deleted: it is pending, active or stopping, or it is paused and holds
    /// something outside its memory. Stop it first, or delete it with [`Delete::StopFirst`](crate::Delete).
    #[error("session {session}: it is {state}, and was not deleted; stop it first")]
    NotAtRest {
        /// The session.
        session: SessionId,
        /// Its state.
        state: State,
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
    /// A move that the state of a session does not allow. One that has a successor says which.
    pub(crate) fn refused(record: &SessionRecord, why: InvalidTransition) -> Self {
        let session = record.id;
        record
            .links()
            .transitioned_to
            .map_or(Self::Refused(why), |successor| Self::RolledOver { session, successor })
    }

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
    /// The room for urgent inputs is full: wait until the session has worked some off, or raise
    /// `max_urgent_inputs`.
    #[error("session {session}: its room for urgent inputs is full ({inputs} wait)")]
    UrgentFull {
        /// The session.
        session: SessionId,
        /// How many wait.
        inputs: u64,
    },
    /// An urgent input is larger than one may be. Send it as an ordinary one, or less of it.
    #[error("session {session}: an urgent input of {bytes} bytes, {limit} are allowed")]
    UrgentTooLarge {
        /// The session.
        session: SessionId,
        /// Its size.
        bytes: u64,
        /// How large it may be.
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
    /// The session was rolled over: send to its successor, or by a handle that
    /// [follows](crate::Session::following).
    #[error(
        "session {session}: no input is accepted, it was rolled over; send to session {successor}, its successor"
    )]
    RolledOver {
        /// The session.
        session: SessionId,
        /// Its successor, which may have one of its own.
        successor: SessionId,
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
    /// The session with this id, or with this start key, was deleted. Both can be used again 24 hours later; use
    /// another key to do the same work again.
    #[error("session {session}: it was deleted, and is not started again")]
    Deleted {
        /// The session that was deleted.
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
    /// The session that was to be its parent was stopped or has ended. Start it without one, or resume the parent.
    #[error("session {parent}: it is {state}, and can have no child any more")]
    ParentEnded {
        /// The parent.
        parent: SessionId,
        /// Its state.
        state: State,
    },
    /// The run that wanted to start a child is not the current one of its session.
    #[error("session {parent}: run {run} is not its current one any more, and can start no child")]
    ParentFenced {
        /// The parent.
        parent: SessionId,
        /// The run.
        run: RunId,
    },
    /// The parent has as many children as may be alive at once. Wait for the end of one, or raise `max_children` in
    /// the policy of the parent.
    #[error(
        "session {parent}: {limit} children of it have not ended; wait for one, or raise `max_children`"
    )]
    TooManyChildren {
        /// The parent.
        parent: SessionId,
        /// What its policy allows.
        limit: u32,
    },
    /// The parent has too many generations of parents before it.
    #[error("session {parent}: it stands {limit} generations deep, and can have no child")]
    TooDeep {
        /// The parent.
        parent: SessionId,
        /// How many generations there may be: [`MAX_CHILD_DEPTH`](crate::MAX_CHILD_DEPTH).
        limit: u32,
    },
    /// The first input was not accepted.
    #[error("the first input was not accepted")]
    Input(#[from] SendError),
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl StartError {
    /// What any verb can meet, if that is all it is; itself otherwise.
    pub(crate) fn into_session(self) -> Result<SessionError, Self> {
        match self {
            Self::Session(error) | Self::Input(SendError::Session(error)) => Ok(error),
            Self::Exists { .. }
            | Self::Deleted { .. }
            | Self::KeyReused { .. }
            | Self::NameTaken { .. }
            | Self::NoWorkload { .. }
            | Self::WrongKind { .. }
            | Self::Invalid { .. }
            | Self::SnapshotTooLarge { .. }
            | Self::ParentEnded { .. }
            | Self::ParentFenced { .. }
            | Self::TooManyChildren { .. }
            | Self::TooDeep { .. }
            | Self::Input(_) => Err(self),
        }
    }
}

/// Why the end of a child cannot be waited for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// The session is not a child of the one that waits. Nobody would tell it.
    #[error("session {session}: it is no child of session {parent}")]
    NotAChild {
        /// The session that was to be waited for.
        session: SessionId,
        /// The one that waits.
        parent: SessionId,
    },
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why a session was not rolled over. Nothing was done, unless the error says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RolloverError {
    /// The session is not pending, active or paused. One that is stopped was so by a person's word, which a resume
    /// takes back; one that has ended needs no end.
    #[error(
        "session {session}: it is {state}; only a session that takes inputs can be rolled over"
    )]
    Refused {
        /// The session.
        session: SessionId,
        /// Its state.
        state: State,
    },
    /// What the start of any session can meet. The session that it names is the successor.
    #[error(transparent)]
    Start(StartError),
    /// What any verb can meet.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<StartError> for RolloverError {
    fn from(error: StartError) -> Self {
        match error.into_session() {
            Ok(error) => Self::Session(error),
            Err(error) => Self::Start(error),
        }
    }
}
