//! A request to a session without an actor, and what was decided about it.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    model::{
        deletion::Removal, family::Owed, ids::RunId, inbox::OnInterrupt, record::SessionRecord,
    },
    runtime::{
        error::{RolloverError, SendError, SessionError, StartError},
        op::{
            Accepted, Annotation, Asker, Interruption, NewInput, NewRollover, NewSession, Op,
            Recovered, Reply, Rested, Started, StopAccepted, Woken,
        },
    },
    store::StoreError,
    telemetry::Stamp,
};

/// It is carried out when the commit is durable, or decided again if the commit is refused.
pub(super) enum Decided {
    Start(Box<NewSession>),
    Send {
        input: NewInput,
        reply: Reply<Accepted, SendError>,
        answer: Result<Accepted, SendError>,
    },
    Pause {
        by: Asker,
        reply: Reply<Rested, SessionError>,
        answer: Result<(), SessionError>,
    },
    Resume {
        by: Asker,
        reply: Reply<(), SessionError>,
        answer: Result<(), SessionError>,
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
    Stop {
        by: Asker,
        grace: Option<Duration>,
        only: Option<RunId>,
        reply: Reply<StopAccepted, SessionError>,
        answer: Result<(), SessionError>,
        asked: Stamp,
    },
    Complete {
        reason: Option<String>,
        reply: Reply<(), SessionError>,
        answer: Result<(), SessionError>,
    },
    Fail {
        reason: String,
        reply: Reply<(), SessionError>,
        answer: Result<(), SessionError>,
    },
    Rollover {
        asked: Box<NewRollover>,
        answer: Result<(), RolloverError>,
    },
    Annotate {
        change: Annotation,
        reply: Reply<(), SessionError>,
        answer: Result<(), SessionError>,
    },
    Interrupt {
        then: OnInterrupt,
        reply: Reply<Interruption, SessionError>,
        answer: Result<Interruption, SessionError>,
    },
    Delete {
        by: Removal,
        reply: Reply<(), SessionError>,
        answer: Result<(), SessionError>,
    },
    Wake {
        done: oneshot::Sender<Woken>,
        woken: Woken,
    },
    Recover {
        done: oneshot::Sender<Recovered>,
        recovered: Recovered,
    },
    TimeOut {
        done: oneshot::Sender<()>,
    },
    Returned {
        run: RunId,
        done: oneshot::Sender<()>,
    },
    /// Nobody waits for an answer.
    Quiet(Op),
}

impl Decided {
    /// The request again, to be decided anew. A place that it brought stays with the desk.
    pub(super) fn undo(self) -> Op {
        match self {
            Self::Start(new) => Op::Start(new),
            Self::Send { input, reply, .. } => Op::Send { input, reply },
            Self::Pause { by, reply, .. } => Op::Pause { by, reply },
            Self::Bear { run, reply, .. } => Op::Bear { run, reply },
            Self::Discharge { owed, done } => Op::Discharge { owed, done },
            Self::Trimmed { to, done } => Op::Trimmed { to, done },
            Self::Resume { by, reply, .. } => Op::Resume { by, place: None, reply },
            Self::Stop { by, grace, only, reply, asked, .. } => {
                Op::Stop { by, grace, only, reply, asked }
            }
            Self::Complete { reason, reply, .. } => Op::Complete { reason, reply },
            Self::Fail { reason, reply, .. } => Op::Fail { reason, reply },
            Self::Rollover { asked, .. } => Op::Rollover(asked),
            Self::Annotate { change, reply, .. } => Op::Annotate { change, reply },
            Self::Interrupt { then, reply, .. } => Op::Interrupt { then, reply },
            Self::Delete { by, reply, .. } => Op::Delete { by, reply },
            Self::Wake { done, .. } => Op::Wake { place: None, done },
            Self::Recover { done, .. } => Op::Recover { place: None, done },
            Self::TimeOut { done } => Op::TimeOut { done },
            Self::Returned { run, done } => Op::Returned { run, done },
            Self::Quiet(op) => op,
        }
    }

    /// Answers, now that everything is durable.
    pub(super) fn answer(self, record: Option<&SessionRecord>) {
        match self {
            Self::Start(new) => new.reply.send(Ok(Started::New)),
            Self::Send { reply, answer, .. } => reply.send(answer),
            Self::Bear { reply, answer, .. } => reply.send(answer),
            Self::Pause { reply, answer, .. } => {
                let snapshot = record.and_then(SessionRecord::snapshot).copied();
                reply.send(answer.map(|()| Rested { snapshot }));
            }
            Self::Stop { reply, answer, .. } => {
                reply.send(answer.map(|()| StopAccepted { run: None }));
            }
            Self::Resume { reply, answer, .. }
            | Self::Complete { reply, answer, .. }
            | Self::Fail { reply, answer, .. }
            | Self::Annotate { reply, answer, .. }
            | Self::Delete { reply, answer, .. } => reply.send(answer),
            Self::Interrupt { reply, answer, .. } => reply.send(answer),
            Self::Rollover { asked, answer } => {
                asked.reply.send(answer.map(|()| asked.successor.id));
            }
            // Those who look after sessions may have ended; then nobody waits.
            Self::Wake { done, woken } => drop(done.send(woken)),
            Self::Recover { done, recovered, .. } => drop(done.send(recovered)),
            Self::TimeOut { done }
            | Self::Returned { done, .. }
            | Self::Discharge { done, .. }
            | Self::Trimmed { done, .. } => {
                let _ = done.send(());
            }
            Self::Quiet(_) => {}
        }
    }

    /// Tells a caller that the store failed; what was decided stays under way.
    pub(super) fn store_failed(&mut self, error: &Arc<StoreError>) {
        match self {
            Self::Start(new) => new.reply.tell_store_failed(error),
            Self::Send { reply, .. } => reply.tell_store_failed(error),
            Self::Pause { reply, .. } => reply.tell_store_failed(error),
            Self::Bear { reply, .. } => reply.tell_store_failed(error),
            Self::Stop { reply, .. } => reply.tell_store_failed(error),
            Self::Resume { reply, .. }
            | Self::Complete { reply, .. }
            | Self::Fail { reply, .. }
            | Self::Annotate { reply, .. }
            | Self::Delete { reply, .. } => reply.tell_store_failed(error),
            Self::Interrupt { reply, .. } => reply.tell_store_failed(error),
            Self::Rollover { asked, .. } => asked.reply.tell_store_failed(error),
            Self::Wake { .. }
            | Self::Recover { .. }
            | Self::TimeOut { .. }
            | Self::Returned { .. }
            | Self::Discharge { .. }
            | Self::Trimmed { .. }
            | Self::Quiet(_) => {}
        }
    }
}
