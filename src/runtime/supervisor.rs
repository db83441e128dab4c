//! The supervisor actor: knows who keeps each session, spawns session actors, hears of their
//! end. It never waits in a handler; what takes time is a task that reports back.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, btree_map::Entry},
    sync::Arc,
};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

mod drain;
mod succession;

pub(crate) use self::drain::Drained;

use self::drain::Draining;
use super::{
    core::{Core, Life},
    desk::{self, After, Report},
    error::SessionError,
    live::{ActorLine, Live},
    op::{Op, Place},
    removal,
    session::{Launch, SessionActor},
    wait::Wait,
};
use crate::{
    faults::{self, Bug},
    model::{
        ids::SessionId,
        record::{SessionRecord, SnapshotRef},
        state::{Phase, Restarting, State},
        step::Turn,
    },
    workload::{Run, RunParts},
};

/// What the supervisor is told.
pub(crate) enum Message {
    /// A request for a session that may have no actor.
    Route { session: SessionId, op: Op },
    /// A desk has done its work.
    Desk(Box<Report>),
    /// A place is free: the resume that waits longest may have it. Without one it comes back.
    Place { place: Place, back: oneshot::Sender<Option<Place>> },
    /// The worker shuts down: everybody is asked to yield.
    Drain { done: oneshot::Sender<Vec<Drained>> },
    /// Whatever still runs is cancelled.
    Cancel,
    /// Whatever still runs is abandoned.
    Abandon,
    /// The budget is over: report what there is.
    Conclude,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Route { .. } => "Route",
            Self::Desk(_) => "Desk",
            Self::Place { .. } => "Place",
            Self::Drain { .. } => "Drain",
            Self::Cancel => "Cancel",
            Self::Abandon => "Abandon",
            Self::Conclude => "Conclude",
        })
    }
}

/// The actor. Its state is [`Sessions`].
#[derive(Debug)]
pub(crate) struct SupervisorActor;

/// The state of the actor: everybody who is looked after.
pub(crate) struct Sessions {
    core: Arc<Core>,
    me: ActorRef<Message>,
    /// In an order of its own, so that a test can repeat what happened.
    kept: BTreeMap<SessionId, Kept>,
    actors: HashMap<ActorId, SessionId>,
    /// Resumes that wait for a place, the longest first.
    waiting: VecDeque<(SessionId, Op)>,
    draining: Option<Draining>,
}

/// A session that somebody looks after.
struct Kept {
    by: By,
    place: Option<Place>,
}

enum By {
    /// An actor. Requests that it did not take wait for the word of its end.
    Actor { live: Arc<Live>, missed: Vec<Op> },
    /// A task that works off requests. More of them wait.
    Desk { waiting: Vec<Op> },
    /// Nobody, until its backoff is over.
    Backoff { _until: Wait },
}

impl Actor for SupervisorActor {
    type Msg = Message;
    type State = Sessions;
    type Arguments = Arc<Core>;

    async fn pre_start(
        &self,
        me: ActorRef<Message>,
        core: Arc<Core>,
    ) -> Result<Sessions, ActorProcessingErr> {
        Ok(Sessions {
            core,
            me,
            kept: BTreeMap::new(),
            actors: HashMap::new(),
            waiting: VecDeque::new(),
            draining: None,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        sessions: &mut Sessions,
    ) -> Result<(), ActorProcessingErr> {
        sessions.on(message);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        event: SupervisionEvent,
        sessions: &mut Sessions,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(who, _, _)
            | SupervisionEvent::ActorFailed(who, _) => sessions.on_end(who.get_id()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

/// Spawns the supervisor of a core.
pub(crate) async fn spawn_supervisor(core: &Arc<Core>) {
    match SupervisorActor::spawn(None, SupervisorActor, Arc::clone(core)).await {
        Ok((supervisor, _)) => core.connect(supervisor),
        // Its start does nothing that could fail, and it has no name that could be taken.
        Err(error) => unreachable!("an actor without a name can be spawned: {error}"),
    }
}

impl Sessions {
    fn on(&mut self, message: Message) {
        match message {
            Message::Route { session, op } => self.on_route(session, op),
            Message::Desk(report) => self.on_desk(*report),
            Message::Place { place, back } => self.on_place(place, back),
            Message::Drain { done } => self.on_drain(done),
            Message::Cancel => self.tell_actors(|| Op::Cancel),
            Message::Abandon => self.tell_actors(|| Op::Abandon),
            Message::Conclude => self.conclude(),
        }
    }

    fn on_route(&mut self, session: SessionId, op: Op) {
        let Some(kept) = self.kept.get_mut(&session) else {
            return self.open_desk(session, vec![op]);
        };
        match &mut kept.by {
            By::Actor { live, missed } => missed.extend(removal::pass_on(live, op)),
            By::Desk { waiting } => match self.core.checkpointer.health().error() {
                // The desk may be waiting for the store: callers need not.
                Some(error) => waiting.extend(desk::refuse_a_caller(op, session, &error)),
                None => waiting.push(op),
            },
            By::Backoff { .. }
                if faults::planted(Bug::ForgetBackoffAtShutdown) && matches!(op, Op::Shutdown) => {}
            By::Backoff { .. } => self.open_desk(session, vec![op]),
        }
    }

    /// Later word on a session wins over a resume that waits for its place.
    fn supersede(&mut self, session: SessionId, by: &'static str) {
        for op in self.take_waiting(session) {
            if let Op::Resume { reply, .. } = op {
                reply.send(Err(SessionError::Superseded { session, by }));
            }
        }
    }

    /// The resumes of a session that wait for a place.
    fn take_waiting(&mut self, session: SessionId) -> Vec<Op> {
        let (taken, rest): (VecDeque<_>, VecDeque<_>) =
            self.waiting.drain(..).partition(|(waiting, _)| *waiting == session);
        self.waiting = rest;
        taken.into_iter().map(|(_, op)| op).collect()
    }

    fn open_desk(&mut self, session: SessionId, ops: Vec<Op>) {
        self.open_desk_on(session, ops, None);
    }

    /// With the record, if it is known.
    fn open_desk_on(
        &mut self,
        session: SessionId,
        ops: Vec<Op>,
        known: Option<Arc<SessionRecord>>,
    ) {
        let by = By::Desk { waiting: Vec::new() };
        let has_place = match self.kept.entry(session) {
            Entry::Occupied(mut kept) => {
                kept.get_mut().by = by;
                kept.get().place.is_some()
            }
            Entry::Vacant(new) => {
                new.insert(Kept { by, place: None });
                false
            }
        };
        let me = self.me.clone();
        // It is large, and would be copied on its way into a task.
        let desk = desk::serve(Arc::clone(&self.core), session, ops, has_place, known);
        let desk = Box::pin(desk);
        tokio::spawn(async move {
            let report = desk.await;
            // Where the supervisor is gone, the worker is over.
            let _ = me.send_message(Message::Desk(Box::new(report)));
        });
    }

    fn on_desk(&mut self, report: Report) {
        let Report { session, place, after, left, record, won } = report;
        if let Some(by) = won {
            self.supersede(session, by);
        }
        let mut ops = match &record {
            Some(record) if !self.core.may_wait_for_place(record) => self.take_waiting(session),
            Some(_) | None => Vec::new(),
        };
        let Some(kept) = self.kept.get_mut(&session) else {
            return;
        };
        kept.place = kept.place.take().or(place);
        ops.extend(left);
        if let By::Desk { waiting } = &mut kept.by {
            ops.append(waiting);
        }
        match after {
            After::Launch(launch) => self.launch(session, *launch, ops),
            After::Backoff(restarting) => self.back_off(session, restarting, ops),
            After::Rest => self.at_rest(session, record, ops),
            After::WaitForPlace(resumes) => {
                for op in resumes {
                    self.waiting.push_back((session, op));
                }
                self.at_rest(session, record, ops);
            }
        }
        // A place may have passed by while the session was at its desk.
        if self.waiting.iter().any(|(waiting, _)| *waiting == session) {
            self.core.ready.notify_one();
        }
    }

    /// Nobody needs to look after the session, unless there are requests.
    fn at_rest(&mut self, session: SessionId, record: Option<Arc<SessionRecord>>, ops: Vec<Op>) {
        let place = self.hand_on(session, record.as_deref());
        if let Some(draining) = &mut self.draining {
            // Requests that come late are no reason for another line; and what the last worker left
            // active, and this one has not taken up, was not active here.
            let was_active = place.is_some()
                && record.as_ref().is_none_or(|record| record.state() != State::Active);
            match draining.drained.entry(session) {
                Entry::Occupied(mut known) => {
                    if record.is_some() {
                        known.insert(record.clone());
                    }
                }
                Entry::Vacant(new) if was_active => {
                    new.insert(record.clone());
                }
                Entry::Vacant(_) => {}
            }
        }
        if faults::planted(Bug::KeepPlace) {
            std::mem::forget(place);
        } else {
            drop(place);
        }
        if !ops.is_empty() {
            return self.open_desk(session, ops);
        }
        self.kept.remove(&session);
        if self.core.kept.has(session)
            && record.as_ref().is_some_and(|record| !succession::may_hold(record.state()))
        {
            // It was ended between the end of its run and the end of its pause.
            let core = Arc::clone(&self.core);
            tokio::spawn(async move { core.close_held(session).await });
        }
        if self.draining.is_some() && self.kept.is_empty() {
            self.conclude();
        }
    }

    fn back_off(&mut self, session: SessionId, restarting: Restarting, mut ops: Vec<Op>) {
        if self.draining.is_some() {
            ops.push(Op::Shutdown);
        }
        if !ops.is_empty() {
            return self.open_desk(session, ops);
        }
        let core = Arc::clone(&self.core);
        let runtime = core.runtime.clone();
        let until = Wait::spawn(&runtime, async move {
            core.clock.sleep_until_supervised(restarting.due).await;
            core.route(session, Op::Restart);
        });
        if let Some(kept) = self.kept.get_mut(&session) {
            kept.by = By::Backoff { _until: until };
        }
    }

    fn launch(&mut self, session: SessionId, launch: desk::Prepared, ops: Vec<Op>) {
        let desk::Prepared { record, workload, snapshot, inputs, steps } = launch;
        let Some(run) = record.phase.run() else {
            return self.at_rest(session, Some(record), ops);
        };
        let line = ActorLine::default();
        let parts = RunParts {
            session,
            run,
            kind: record.kind.clone(),
            clock: self.core.clock.clone(),
            port: Box::new(line.clone()),
            threads: Arc::clone(&self.core.threads),
            worker: self.core.as_worker(),
            max_snapshot_bytes: self.core.policy_of(&record).max_snapshot_bytes(),
        };
        let over = record.snapshot().map_or_else(Turn::default, SnapshotRef::turn);
        let run = Run::new(parts, over, steps.clone());
        run.know_inbox(&record.inbox);
        run.receive(self.core.kept.take(session));
        let live = Arc::new(Live::new(run, line.clone(), record));
        // Before its first commit: whoever reads the store and then finds nothing here has read
        // nothing that its actor has not shown yet.
        self.core.directory.pin().insert(session, Arc::clone(&live));
        let launch = Launch {
            core: Arc::clone(&self.core),
            live: Arc::clone(&live),
            line: line.clone(),
            workload,
            snapshot,
            inputs,
            steps,
        };
        let me: ActorCell = self.me.get_cell();
        let spawned = ractor::ActorRuntime::spawn_linked_instant(None, SessionActor, launch, me);
        let actor = match spawned {
            Ok((actor, _)) => actor,
            // Only a name can be refused, and there is none.
            Err(error) => unreachable!("an actor without a name can be spawned: {error}"),
        };
        self.actors.insert(actor.get_id(), session);
        line.connect(actor);
        if self.core.life() == Life::Ended {
            // The worker was lost meanwhile, and may have cancelled its runs before this one.
            live.run().end();
        }
        if let Some(kept) = self.kept.get_mut(&session) {
            kept.by = By::Actor { live, missed: Vec::new() };
        }
        for op in ops {
            self.on_route(session, op);
        }
        if self.draining.is_some() {
            self.on_route(session, Op::Shutdown);
        }
    }

    /// An actor has ended: well, badly, or without a word.
    fn on_end(&mut self, actor: ActorId) {
        let Some(session) = self.actors.remove(&actor) else {
            return;
        };
        let Some(Kept { by: By::Actor { live, missed }, .. }) = self.kept.get_mut(&session) else {
            return;
        };
        let live = Arc::clone(live);
        let mut ops = std::mem::take(missed);
        // What follows where the session is to run on.
        let next = if self.draining.is_some() { Op::Shutdown } else { Op::Restart };
        let Some(settlement) = live.take_settlement() else {
            live.run().end();
            self.core.settled(&live, None);
            ops.splice(0..0, [Op::Lost { run: live.run().id() }, next]);
            return self.open_desk(session, ops);
        };
        let mut left = settlement.left;
        left.append(&mut ops);
        match &settlement.record.phase {
            Phase::Active { restarting: Some(restarting), .. } => {
                self.back_off(session, *restarting, left);
            }
            Phase::Active { restarting: None, .. } => {
                left.insert(0, next);
                self.open_desk_on(session, left, Some(settlement.record));
            }
            Phase::Stopping { .. } => self.open_desk_on(session, left, Some(settlement.record)),
            Phase::Pending { .. }
            | Phase::Paused { .. }
            | Phase::Stopped
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => self.at_rest(session, Some(settlement.record), left),
        }
    }

    fn on_place(&mut self, place: Place, back: oneshot::Sender<Option<Place>>) {
        // What is at its desk just now may turn out not to want it any more.
        let is_at_desk = |session: &SessionId| {
            self.kept.get(session).is_some_and(|kept| matches!(kept.by, By::Desk { .. }))
        };
        let mut longest_first = self.waiting.iter().map(|(session, _)| *session);
        let place = match longest_first.find(|session| !is_at_desk(session)) {
            Some(session) => {
                let mut place = Some(place);
                // One place serves all who want the session resumed.
                for op in self.take_waiting(session) {
                    if let Op::Resume { by, reply, .. } = op {
                        let place = place.take();
                        self.on_route(session, Op::Resume { by, place, reply });
                    }
                }
                if !self.waiting.is_empty() {
                    self.core.ready.notify_one();
                }
                None
            }
            None => Some(place),
        };
        // A pump that is gone leaves the place to others.
        let _ = back.send(place);
    }
}
