//! What is asked of a session, by callers and by those who look after it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::error::{RolloverError, SendError, SessionError, StartError};
use crate::{
    faults::{self, Bug},
    model::{
        deletion::Removal,
        event::Cause,
        family::Owed,
        ids::{ExternalId, InputId, RunId, SessionId},
        inbox::OnInterrupt,
        labels::{Labels, Metadata},
        lineage::Forked,
        record::{SessionRecord, SnapshotRef, StartRequest, StoredInput},
        sleep::Sleep,
        state::PauseCause,
    },
    policy::Policy,
    store::{Refusal, StoreError},
    telemetry::Stamp,
    workload::rollover::Next,
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
    Pause { by: Asker, reply: Reply<Rested, SessionError> },
    /// Go on.
    Resume { by: Asker, place: Option<Place>, reply: Reply<(), SessionError> },
    /// Stop, or stop only this run; the grace is the policy's unless it is given.
    Stop {
        by: Asker,
        grace: Option<Duration>,
        only: Option<RunId>,
        reply: Reply<StopAccepted, SessionError>,
        asked: Stamp,
    },
    /// End the present turn, not the run.
    Interrupt { then: OnInterrupt, reply: Reply<Interruption, SessionError> },
    /// End well, by a caller's word.
    Complete { reason: Option<String>, reply: Reply<(), SessionError> },
    /// End, and begin a successor.
    Rollover(Box<NewRollover>),
    /// End badly, by a caller's word.
    Fail { reason: String, reply: Reply<(), SessionError> },
    /// Change what callers write on it.
    Annotate { change: Annotation, reply: Reply<(), SessionError> },
    /// Be gone, if at rest.
    Delete { by: Removal, reply: Reply<(), SessionError> },
    /// Remove what is left of it, since it was deleted.
    Purge { done: oneshot::Sender<()> },
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
    /// A child of it is to be started; by its run, where one is named.
    Bear { run: Option<RunId>, reply: Reply<(), StartError> },
    /// What it owed to its children or its parent is done.
    Discharge { owed: Owed, done: oneshot::Sender<()> },
    /// Its events up to this one are removed.
    Trimmed { to: u64, done: oneshot::Sender<()> },
    /// Its actor ended without saying what became of the run.
    Lost { run: RunId },
    /// An abandoned run came back.
    Returned { run: RunId, done: oneshot::Sender<()> },
}

/// Whose word a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A caller's.
    Caller,
    /// The supervisor's, since the parent of the session moved.
    Parent,
}

impl Asker {
    pub(crate) const fn cause(self) -> Cause {
        match self {
            Self::Caller => Cause::Asked,
            Self::Parent => Cause::Parent,
        }
    }

    pub(crate) const fn pause_cause(self) -> PauseCause {
        match self {
            Self::Caller => PauseCause::Asked,
            Self::Parent => PauseCause::Parent,
        }
    }
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
    /// The numbers of those that are urgent.
    pub(crate) urgent: Vec<u64>,
    /// How the other session sleeps, if the fork is to do so too.
    pub(crate) sleep: Option<Sleep>,
}

/// A successor to be made.
#[derive(Debug, Clone)]
pub(crate) struct NewSuccessor {
    pub(crate) id: SessionId,
    pub(crate) start_key: Option<StartRequest>,
    pub(crate) next: Arc<Next>,
}

/// A session to be rolled over.
#[derive(Debug)]
pub(crate) struct NewRollover {
    pub(crate) successor: NewSuccessor,
    /// What a turn that is under way may take; else the policy says so.
    pub(crate) grace: Option<Duration>,
    pub(crate) reply: Reply<SessionId, RolloverError>,
}

impl NewSuccessor {
    /// Whether it is larger than it may be, where the session before it has this policy.
    pub(crate) fn check(&self, policy: &Policy) -> Result<(), StartError> {
        let (session, policy) = (self.id, self.next.policy(policy));
        let (bytes, limit) = (self.next.state.len() as u64, policy.max_snapshot_bytes());
        if bytes > limit {
            return Err(StartError::SnapshotTooLarge { session, bytes, limit });
        }
        let bytes = self.next.input.as_ref().map_or(0, |input| input.len() as u64);
        let limit = policy.max_input_bytes();
        if bytes > limit {
            return Err(SendError::TooLarge { session, bytes, limit }.into());
        }
        Ok(())
    }
}

impl NewRollover {
    /// The store refused the successor.
    pub(crate) fn refuse(self, why: Refusal) {
        let NewSuccessor { id: session, start_key, next } = self.successor;
        let error = match (why, start_key, &next.name) {
            (Refusal::StartKeyTaken { holder, digest }, Some(mine), _) => {
                if mine.digest == digest {
                    return self.reply.send(Ok(holder));
                }
                StartError::KeyReused { session: holder, key: mine.key }
            }
            (Refusal::NameTaken { holder }, _, Some(name)) => {
                StartError::NameTaken { session, name: name.clone(), holder }
            }
            _ => StartError::Exists { session },
        };
        self.reply.send(Err(error.into()));
    }
}

impl NewSession {
    /// A session with this id exists: this is the same start again, or a mistake.
    pub(crate) fn already(self, existing: &SessionRecord) {
        if existing.is_deleted() {
            return self.deleted(existing.id);
        }
        let mine = self.record.start_key.as_ref().map(|mine| &mine.key);
        match &existing.start_key {
            Some(known) if Some(&known.key) == mine => self.repeats(existing.id, known.digest),
            Some(_) | None => {
                let session = existing.id;
                self.reply.send(Err(StartError::Exists { session }));
            }
        }
    }

    /// The session was deleted: it is not started again.
    pub(crate) fn deleted(self, session: SessionId) {
        self.reply.send(Err(StartError::Deleted { session }));
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
    pub(crate) urgent: bool,
}

/// An input that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) sequence: u64,
    pub(crate) repeated: bool,
}

/// What an interrupt has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// A turn was interrupted. How it ends is up to its workload.
    Turn {
        /// The run whose turn it is.
        run: RunId,
        /// The number of its input.
        input: u64,
        /// What becomes of the input: what an earlier interrupt of this turn dropped stays dropped.
        then: OnInterrupt,
    },
    /// There was nothing to interrupt: no run, or none with an input in hand. Nothing was done.
    Nothing,
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
