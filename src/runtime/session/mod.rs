//! The actor of a session: the control half of one run.
//!
//! One actor looks after one run. It never waits inside a handler: what takes time (the
//! workload, a commit, a timer) runs elsewhere and sends a message when it is done. So a stop, a
//! pause or a heartbeat verdict is never behind the work.
//!
//! Requests gather in a queue. When no commit is in flight, all of them are decided on one draft
//! of the record and committed together; only then are they answered and their effects carried
//! out. See [`flight`].

mod control;
mod flight;
mod inputs;
mod roll_over;
mod settle;
mod task;
mod vigil;

use std::{collections::VecDeque, future::ready, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

pub(super) use self::settle::{Ending, Intent};
use self::{flight::Flight, roll_over::Steps, task::Task};
use super::{
    alarms::Alarm,
    checkpointer::Answer,
    core::Core,
    drive,
    error::SessionError,
    ladder::Ladder,
    live::{ActorLine, Live, Settlement},
    op::{Asker, NewRollover, Op, Recovered, Reply, Rested, TakenIds, Woken},
    supervisor,
};
use crate::{
    model::{
        event::RunEnd,
        ids::RunId,
        record::{SessionRecord, StoredInput},
        snapshot::SnapshotEnvelope,
        state::{InvalidTransition, State, Trigger},
        step::StoredStep,
        time::WorkerTime,
    },
    policy::Policy,
    workload::{
        Delivery, Noted, Request,
        erased::{Driven, ErasedWorkload},
    },
};

/// What the actor is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// A request from outside.
    Op(Op),
    /// A request of the run.
    Request(Request),
    /// The run is over, and what it held is closed.
    Over(Box<Driven>),
    /// What became of the commit in flight.
    Answer(Answer),
    /// It is time to look at the run.
    Alarm,
}

/// The actor. Its state is [`Session`].
#[derive(Debug)]
pub(crate) struct SessionActor;

/// What an actor begins with: the committed record of an active session and what its run needs.
pub(crate) struct Launch {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Live>,
    pub(crate) line: ActorLine,
    pub(crate) workload: Arc<dyn ErasedWorkload>,
    pub(crate) snapshot: Arc<SnapshotEnvelope>,
    pub(crate) inputs: Vec<StoredInput>,
    /// The steps of turns that the snapshot does not cover.
    pub(crate) steps: Vec<StoredStep>,
}

/// The state of the actor.
pub(crate) struct Session {
    core: Arc<Core>,
    live: Arc<Live>,
    state_version: u32,
    policy: Arc<Policy>,
    /// The record as it is committed.
    record: Arc<SessionRecord>,
    /// The inputs that are not consumed, in order.
    inbox: VecDeque<Arc<StoredInput>>,
    /// The steps of their turns; boxed, since most sessions have none.
    steps: Option<Box<Steps>>,
    /// What waits for the next flight.
    queue: VecDeque<Task>,
    /// Boxed, since most sessions have none at most times.
    flight: Option<Box<Flight>>,
    /// Notes taken from the run and not committed yet.
    notes: Vec<Noted>,
    /// When notes that wait in the run are committed at the latest.
    notes_until: Option<WorkerTime>,
    /// When the last commit was handed in.
    took_off: WorkerTime,
    taken: TakenIds,
    intent: Intent,
    /// Whether a pause was withdrawn that the run may have heard of.
    recalled: bool,
    ladder: Ladder,
    /// Whether the run waits for its next input.
    wants_input: bool,
    /// The input that the run was given last.
    given: Option<u64>,
    /// The last input that had been accepted when the run began.
    began_with: u64,
    /// The input for which the last attempt was counted, if the run never got it.
    untaken: Option<u64>,
    /// Whether the present turn is interrupted.
    interrupted: bool,
    /// Whether a checkpoint of this run consumed an input.
    progressed: bool,
    /// Whether the run may commit its state.
    fenced: bool,
    over: bool,
    pausers: Vec<(Asker, Reply<Rested, SessionError>)>,
    /// Who asked for a successor; the first has it.
    rolling: Vec<NewRollover>,
    alarm: Alarm,
    started: WorkerTime,
    settled: Option<Settled>,
}

/// How the actor ends.
enum Settled {
    /// The session is at rest, or goes on in another run as it should.
    Well,
    /// The run failed: the supervisor is to hear of it.
    Failed(Box<RunEnd>),
}

impl Actor for SessionActor {
    type Msg = Message;
    type State = Session;
    type Arguments = Launch;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        launch: Launch,
    ) -> Result<Session, ActorProcessingErr> {
        launch.line.connect(myself);
        Ok(Session::begin(launch))
    }

    /// What it gives is ready: a handler has nothing to wait with, and an idle actor no room for a
    /// message kept (ractor keeps the future of a handler twice).
    fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        session: &mut Session,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        ready(session.handle(&myself, message))
    }

    /// A session has no children.
    fn handle_supervisor_evt(
        &self,
        _: ActorRef<Message>,
        _: SupervisionEvent,
        _: &mut Session,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        ready(Ok(()))
    }
}

impl Session {
    fn handle(
        &mut self,
        myself: &ActorRef<Message>,
        message: Message,
    ) -> Result<(), ActorProcessingErr> {
        if self.settled.is_some() {
            self.forward(message);
            return Ok(());
        }
        // What holds already is answered, and nothing is to be decided or looked at again.
        let holds = matches!(message, Message::Op(Op::Resume { .. })) && self.runs_as_asked();
        self.on(message);
        if !holds {
            self.advance();
        }
        match &self.settled {
            None => Ok(()),
            Some(Settled::Well) => {
                myself.stop(None);
                Ok(())
            }
            Some(Settled::Failed(end)) => Err(end.to_string().into()),
        }
    }

    fn begin(launch: Launch) -> Self {
        let Launch { core, live, line, workload, snapshot, inputs, steps } = launch;
        let record = live.record();
        let started = core.clock.worker();
        let mut session = Self {
            state_version: workload.state_version(),
            policy: core.policy_of(&record),
            inbox: inputs.into_iter().map(Arc::new).collect(),
            steps: Steps::of(steps),
            queue: VecDeque::new(),
            flight: None,
            notes: Vec::new(),
            notes_until: None,
            taken: TakenIds::new(),
            intent: Intent::Run,
            recalled: false,
            ladder: Ladder::Free,
            wants_input: false,
            given: None,
            began_with: record.inbox.accepted,
            untaken: None,
            interrupted: false,
            progressed: false,
            fenced: false,
            over: false,
            pausers: Vec::new(),
            rolling: Vec::new(),
            alarm: Alarm::new(core.alarms.clone()),
            started,
            took_off: started,
            settled: None,
            record,
            core: Arc::clone(&core),
            live: Arc::clone(&live),
        };
        session.offer_urgent();
        // A run may be silent from the first moment: no message would ever come to look at it.
        let first_look = session.next_look();
        session.alarm.set(&session.live, &session.policy, first_look);
        drive::spawn(core, live, line, workload, snapshot, session.policy.cancel_grace());
        session
    }

    /// Requests that come after the end go to where the session is now.
    fn forward(&self, message: Message) {
        match message {
            Message::Op(op) => self.core.route(self.record.id, op),
            Message::Over(_) | Message::Request(_) | Message::Answer(_) | Message::Alarm => {}
        }
    }

    fn on(&mut self, message: Message) {
        match message {
            Message::Op(op) => self.on_op(op),
            Message::Request(request) => self.on_request(request),
            Message::Over(driven) => {
                self.heed_alarm();
                self.over = true;
                self.ladder = Ladder::Over;
                self.watch();
                self.queue.push_back(Task::Over(*driven));
            }
            Message::Answer(answer) => self.on_answer(answer),
            Message::Alarm => {
                let now = self.core.clock.worker();
                self.alarm.rang(now);
                self.look(now);
            }
        }
    }

    /// Sends the next flight off, and sets the alarm for what comes first.
    fn advance(&mut self) {
        if let Some(error) = self.core.checkpointer.health().error() {
            self.refuse_callers(&error);
        }
        if self.notes_due().is_some_and(|due| self.core.clock.worker() >= due) {
            self.queue.push_back(Task::Notes);
        }
        self.take_off();
        if self.settled.is_some() {
            self.alarm.off();
        } else {
            let next = self.next_look();
            self.alarm.set(&self.live, &self.policy, next);
        }
    }

    fn on_op(&mut self, op: Op) {
        match op {
            Op::Send { input, reply } => self.queue.push_back(Task::Send { input, reply }),
            Op::Stop { by, grace, only, reply, asked } => {
                self.queue.push_back(Task::Stop { by, grace, only, reply, asked });
            }
            Op::Complete { reason, reply } => {
                self.queue.push_back(Task::Complete { reason, reply });
            }
            Op::Fail { reason, reply } => self.queue.push_back(Task::Fail { reason, reply }),
            Op::Annotate { change, reply } => {
                self.queue.push_back(Task::Annotate { change, reply });
            }
            Op::Interrupt { then, reply } => {
                self.queue.push_back(Task::Interrupt { then, marked: None, reply });
            }
            Op::Returned { run, done } => self.queue.push_back(Task::Returned { run, done }),
            Op::Bear { run, reply } => self.queue.push_back(Task::Bear { run, reply }),
            Op::Discharge { owed, done } => self.queue.push_back(Task::Discharge { owed, done }),
            Op::Trimmed { to, done } => self.queue.push_back(Task::Trimmed { to, done }),
            Op::Pause { by, reply } if self.over => {
                self.queue.push_back(Task::LatePause { by, reply });
            }
            Op::Resume { by, reply, .. } if self.over => {
                self.queue.push_back(Task::LateResume { by, reply });
            }
            Op::Pause { by, reply } => self.on_pause(by, reply),
            Op::Cancel => self.cancel(),
            Op::Abandon => self.abandon(),
            Op::Resume { by, place, reply } => {
                drop(place);
                self.on_resume(by, reply);
            }
            Op::Shutdown => self.on_shutdown(),
            // It runs already. Whatever place they bring is free again.
            Op::Wake { done, .. } => drop(done.send(Woken::Done)),
            Op::Recover { done, .. } => drop(done.send(Recovered::Left)),
            // It runs already: another session, or a request that came too late.
            Op::TimeOut { done } | Op::Purge { done } => drop(done),
            // The supervisor knows when the actor has ended.
            op @ Op::Delete { .. } => {
                let session = self.record.id;
                self.core.tell(supervisor::Message::Route { session, op });
            }
            Op::Start(new) => new.already(&self.record),
            Op::Rollover(asked) => self.on_rollover(*asked),
            Op::Restart | Op::Lost { .. } => {}
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Next(draft) => {
                self.queue.push_back(Task::Next { draft });
            }
            Request::Commit { draft, reply } => {
                self.queue.push_back(Task::Commit { draft, reply });
            }
            Request::Step(change) => self.queue.push_back(Task::Step(change)),
            Request::Take(input) => self.queue.push_back(Task::Take(input)),
            Request::NotesWaiting => self.commit_notes_soon(),
            Request::NotesPressing => self.commit_notes_now(),
        }
    }

    fn run(&self) -> RunId {
        self.live.run().id()
    }

    fn refusal(&self, trigger: Trigger) -> InvalidTransition {
        InvalidTransition {
            session: self.record.id,
            from: self.record.state(),
            to: trigger.target(),
        }
    }

    fn supersede_pausers(&mut self, by: &'static str) {
        let session = self.record.id;
        for (_, reply) in self.pausers.drain(..) {
            reply.send(Err(SessionError::Superseded { session, by }));
        }
    }

    /// Another worker has the session, or the store says so: nothing more is committed here.
    fn lose(&mut self) {
        self.pausers.clear();
        self.rolling.clear();
        self.end(Settled::Well, None);
    }

    /// The last commit of this run is durable: hands the session over to the supervisor.
    fn settle(&mut self) {
        let end = self.record.runs.last.as_ref().map(|last| last.end.clone());
        let failed = match end {
            Some(end @ (RunEnd::Failed { .. } | RunEnd::Panicked { .. })) => Some(end),
            Some(
                RunEnd::Yielded
                | RunEnd::Completed
                | RunEnd::Cancelled
                | RunEnd::Abandoned
                | RunEnd::Interrupted,
            )
            | None => None,
        };
        let snapshot = self.record.snapshot().copied();
        let mut left = Vec::new();
        for (by, reply) in std::mem::take(&mut self.pausers) {
            match self.record.state() {
                State::Paused => reply.send(Ok(Rested { snapshot })),
                // It goes on in another run, which has to be paused then.
                State::Active => left.push(Op::Pause { by, reply }),
                State::Pending
                | State::Stopping
                | State::Stopped
                | State::Completed
                | State::Failed
                | State::Expired => reply.send(Err(self.refused(Trigger::Pause))),
            }
        }
        self.answer_rollovers(&mut left);
        left.extend(self.queue.drain(..).filter_map(Task::into_op));
        let settlement = Settlement { record: Arc::clone(&self.record), left };
        self.end(
            failed.map_or(Settled::Well, |end| Settled::Failed(Box::new(end))),
            Some(settlement),
        );
    }

    fn end(&mut self, how: Settled, settlement: Option<Settlement>) {
        self.live.run().end();
        self.core.settled(&self.live, settlement);
        self.settled = Some(how);
    }

    /// Gives the run what it waits for, if that is to yield.
    fn deliver_yield(&mut self) {
        if self.wants_input && self.must_yield() {
            self.wants_input = false;
            self.live.run().deliver(Delivery::Yield);
        }
    }

    /// Whether the run is to yield rather than to take another input.
    fn must_yield(&self) -> bool {
        self.ladder != Ladder::Free || self.record.state() != State::Active
    }
}

#[cfg(test)]
mod tests {
    use super::{ActorRef, Message, Session, SessionActor};
    use ractor::Actor;

    /// The future of a handler is stored twice in every idle actor.
    #[test]
    fn the_handler_of_a_session_stays_small() {
        fn size<F>(_: impl Fn(ActorRef<Message>, Message, &'static mut Session) -> F) -> usize {
            size_of::<F>()
        }
        static ACTOR: SessionActor = SessionActor;
        let handle = size(|me, message, session| ACTOR.handle(me, message, session));
        assert!(handle <= 24, "{handle} bytes");
        assert!(size_of::<Session>() <= 384, "{} bytes", size_of::<Session>());
        assert!(size_of::<Message>() <= 96, "{} bytes", size_of::<Message>());
    }
}
