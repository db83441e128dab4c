//! What everybody in a worker shares.

use std::{
    any::Any,
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use futures::future::OptionFuture;
use ractor::ActorRef;
use tokio::{
    sync::{Notify, Semaphore},
    task::AbortHandle,
};

use super::{
    alarms::Alarms,
    checkpointer::Checkpointer,
    draft::Moment,
    family::Bearing,
    hooks::Hooks,
    hub::Hub,
    kept::Kept,
    live::{Directory, Live, Settlement},
    op::Op,
    sinks::{NamedSink, Sinks},
    statistics::Statistician,
    store_cell::StoreCell,
    supervisor,
    tail::Tail,
    watchdog::Watchdog,
};
use crate::{
    clock::Clock,
    faults::{self, Bug},
    model::{
        event::EventRecord,
        ids::{ReaderName, SessionId, WorkerGeneration},
        record::{Lane, SessionRecord},
        state::{Phase, State},
        time::WorkerTime,
    },
    policy::{Policy, RecoverWhat, Retention},
    store::{Store, StoreError},
    telemetry::{self, Meters},
    workload::{erased::Registry, threads::Threads},
};

/// One worker: from the start of its supervisor to the end.
pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) generation: WorkerGeneration,
    /// Other workers that are alive on the store.
    pub(crate) others: Vec<WorkerGeneration>,
    pub(crate) recover: RecoverWhat,
    pub(crate) retention: Retention,
    pub(crate) registry: Registry,
    pub(crate) policy: Arc<Policy>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) directory: Directory,
    pub(crate) alarms: Alarms,
    pub(crate) hub: Hub,
    pub(crate) tail: Tail,
    pub(crate) kept: Kept,
    pub(crate) sinks: Sinks,
    pub(crate) hooks: Option<Arc<Hooks>>,
    pub(crate) statistician: Option<Arc<Statistician>>,
    /// The places under `max_active`.
    pub(crate) places: Arc<Semaphore>,
    /// Told when a session may have become ready to run.
    pub(crate) ready: Notify,
    /// Told when a session may have to be timed out earlier than was known.
    pub(crate) timeouts: Notify,
    /// Told when an alarm may ring earlier than was known.
    pub(crate) sleepers: Notify,
    /// Told when there is something to remove.
    pub(crate) removals: Notify,
    /// Told when there are events to remove of a session that goes on.
    pub(crate) trims: Notify,
    /// Told when sessions may hold more than they did, where that has a limit.
    pub(crate) grown: Notify,
    /// Told when a session may owe something to its children or its parent.
    pub(crate) owing: Notify,
    /// Who starts children, of which parent.
    pub(crate) bearing: Bearing,
    /// The runtime of the supervisor itself.
    pub(crate) runtime: tokio::runtime::Handle,
    /// The runtime that workloads run on.
    pub(crate) workloads: tokio::runtime::Handle,
    life: Mutex<Life>,
    /// Told when it takes nothing new any more. Those who wait are woken in their order.
    drains: Notify,
    /// The threads that call the code of users.
    pub(crate) threads: Arc<Threads>,
    pub(crate) watchdog: Watchdog,
    pub(crate) meters: Meters,
    /// When a shutdown cancels whoever has not yielded.
    pub(crate) cancels_at: OnceLock<WorkerTime>,
    store: StoreCell,
    supervisor: OnceLock<ActorRef<supervisor::Message>>,
    random: Mutex<fastrand::Rng>,
    tasks: Mutex<Tasks>,
}

/// The tasks of a worker that are not actors.
#[derive(Default)]
struct Tasks {
    /// What commits need: they run to the very end.
    engine: Vec<AbortHandle>,
    /// What begins something new: they end when the shutdown begins.
    agenda: Vec<AbortHandle>,
}

/// How far a worker has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Life {
    /// It takes requests.
    Running,
    /// It shuts down, and takes nothing new.
    Draining,
    /// It is over.
    Ended,
}

/// What a core is made of.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) generation: WorkerGeneration,
    pub(crate) others: Vec<WorkerGeneration>,
    pub(crate) recover: RecoverWhat,
    pub(crate) retention: Retention,
    pub(crate) registry: Registry,
    pub(crate) policy: Arc<Policy>,
    pub(crate) checkpointer: Checkpointer,
    pub(crate) store: StoreCell,
    pub(crate) sinks: Vec<NamedSink>,
    pub(crate) hooks: Option<Hooks>,
    pub(crate) statistician: Option<Statistician>,
    pub(crate) max_active: usize,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) workloads: tokio::runtime::Handle,
    pub(crate) threads: Arc<Threads>,
    pub(crate) watchdog: Watchdog,
    pub(crate) meters: Meters,
    pub(crate) seed: u64,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            clock: parts.clock,
            generation: parts.generation,
            others: parts.others,
            recover: parts.recover,
            retention: parts.retention,
            registry: parts.registry,
            policy: parts.policy,
            checkpointer: parts.checkpointer,
            directory: Directory::default(),
            alarms: Alarms::default(),
            hub: Hub::default(),
            tail: Tail::default(),
            kept: Kept::default(),
            sinks: Sinks::new(parts.sinks),
            hooks: parts.hooks.map(Arc::new),
            statistician: parts.statistician.map(Arc::new),
            places: Arc::new(Semaphore::new(parts.max_active.min(Semaphore::MAX_PERMITS))),
            ready: Notify::new(),
            timeouts: Notify::new(),
            sleepers: Notify::new(),
            removals: Notify::new(),
            trims: Notify::new(),
            grown: Notify::new(),
            owing: Notify::new(),
            bearing: Bearing::default(),
            runtime: parts.runtime,
            workloads: parts.workloads,
            threads: parts.threads,
            watchdog: parts.watchdog,
            meters: parts.meters,
            life: Mutex::new(Life::Running),
            drains: Notify::new(),
            cancels_at: OnceLock::new(),
            store: parts.store,
            supervisor: OnceLock::new(),
            random: Mutex::new(fastrand::Rng::with_seed(parts.seed)),
            tasks: Mutex::default(),
        }
    }

    /// The worker, for those who must not keep it.
    pub(crate) fn as_worker(self: &Arc<Self>) -> Weak<dyn Any + Send + Sync> {
        let worker: Weak<Self> = Arc::downgrade(self);
        worker
    }

    /// The store, as long as the worker has it.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.store.get()
    }

    /// Lets go of the store.
    pub(crate) fn release_store(&self) -> Option<Arc<dyn Store>> {
        self.store.release()
    }

    /// The record of a session that is there: none of one that was deleted.
    pub(crate) async fn load(
        &self,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let loaded = self.store()?.load(session).await?;
        Ok(loaded.filter(|record| !record.is_deleted()))
    }

    /// Whether a worker that a record names is known to be gone.
    pub(crate) fn is_lost(&self, worker: WorkerGeneration) -> bool {
        worker != self.generation && !self.others.contains(&worker)
    }

    /// Whether a resume of a session may wait for a place: it does not run, and could.
    pub(crate) fn may_wait_for_place(&self, record: &SessionRecord) -> bool {
        if record.is_deleted() {
            return false;
        }
        match &record.phase {
            Phase::Paused { .. } | Phase::Stopped => true,
            Phase::Active { worker, .. } => self.is_lost(*worker),
            Phase::Pending { .. }
            | Phase::Stopping { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Expired => false,
        }
    }

    /// The names of those who read the log for this worker.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &ReaderName> {
        let hooks = self.hooks.as_deref().map(Hooks::reader);
        let statistician = self.statistician.as_deref().map(Statistician::reader);
        self.sinks.readers().chain(hooks).chain(statistician)
    }

    /// Lets them come to their end: they do what can be done at once. Cancel safe.
    pub(crate) async fn finish_readers(&self) {
        let hooks = OptionFuture::from(self.hooks.as_deref().map(Hooks::finish));
        let statistics = OptionFuture::from(self.statistician.as_deref().map(Statistician::finish));
        tokio::join!(self.sinks.finish(), hooks, statistics);
    }

    /// Now, for a draft.
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            wall: self.clock.wall(),
            supervised: self.clock.supervised(),
            worker: self.generation,
        }
    }

    /// A number between 0 and 1.
    pub(crate) fn random(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).f64()
    }

    /// The policy of a session: its own, or the supervisor's.
    pub(crate) fn policy_of(&self, record: &SessionRecord) -> Arc<Policy> {
        record
            .policy
            .as_ref()
            .map_or_else(|| Arc::clone(&self.policy), |own| Arc::new(Policy::clone(own)))
    }

    pub(crate) fn life(&self) -> Life {
        *self.lock_life()
    }

    pub(crate) fn set_life(&self, life: Life) {
        let mut present = self.lock_life();
        *present = life.max(*present);
        drop(present);
        self.drains.notify_waiters();
    }

    /// Waits until the worker takes nothing new any more.
    pub(crate) async fn draining(&self) {
        loop {
            let mut told = pin!(self.drains.notified());
            told.as_mut().enable();
            if self.life() != Life::Running {
                return;
            }
            told.await;
        }
    }

    fn lock_life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self, supervisor: ActorRef<supervisor::Message>) {
        // There is one supervisor for each core.
        let _ = self.supervisor.set(supervisor);
    }

    pub(crate) fn supervisor(&self) -> Option<&ActorRef<supervisor::Message>> {
        self.supervisor.get()
    }

    /// Tells the supervisor. Where it is gone, the worker is over and the message is dropped.
    pub(crate) fn tell(&self, message: supervisor::Message) {
        if let Some(supervisor) = self.supervisor() {
            let _ = supervisor.send_message(message);
        }
    }

    /// Passes a request to whoever keeps the session now.
    pub(crate) fn route(&self, session: SessionId, op: Op) {
        let op = match self.directory.pin().get(&session) {
            Some(live) => match live.send(op) {
                Ok(()) => return,
                Err(op) => op,
            },
            None => op,
        };
        self.tell(supervisor::Message::Route { session, op });
    }

    /// Makes a commit of a live session visible.
    pub(crate) fn publish(&self, live: &Live, record: &Arc<SessionRecord>, events: &[EventRecord]) {
        live.show_record(record);
        self.announce(record, events);
    }

    /// Makes a commit visible.
    pub(crate) fn announce(&self, record: &Arc<SessionRecord>, events: &[EventRecord]) {
        telemetry::committed(record, events);
        self.hub.publish(record, events);
        if !events.is_empty() {
            self.tail.told();
            self.sinks.committed(record, events);
        }
        let unheard = faults::planted(Bug::LoseWakeUp) && record.state() == State::Paused;
        if record.due(Lane::Ready).is_some() && !unheard {
            self.ready.notify_one();
        }
        if record.due(Lane::Timeout).is_some() && !faults::planted(Bug::ForgetNewTimeout) {
            self.timeouts.notify_one();
        }
        if record.due(Lane::Family).is_some() {
            self.owing.notify_one();
        }
        if record.is_deleted() {
            self.removals.notify_one();
        }
        if self.retention.most_bytes().is_some() {
            self.grown.notify_one();
        }
        if record.due(Lane::Trim).is_some() {
            self.trims.notify_one();
        }
        if record.due(Lane::Alarm).is_some() && !faults::planted(Bug::ForgetNewAlarm) {
            self.sleepers.notify_one();
        }
    }

    /// Whether a session has an actor.
    pub(crate) fn has_actor(&self, session: SessionId) -> bool {
        self.directory.pin().contains_key(&session)
    }

    /// An actor has come to its end.
    pub(crate) fn settled(&self, live: &Live, settlement: Option<Settlement>) {
        // A stop may have to wait until what the run left is closed.
        if settlement.as_ref().is_none_or(|left| left.record.state() != State::Stopping) {
            self.meters.withdrawn(live.run().session());
        }
        if let Some(settlement) = settlement {
            live.leave(settlement);
        }
        self.directory.pin().remove(&live.run().session());
    }

    /// Keeps a task that runs until the worker ends.
    pub(crate) fn keep_engine(&self, task: AbortHandle) {
        self.lock_tasks().engine.push(task);
    }

    /// Keeps a task that runs until the shutdown begins.
    pub(crate) fn keep_agenda(&self, task: AbortHandle) {
        let mut tasks = self.lock_tasks();
        if self.life() == Life::Running {
            tasks.agenda.push(task);
        } else {
            task.abort();
        }
    }

    /// Begins nothing new any more.
    pub(crate) fn close_agenda(&self) {
        for task in self.lock_tasks().agenda.drain(..) {
            task.abort();
        }
    }

    fn lock_tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another worker has the store: nothing can be committed any more, so nothing goes on.
    pub(crate) fn taken_over(&self) {
        self.set_life(Life::Draining);
        self.close_agenda();
        self.tell(supervisor::Message::Cancel);
    }

    /// Ends the worker as a crash would: runs are cancelled, the store is released, nothing is
    /// committed any more.
    pub(crate) fn crash(&self) {
        self.set_life(Life::Ended);
        self.close_agenda();
        for task in self.lock_tasks().engine.drain(..) {
            task.abort();
        }
        // In an order of its own, so that a test can repeat what happened.
        let directory = self.directory.pin();
        let live: BTreeMap<_, _> = directory.iter().collect();
        for live in live.values() {
            if !faults::planted(Bug::LeaveRunsOfDroppedWorker) {
                live.run().end();
            }
        }
        drop(directory);
        if let Some(supervisor) = self.supervisor() {
            supervisor.kill();
        }
        self.directory.pin().clear();
        self.drop_all_held();
        self.hub.close();
        self.tail.close();
        self.watchdog.stop();
        self.meters.end();
        // Not closed, only let go of: with the tasks that end now, its last user is gone. A store
        // that lives on elsewhere may have its next user already.
        drop(self.release_store());
    }
}
