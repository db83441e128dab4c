//! What a flight carries.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    model::{
        event::Cause,
        family::Owed,
        ids::RunId,
        inbox::{InHand, OnInterrupt},
        record::SnapshotRef,
    },
    runtime::{
        error::{SendError, SessionError, StartError},
        op::{
            Accepted, Annotation, Asker, Interruption, NewInput, Op, Reply, Rested, StopAccepted,
        },
    },
    telemetry::Stamp,
    workload::{self, Covers, Fenced, Marked, RunError, StepChange, erased::Driven},
};

/// What a flight can carry.
#[derive(Debug)]
pub(super) enum Task {
    Send {
        input: NewInput,
        reply: Reply<Accepted, SendError>,
    },
    Stop {
        by: Asker,
        grace: Option<Duration>,
        only: Option<RunId>,
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
    Bear {
        run: Option<RunId>,
        reply: Reply<(), StartError>,
    },
    Discharge {
        owed: Owed,
        done: oneshot::Sender<()>,
    },
    Trimmed {
        to: u64,
        done: oneshot::Sender<()>,
    },
    Interrupt {
        then: OnInterrupt,
        /// What the turn has in hand, once it is marked.
        marked: Option<Marked>,
        reply: Reply<Interruption, SessionError>,
    },
    Returned {
        run: RunId,
        done: oneshot::Sender<()>,
    },
    /// A pause that came when the run had ended already: the session's next keeper serves it.
    LatePause {
        by: Asker,
        reply: Reply<Rested, SessionError>,
    },
    /// The same of a resume.
    LateResume {
        by: Asker,
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
    /// The run asks for an urgent input.
    Take(u64),
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
            Self::Stop { by, grace, only, reply, asked } => {
                Some(Op::Stop { by, grace, only, reply, asked })
            }
            Self::Bear { run, reply } => Some(Op::Bear { run, reply }),
            Self::Discharge { owed, done } => Some(Op::Discharge { owed, done }),
            Self::Trimmed { to, done } => Some(Op::Trimmed { to, done }),
            Self::Complete { reason, reply } => Some(Op::Complete { reason, reply }),
            Self::Fail { reason, reply } => Some(Op::Fail { reason, reply }),
            Self::Annotate { change, reply } => Some(Op::Annotate { change, reply }),
            Self::Interrupt { then, reply, .. } => Some(Op::Interrupt { then, reply }),
            Self::Returned { run, done } => Some(Op::Returned { run, done }),
            Self::LatePause { by, reply } => Some(Op::Pause { by, reply }),
            Self::LateResume { by, reply } => Some(Op::Resume { by, place: None, reply }),
            Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Take(_)
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
            | Self::Bear { .. }
            | Self::Interrupt { .. }
            | Self::LatePause { .. }
            | Self::LateResume { .. } => true,
            Self::Returned { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Take(_)
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
            | Self::LateResume { reply, .. } => reply.store_failed(error),
            Self::LatePause { reply, .. } => reply.store_failed(error),
            Self::Bear { reply, .. } => reply.store_failed(error),
            Self::Interrupt { reply, .. } => reply.store_failed(error),
            Self::Returned { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Next { .. }
            | Self::Commit { .. }
            | Self::Step(_)
            | Self::Take(_)
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
        by: Asker,
        grace: Option<Duration>,
        only: Option<RunId>,
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
    Bear {
        run: Option<RunId>,
        reply: Reply<(), StartError>,
        answer: Result<(), StartError>,
    },
    Discharge {
        owed: Owed,
        done: oneshot::Sender<()>,
    },
    Trimmed {
        to: u64,
        done: oneshot::Sender<()>,
    },
    Take {
        input: u64,
        granted: Option<InHand>,
    },
    Interrupt {
        then: OnInterrupt,
        marked: Option<Marked>,
        reply: Reply<Interruption, SessionError>,
        answer: Interruption,
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
    /// Whether it ends a turn whose input is to be given again.
    pub(super) fn puts_back(&self) -> bool {
        let covers = match self {
            Self::Next { draft: Some(draft), .. } | Self::Commit { draft, .. } => {
                Some(draft.covers)
            }
            Self::Next { draft: None, .. }
            | Self::Send { .. }
            | Self::Stop { .. }
            | Self::Unit { .. }
            | Self::Step { .. }
            | Self::Take { .. }
            | Self::Interrupt { .. }
            | Self::Bear { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Returned { .. }
            | Self::Quiet(_)
            | Self::Over(_) => None,
        };
        match covers {
            Some(Covers::PutBack(_)) => true,
            Some(Covers::Input(_) | Covers::Interlude | Covers::Nothing) | None => false,
        }
    }

    /// The urgent input that it gives to the run, if it does.
    pub(super) fn grants(&self) -> Option<u64> {
        match self {
            Self::Take { granted, .. } => granted.map(|granted| granted.input),
            Self::Next { .. }
            | Self::Commit { .. }
            | Self::Send { .. }
            | Self::Stop { .. }
            | Self::Unit { .. }
            | Self::Step { .. }
            | Self::Interrupt { .. }
            | Self::Bear { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Returned { .. }
            | Self::Quiet(_)
            | Self::Over(_) => None,
        }
    }

    /// The task again, to be decided anew.
    pub(super) fn undo(self) -> Task {
        match self {
            Self::Send { input, reply, .. } => Task::Send { input, reply },
            Self::Stop { by, grace, only, reply, asked, .. } => {
                Task::Stop { by, grace, only, reply, asked }
            }
            Self::Bear { run, reply, .. } => Task::Bear { run, reply },
            Self::Discharge { owed, done } => Task::Discharge { owed, done },
            Self::Trimmed { to, done } => Task::Trimmed { to, done },
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
            Self::Take { input, .. } => Task::Take(input),
            Self::Interrupt { then, marked, reply, .. } => Task::Interrupt { then, marked, reply },
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
            Self::Bear { reply, .. } => reply.tell_store_failed(error),
            Self::Interrupt { reply, .. } => reply.tell_store_failed(error),
            Self::Next { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Commit { .. }
            | Self::Step { .. }
            | Self::Take { .. }
            | Self::Returned { .. }
            | Self::Quiet(_)
            | Self::Over(_) => {}
        }
    }
}
