//! What passes between a run and the one who keeps its session.

use std::{
    any::Any,
    sync::{Arc, Weak},
};

use super::{error::RunError, inbox::Draft, threads::Threads};
use crate::{
    clock::Clock,
    model::{
        ids::{Kind, RunId, SessionId, StepKey},
        record::SnapshotRef,
        step::{StepProgress, Turn},
        time::WorkerTime,
    },
};

/// What a run is made of.
pub(crate) struct RunParts {
    pub(crate) session: SessionId,
    pub(crate) run: RunId,
    pub(crate) kind: Kind,
    pub(crate) clock: Clock,
    pub(crate) port: Box<dyn Port>,
    pub(crate) threads: Arc<Threads>,
    /// The worker, for those above who know what it is. It is not kept alive.
    pub(crate) worker: Weak<dyn Any + Send + Sync>,
    /// The most bytes that a state of it may have.
    pub(crate) max_snapshot_bytes: u64,
}

/// The way from a run to the one who keeps its session.
pub(crate) trait Port: Send + Sync {
    /// Passes a request on. A request that cannot be passed on is dropped with its reply.
    fn send(&self, request: Request);
}

/// What a run asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// End the turn, commit the draft if there is one, deliver the next input.
    Next(Option<Draft>),
    /// Commit a draft.
    Commit { draft: Draft, reply: tokio::sync::oneshot::Sender<Result<SnapshotRef, RunError>> },
    /// Commit how far a step came.
    Step(Box<StepChange>),
    /// Give the run this urgent input, besides what it has in hand.
    Take(u64),
    /// Notes wait to be committed.
    NotesWaiting,
    /// So many wait that they are to be committed at once.
    NotesPressing,
}

/// How far a step came, to be committed.
#[derive(Debug)]
pub(crate) struct StepChange {
    pub(crate) turn: Turn,
    pub(crate) key: StepKey,
    pub(crate) progress: StepProgress,
    pub(crate) reply: tokio::sync::oneshot::Sender<Result<(), Fenced>>,
}

/// The run can change nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fenced;

/// What the session asks of its run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To go on.
    #[default]
    GoOn,
    /// To yield by then.
    Yield(YieldRequest),
    /// To be gone: its future is dropped.
    Cancel,
}

/// Why a run is asked to yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum YieldReason {
    /// The session is being paused.
    Pause,
    /// The session is being stopped.
    Stop,
    /// The worker is shutting down.
    Shutdown,
    /// The session is being rolled over: see [`SessionHandle::rollover`](crate::SessionHandle::rollover).
    Rollover,
}

/// A request to yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct YieldRequest {
    /// Why.
    pub reason: YieldReason,
    /// When the run is cancelled if it has not returned; see [`Run::now`](super::Run::now).
    pub deadline: WorkerTime,
}

impl YieldRequest {
    pub(crate) const fn new(reason: YieldReason, deadline: WorkerTime) -> Self {
        Self { reason, deadline }
    }
}
