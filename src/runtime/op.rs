//! What is asked of a session, by callers and by those who look after it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::{SendError, SessionError, StartError};
use crate::{
    faults::{self, Bug},
    model::{
        ids::{ExternalId, InputId, RunId, SessionId},
        labels::{Labels, Metadata},
        lineage::Forked,
        record::{SessionRecord, SnapshotRef, StoredInput},
    },
    store::StoreError,
    telemetry::Stamp,
};

/// A place under `max_active`.
pub(crate) type Place = OwnedSemaphorePermit;

/// One request to one session.
#[derive(Debug)]
pub(crate) enum Op {
    /// Make the session.
    Start(Box<NewSession>),
    /// Take an input.
    Send { input: NewInput, reply: Reply<Accepted, SendError> },
    /// Come to rest.
    Pause { reply: Reply<Rested, SessionError> },
    /// Go on.
    Resume { place: Option<Place>, reply: Reply<(), SessionError> },
    /// Stop; the grace is the policy's unless it is given.
    Stop { grace: Option<Duration>, reply: Reply<StopAccepted, SessionError>, asked: Stamp },
    /// End well, by a caller's word.
    Complete { reason: Option<String>, reply: Reply<(), SessionError> },
    /// End badly, by a caller's word.
    Fail { reason: String, reply: Reply<(), SessionError> },
    /// Change what callers write on it.
    Annotate { change: Annotation, reply: Reply<(), SessionError> },
    /// Come to rest, the worker shuts down.
    Shutdown,
    /// The budget of the shutdown runs out: be cancelled.
    Cancel,
    /// The budget of the shutdown is over: be abandoned.
    Abandon,
    /// A place became free, an input came, or an alarm rang: begin to run if there is reason to.
    Wake { place: Option<Place>, done: oneshot::Sender<Woken> },
    /// The backoff is over.
    Restart,
    /// Its waiting may have reached its limit.
    TimeOut { done: oneshot::Sender<()> },
    /// Another worker left it like this.
    Recover { place: Option<Place>, done: oneshot::Sender<Recovered> },
    /// Its actor ended without saying what became of the run.
    Lost { run: RunId },
    /// An abandoned run came back.
    Returned { run: RunId, done: oneshot::Sender<()> },
}

/// What came of a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// It runs, or has no reason to any more.
    Done,
    /// It cannot be run now, and perhaps later.
    NotNow,
    /// It cannot be run by this worker.
    NotHere,
}

/// What came of a recovery.
#[derive(Debug, Clone)]
pub(crate) enum Recovered {
    /// It runs again, or waits out its backoff.
    Resumed,
    /// Its stop is finished.
    Stopped,
    /// It is paused as interrupted.
    Interrupted,
    /// It is quarantined.
    Quarantined,
    /// It had changed meanwhile, and is left.
    Left,
    /// It could not be resumed, and is as it was.
    Failed(SessionError),
}

/// A session to be made.
#[derive(Debug)]
pub(crate) struct NewSession {
    /// The record, with what the caller chose; the rest is filled in.
    pub(crate) record: SessionRecord,
    /// The encoded first state, in its envelope.
    pub(crate) snapshot: Arc<[u8]>,
    /// What it is made from, where it is a fork.
    pub(crate) fork: Option<Box<NewFork>>,
    /// The first input of its own.
    pub(crate) input: Option<NewInput>,
    /// A place that was waited for.
    pub(crate) place: Option<Place>,
    /// Whether its id was made for it, so that no other request can have used it.
    pub(crate) has_new_id: bool,
    pub(crate) reply: Reply<Started, StartError>,
}

/// What a fork is made from.
#[derive(Debug, Clone)]
pub(crate) struct NewFork {
    pub(crate) forked: Forked,
    /// The inputs of the other session that are copied, as they are stored there.
    pub(crate) inputs: Vec<StoredInput>,
}

impl NewSession {
    /// A session with this id exists: this is the same start again, or a mistake.
    pub(crate) fn already(self, existing: &SessionRecord) {
        let mine = self.record.start_key.as_ref().map(|mine| &mine.key);
        match &existing.start_key {
            Some(known) if Some(&known.key) == mine => self.repeats(existing.id, known.digest),
            Some(_) | None => {
                let session = existing.id;
                self.reply.send(Err(StartError::Exists { session }));
            }
        }
    }

    /// The start key is known: this is the same request again, or another one.
    pub(crate) fn repeats(self, holder: SessionId, digest: u64) {
        let answer = match self.record.start_key {
            Some(mine) if mine.digest != digest && !faults::planted(Bug::IgnoreStartDigest) => {
                Err(StartError::KeyReused { session: holder, key: mine.key })
            }
            Some(_) | None => Ok(Started::Repeated(holder)),
        };
        self.reply.send(answer);
    }
}

/// What came of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// The session was made.
    New,
    /// The key had been used for the same request: that session.
    Repeated(SessionId),
}

/// An input to be accepted.
#[derive(Debug, Clone)]
pub(crate) struct NewInput {
    pub(crate) id: Option<InputId>,
    pub(crate) payload: Arc<[u8]>,
    pub(crate) state_version: u32,
}

/// An input that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) sequence: u64,
    pub(crate) repeated: bool,
}

/// A session that is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rested {
    pub(crate) snapshot: Option<SnapshotRef>,
}

/// A stop that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopAccepted {
    /// The run that is being stopped, if one is alive.
    pub(crate) run: Option<RunId>,
}

/// A change of what callers write on a session.
#[derive(Debug, Clone)]
pub(crate) enum Annotation {
    Labels(Labels),
    Metadata(Metadata),
    ExternalId(ExternalId),
}

/// Where the answer to a request goes.
///
/// A request that was never looked at drops its reply silently, and the caller asks again. Once
/// it is under way, a reply that is dropped says that the outcome is unknown.
pub(crate) struct Reply<T, E: From<SessionError>> {
    to: Option<oneshot::Sender<Result<T, E>>>,
    session: SessionId,
    under_way: bool,
}

impl<T, E: From<SessionError>> Reply<T, E> {
    pub(crate) fn new(session: SessionId) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (to, from) = oneshot::channel();
        (Self { to: Some(to), session, under_way: false }, from)
    }

    pub(crate) fn send(mut self, answer: Result<T, E>) {
        if let Some(to) = self.to.take() {
            // A caller that went away withdraws nothing.
            let _ = to.send(answer);
        }
    }

    /// From now on a drop says that the outcome is unknown.
    pub(crate) fn begin(mut self) -> Self {
        self.under_way = true;
        self
    }

    /// Tells the caller that the store failed.
    pub(crate) fn store_failed(mut self, error: &Arc<StoreError>) {
        self.tell_store_failed(error);
    }

    /// Tells the caller that the store failed, though the request stays under way.
    pub(crate) fn tell_store_failed(&mut self, error: &Arc<StoreError>) {
        if let Some(to) = self.to.take() {
            let error = SessionError::Store {
                session: self.session,
                under_way: self.under_way,
                source: Arc::clone(error),
            };
            let _ = to.send(Err(error.into()));
        }
    }
}

impl<T, E: From<SessionError>> Drop for Reply<T, E> {
    fn drop(&mut self) {
        if self.under_way
            && let Some(to) = self.to.take()
        {
            let _ = to.send(Err(SessionError::OutcomeUnknown { session: self.session }.into()));
        }
    }
}

impl<T, E: From<SessionError>> std::fmt::Debug for Reply<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Input ids that are known to be taken, so that a refused commit can be decided again.
pub(crate) type TakenIds = BTreeMap<InputId, (u64, u32)>;
