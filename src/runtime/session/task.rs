//! What a flight carries.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    model::{event::Cause, ids::RunId, record::SnapshotRef},
    runtime::{
        error::{SendError, SessionError},
        op::{Accepted, Annotation, NewInput, Op, Reply, Rested, StopAccepted},
    },
    telemetry::Stamp,
    workload::{self, Fenced, RunError, StepChange, erased::Driven},
};

/// What a flight can carry.
#[derive(Debug)]
pub(super) enum Task {
    Send {
        input: NewInput,
        reply: Reply<Accepted, SendError>,
    },
    Stop {
        grace: Option<Duration>,
        reply: Reply<StopAccepted, SessionError>,
        asked: Stamp,
    },
    Complete {
        reason: Option<String>,
        reply: Reply<(), SessionError>,
    },
    Fail {
        reason: String,
        reply: Reply<(), SessionError>,
    },
    Annotate {
        change: Annotation,
        reply: Reply<(), SessionError>,
    },
    Returned {
        run: RunId,
        done: oneshot::Sender<()>,
    },
    /// A pause that came when the run had ended already: the session's next keeper serves it.
    LatePause {
        reply: Reply<Rested, SessionError>,
    },
    /// The same of a resume.
    LateResume {
        reply: Reply<(), SessionError>,
    },
    Next {
        draft: Option<workload::Draft>,
    },
    Commit {
        draft: workload::Draft,
        reply: oneshot::Sender<Result<SnapshotRef, RunError>>,
    },
    Step(Box<StepChange>),
    Expire {
        cause: Cause,
        reason: String,
    },
    /// Only to commit the notes that wait.
    Notes,
    /// The session has lived long enough not to be suspected.
    Prove,
    Over(Driven),
}

impl Task {
    /// What remains of it when its actor ends: a request that somebody else can serve.
    pub(super) fn into_op(self) -> Option<Op> {
        match self {
            Self::Send { input, reply } => Some(Op::Send { input, reply }),
            Self::Stop { grace, reply, asked } => Some(Op::Stop { grace, reply, asked }),
            Self::Complete { reason, reply } => Some(Op::Complete { reason, reply }),
            Self::Fail { reason, reply } => Some(Op::Fail { reason, reply }),
            Self::Annotate { change, reply } => Some(Op::Annotate { change, reply }),
            Self::Returned { run, done } => Some(Op::Returned { run, done }),
            Self::LatePause { reply } => Some(Op::Pause { reply }),
            Self::LateResume { reply } => Some(Op::Resume { place: None, reply }),
            Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Expire { .. }
            | Self::Notes
            | Self::Prove
            | Self::Over(_) => None,
        }
    }

    /// Whether a caller waits who should rather hear of a failing store at once.
    pub(super) fn is_of_a_caller(&self) -> bool {
        match self {
            Self::Send { .. }
            | Self::Stop { .. }
            | Self::Complete { .. }
            | Self::Fail { .. }
            | Self::Annotate { .. }
            | Self::LatePause { .. }
            | Self::LateResume { .. } => true,
            Self::Returned { .. }
            | Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Expire { .. }
            | Self::Notes
            | Self::Prove
            | Self::Over(_) => false,
        }
    }

    pub(super) fn store_failed(self, error: &Arc<crate::store::StoreError>) {
        match self {
            Self::Send { reply, .. } => reply.store_failed(error),
            Self::Stop { reply, .. } => reply.store_failed(error),
            Self::Complete { reply, .. }
            | Self::Fail { reply, .. }
            | Self::Annotate { reply, .. }
            | Self::LateResume { reply } => reply.store_failed(error),
            Self::LatePause { reply } => reply.store_failed(error),
            Self::Returned { .. }
            | Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Expire { .. }
            | Self::Notes
            | Self::Prove
            | Self::Over(_) => {}
        }
    }
}

/// What was decided about a task; it is carried out when the commit is durable.
pub(super) enum Decided {
    Send {
        input: NewInput,
        reply: Reply<Accepted, SendError>,
        answer: Result<Accepted, SendError>,
    },
    Stop {
        grace: Option<Duration>,
        reply: Reply<StopAccepted, SessionError>,
        answer: Result<StopAccepted, SessionError>,
        asked: Stamp,
    },
    Unit {
        task: UnitTask,
        answer: Result<(), SessionError>,
    },
    Next {
        draft: Option<workload::Draft>,
        answer: Result<(), RunError>,
    },
    Commit {
        draft: workload::Draft,
        reply: oneshot::Sender<Result<SnapshotRef, RunError>>,
        answer: Result<SnapshotRef, RunError>,
    },
    Step {
        change: Box<StepChange>,
        answer: Result<(), Fenced>,
    },
    Returned {
        run: RunId,
        done: oneshot::Sender<()>,
    },
    Quiet(Task),
    Over(Driven),
}

pub(super) enum UnitTask {
    Complete { reason: Option<String>, reply: Reply<(), SessionError> },
    Fail { reason: String, reply: Reply<(), SessionError> },
    Annotate { change: Annotation, reply: Reply<(), SessionError> },
}

impl Decided {
    /// The task again, to be decided anew.
    pub(super) fn undo(self) -> Task {
        match self {
            Self::Send { input, reply, .. } => Task::Send { input, reply },
            Self::Stop { grace, reply, asked, .. } => Task::Stop { grace, reply, asked },
            Self::Unit { task: UnitTask::Complete { reason, reply }, .. } => {
                Task::Complete { reason, reply }
            }
            Self::Unit { task: UnitTask::Fail { reason, reply }, .. } => {
                Task::Fail { reason, reply }
            }
            Self::Unit { task: UnitTask::Annotate { change, reply }, .. } => {
                Task::Annotate { change, reply }
            }
            Self::Next { draft, .. } => Task::Next { draft },
            Self::Commit { draft, reply, .. } => Task::Commit { draft, reply },
            Self::Step { change, .. } => Task::Step(change),
            Self::Returned { run, done } => Task::Returned { run, done },
            Self::Quiet(task) => task,
            Self::Over(driven) => Task::Over(driven),
        }
    }

    /// Tells a caller that the store failed. What was decided stays under way.
    pub(super) fn store_failed(&mut self, error: &Arc<crate::store::StoreError>) {
        match self {
            Self::Send { reply, .. } => reply.tell_store_failed(error),
            Self::Stop { reply, .. } => reply.tell_store_failed(error),
            Self::Unit {
                task:
                    UnitTask::Complete { reply, .. }
                    | UnitTask::Fail { reply, .. }
                    | UnitTask::Annotate { reply, .. },
                ..
            } => reply.tell_store_failed(error),
            Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step { .. }
            | Self::Returned { .. }
            | Self::Quiet(_)
            | Self::Over(_) => {}
        }
    }
}
