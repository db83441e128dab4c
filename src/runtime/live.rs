//! The directory of sessions that have an actor. It is read without going through any mailbox.

use std::sync::{Arc, OnceLock, PoisonError};

use ractor::ActorRef;

use super::{op::Op, session::Message};
use crate::{
    model::{ids::SessionId, record::SessionRecord},
    sync::{Mutex, MutexGuard},
    workload::{Port, Request, Run},
};

/// The directory. Its hash is quick, and seeded at random: ids come from outside too.
pub(crate) type Directory = papaya::HashMap<SessionId, Arc<Live>, foldhash::fast::RandomState>;

/// One session that has an actor: what others may see of it.
pub(crate) struct Live {
    run: Run,
    actor: ActorLine,
    shown: Mutex<Shown>,
}

struct Shown {
    /// The committed record.
    record: Arc<SessionRecord>,
    pausing: bool,
    fate: Fate,
    watch: Watch,
    settlement: Option<Settlement>,
}

/// Whether the run may be called silent, agreed between its actor and its alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It is to give signs of life.
    Kept,
    /// It was asked to end, which has limits of its own.
    Lifted,
    /// It gave no sign for too long, and was called silent.
    Silent,
}

/// What became of the run's task, agreed between it and the actor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// It is alive.
    Alive,
    /// It ended, and has told or will tell the actor.
    Over,
    /// The actor gave it up.
    Abandoned,
}

/// How a settled actor leaves its session.
#[derive(Debug)]
pub(crate) struct Settlement {
    /// The record after the last commit.
    pub(crate) record: Arc<SessionRecord>,
    /// Requests that it did not come to.
    pub(crate) left: Vec<Op>,
}

impl Live {
    pub(crate) fn new(run: Run, actor: ActorLine, record: Arc<SessionRecord>) -> Self {
        let shown = Shown {
            record,
            pausing: false,
            fate: Fate::Alive,
            watch: Watch::Kept,
            settlement: None,
        };
        Self { run, actor, shown: Mutex::new(shown) }
    }

    /// The run.
    pub(crate) const fn run(&self) -> &Run {
        &self.run
    }

    /// The committed record.
    pub(crate) fn record(&self) -> Arc<SessionRecord> {
        Arc::clone(&self.lock().record)
    }

    /// The committed record, and whether a pause is under way.
    pub(crate) fn shown(&self) -> (Arc<SessionRecord>, bool) {
        let shown = self.lock();
        (Arc::clone(&shown.record), shown.pausing)
    }

    pub(crate) fn show_record(&self, record: &Arc<SessionRecord>) {
        self.lock().record = Arc::clone(record);
    }

    pub(crate) fn show_pausing(&self, pausing: bool) {
        self.lock().pausing = pausing;
    }

    /// Leaves word how the actor settled, for the supervisor.
    pub(crate) fn leave(&self, settlement: Settlement) {
        self.lock().settlement = Some(settlement);
    }

    /// How the actor settled; nothing if it ended without.
    pub(crate) fn take_settlement(&self) -> Option<Settlement> {
        self.lock().settlement.take()
    }

    /// From now on the run is to give signs of life, or need not any more. One that was called
    /// silent stays so.
    pub(crate) fn keep_watch(&self, kept: bool) {
        let mut shown = self.lock();
        match shown.watch {
            Watch::Kept | Watch::Lifted => {
                shown.watch = if kept { Watch::Kept } else { Watch::Lifted };
            }
            Watch::Silent => {}
        }
    }

    /// Calls the run silent. `false` if it was asked to end before.
    pub(crate) fn call_silent(&self) -> bool {
        let mut shown = self.lock();
        match shown.watch {
            Watch::Kept | Watch::Silent => {
                shown.watch = Watch::Silent;
                true
            }
            Watch::Lifted => false,
        }
    }

    /// Whether the run was called silent.
    pub(crate) fn is_silent(&self) -> bool {
        self.lock().watch == Watch::Silent
    }

    /// The way to the actor.
    pub(crate) const fn line(&self) -> &ActorLine {
        &self.actor
    }

    /// Passes a request to the actor; gives it back if the actor is gone.
    pub(crate) fn send(&self, op: Op) -> Result<(), Op> {
        match self.actor.send(Message::Op(op)) {
            Ok(()) => Ok(()),
            Err(Message::Op(op)) => Err(op),
            Err(Message::Request(_) | Message::Over(_) | Message::Answer(_) | Message::Alarm) => {
                unreachable!("a message comes back as it was sent")
            }
        }
    }

    /// The task of the run has ended. `true` if the actor still waits for it.
    pub(crate) fn run_is_over(&self) -> bool {
        let mut shown = self.lock();
        match shown.fate {
            Fate::Alive | Fate::Over => {
                shown.fate = Fate::Over;
                true
            }
            Fate::Abandoned => false,
        }
    }

    /// The actor gives the run up. `false` if the run has just ended after all.
    pub(crate) fn abandon(&self) -> bool {
        let mut shown = self.lock();
        match shown.fate {
            Fate::Alive | Fate::Abandoned => {
                shown.fate = Fate::Abandoned;
                true
            }
            Fate::Over => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to an actor that may not have been spawned yet.
#[derive(Clone, Default)]
pub(crate) struct ActorLine(Arc<OnceLock<ActorRef<Message>>>);

impl ActorLine {
    pub(crate) fn connect(&self, actor: ActorRef<Message>) {
        // Connected once, by the one who spawned the actor.
        let _ = self.0.set(actor);
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        let Some(actor) = self.0.get() else {
            return Err(message);
        };
        actor.send_message(message).map_err(|error| match error {
            ractor::MessagingErr::SendErr(message) => message,
            ractor::MessagingErr::ChannelClosed | ractor::MessagingErr::InvalidActorType => {
                unreachable!("a message that is not taken comes back")
            }
        })
    }
}

impl Port for ActorLine {
    fn send(&self, request: Request) {
        // An actor that is gone drops the request with its reply: the run is fenced.
        let _ = Self::send(self, Message::Request(request));
    }
}

#[cfg(all(test, sessionkeeper_loom))]
mod explored {
    use loom::model;

    use super::*;
    use crate::{sync::both, workload::explored_run};

    fn live() -> Arc<Live> {
        let run = explored_run();
        let id = run.id();
        let record = serde_json::json!({
            "id": run.session(), "kind": "explored", "version": 1, "writer": id,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "phase": { "state": "active", "run": id, "worker": id }, "last_event": 1
        });
        let record = serde_json::from_value(record).expect("a record");
        Arc::new(Live::new(run, ActorLine::default(), Arc::new(record)))
    }

    /// G5: a run ended or was abandoned: its task and its actor agree which.
    #[test]
    fn a_run_is_over_or_abandoned() {
        model(|| {
            let live = live();
            let task = Arc::clone(&live);
            let (over, abandoned) = both(move || task.run_is_over(), move || live.abandon());
            assert!(over != abandoned, "over and abandoned: {over}");
        });
    }

    /// How an actor settled is taken once, by whoever finds it.
    #[test]
    fn a_settlement_is_taken_once() {
        model(|| {
            let live = live();
            let settlement = Settlement { record: live.record(), left: Vec::new() };
            let (actor, supervisor) = (Arc::clone(&live), Arc::clone(&live));
            let ((), early) = both(
                move || actor.leave(settlement),
                move || supervisor.take_settlement().is_some(),
            );
            assert!(live.take_settlement().is_some() != early);
        });
    }
}
