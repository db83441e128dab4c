//! The untyped half of a context: what a run can say and hear without knowing its state.

use std::{
    any::Any,
    fmt,
    future::Future,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::guards::{Asking, AwaitingGuard, BusyGuard};
use super::line::{Ask, Request, RunParts, YieldRequest};
use super::{
    error::{BusyError, EmitError, RunError},
    facts::{FactBuffer, Weight},
    hold::{Held, Holding, Resource},
    inbox::{Delivery, Draft},
    signs::{Declaration, Signs},
    steps::StepBook,
    threads::{CodeOwner, Part, Threads, UserCode, Watched},
};
use crate::{
    model::{
        event::Event,
        ids::{ExternalId, RunId, SessionId},
        inbox::MovedInput,
        step::{StoredStep, Turn},
        time::WorkerTime,
        usage::Usage,
    },
    policy::liveness::Doing,
    sync::{Mutex, MutexGuard},
};

mod ending;
mod interrupts;
mod notes;
mod turns;
mod urgent;

pub(crate) use self::interrupts::Marked;

/// What a run waits for when its commits do not come back.
const STORE: &str = "the store";

/// One run of a session, as its workload sees it: a cheap, cloneable handle that can be moved
/// into tasks and closures. [`Context`](super::Context) derefs to it.
///
/// A run that was fenced (its session was ended, or moved on without it) can change nothing any
/// more: what can fail says so, what cannot is dropped.
#[derive(Clone)]
pub struct Run {
    inner: Arc<Inner>,
}

struct Inner {
    parts: RunParts,
    /// Whose code it is that the run's threads are in.
    owner: Arc<CodeOwner>,
    signs: Signs,
    shared: Mutex<Shared>,
    /// Told whenever something changed that the run may be waiting for.
    changed: Notify,
}

#[derive(Default)]
struct Shared {
    ask: Ask,
    fenced: bool,
    delivery: Option<Delivery>,
    /// Whether there is no input for the run: it may rest.
    parked: bool,
    in_hand: Option<u64>,
    /// The last turn that is over.
    over: Turn,
    /// The steps of turns that are not over; most runs have none.
    steps: Option<Box<StepBook>>,
    /// The inputs that were begun in another session.
    moved: Box<[MovedInput]>,
    interrupts: interrupts::Interrupts,
    aside: Option<Box<urgent::Aside>>,
    facts: FactBuffer,
    /// What the session knows of the notes that wait.
    told: notes::Told,
    tasks: Vec<AbortHandle>,
    /// What the run holds, the last at the end.
    held: Vec<Holding>,
    /// What the run before it left, and this one has not taken.
    left: Vec<Holding>,
}

impl Run {
    /// The session.
    pub fn session(&self) -> SessionId {
        self.inner.parts.session
    }

    /// The run itself.
    pub fn id(&self) -> RunId {
        self.inner.parts.run
    }

    /// Records an event. It is durable and visible within 100 ms, at the latest with the next
    /// checkpoint or transition, and is kept whatever becomes of the turn. It counts as a sign of
    /// life.
    ///
    /// Waits only while the buffer of the run (512 KiB) is full.
    ///
    /// # Errors
    /// [`EmitError`]; the event was not taken.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the event was not taken.
    pub async fn emit(&self, event: Event) -> Result<(), EmitError> {
        let weight = Weight::of(&event).map_err(|reason| self.not_taken(reason))?;
        let mut event = Some(event);
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.push(weight, || event.take().expect("it is taken once")) {
                Err(EmitError::Full { .. }) => {
                    let _waiting = self.awaiting_store();
                    changed.await;
                }
                Ok(()) => return Ok(()),
                Err(
                    error @ (EmitError::TooLarge { .. }
                    | EmitError::TooDeep { .. }
                    | EmitError::Fenced { .. }),
                ) => return Err(error),
            }
        }
    }

    /// Records an event as [`emit`](Self::emit) does, or says that the buffer is full.
    ///
    /// # Errors
    /// [`EmitError`]; the event was not taken.
    pub fn try_emit(&self, event: &Event) -> Result<(), EmitError> {
        let weight = Weight::of(event).map_err(|reason| self.not_taken(reason))?;
        self.push(weight, || event.clone())
    }

    /// Adds to the usage of the session. It is kept as an event is, never waits, and counts as a
    /// sign of life. A fenced run adds nothing.
    pub fn record_usage(&self, usage: Usage) {
        self.heartbeat();
        self.note(|facts, at, input| facts.push_usage(at, input, usage));
    }

    /// Sets the external correlation id of the session, such as the agent's own session id. It is
    /// kept as an event is. A fenced run sets nothing.
    pub fn set_external_id(&self, id: ExternalId) {
        self.note(|facts, at, input| facts.push_external_id(at, input, id));
    }

    /// Now, in the time that deadlines are told in: `deadline.since(run.now())` is what is left.
    pub fn now(&self) -> WorkerTime {
        self.inner.parts.clock.worker()
    }

    /// Gives a sign of life: one atomic store.
    pub fn heartbeat(&self) {
        self.inner.signs.beat(self.inner.parts.clock.worker());
    }

    /// Runs a future that may be silent for up to `limit` of worker time. The session is not
    /// taken for dead meanwhile; afterwards a full fresh heartbeat window begins.
    ///
    /// # Errors
    /// [`BusyError`] past the limit, or where the turn is [interrupted](Self::interrupted): the future was
    /// dropped, and the session lives. A workload that returns [`BusyError::Interrupted`] gives up its turn:
    /// the next run begins at once, from the last commit, and nothing counts as a failure.
    ///
    /// # Cancel safety
    /// As cancel safe as the future.
    pub async fn busy<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, BusyError> {
        let guard = self.busy_guard(limit);
        let heard = self.heard_interrupts();
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.interrupted_after(heard) => Err(BusyError::Interrupted),
            () = self.inner.parts.clock.sleep_until(guard.until()) => Err(BusyError::Lapsed { limit }),
        }
    }

    /// Declares a silent operation of up to `limit` that ends when the guard is dropped. Past the
    /// limit the heartbeat counts again, with a full fresh window.
    pub fn busy_guard(&self, limit: Duration) -> BusyGuard {
        let until = self.inner.parts.clock.worker().after(limit);
        let token = self.inner.signs.begin_busy(until);
        BusyGuard::new(self.clone(), token, until)
    }

    /// Declares that the run waits for a person, until the guard is dropped. That has no limit.
    pub fn awaiting(&self, reason: impl Into<String>) -> AwaitingGuard {
        let token = self.inner.signs.begin_awaiting(reason.into());
        AwaitingGuard::new(self.clone(), token)
    }

    /// Gives something outside the run's memory into the run's keeping: however the run ends, it
    /// is [closed](Resource::close) before the session is reported at rest. What was held last is
    /// closed first.
    pub fn hold<T: Resource>(&self, resource: T) -> Held<T> {
        let resource = Arc::new(resource);
        self.lock().held.push(Holding::new(&resource, None));
        Held::new(resource)
    }

    /// Holds a resource as [`hold`](Self::hold) does, but lets it stay while the session is
    /// paused, for up to `limit` of worker time: a run that yields because the session is paused,
    /// or because it has nothing to do, leaves it to the session's next run, which can
    /// [take](Self::take_held) it. It is closed when the limit is over, when the session is
    /// stopped or ends, when the worker shuts down, and however else the run ends. It never
    /// outlives its process.
    pub fn hold_while_paused<T: Resource>(&self, resource: T, limit: Duration) -> Held<T> {
        let resource = Arc::new(resource);
        self.lock().held.push(Holding::new(&resource, Some(limit)));
        Held::new(resource)
    }

    /// Takes what the session's last run left of this type, if it is still there: a warm start.
    /// From now on this run holds it, under the same limit. With `None` the start is cold.
    pub fn take_held<T: Resource>(&self) -> Option<Held<T>> {
        let mut shared = self.lock();
        let at = shared.left.iter().position(|holding| holding.typed::<T>().is_some())?;
        let holding = shared.left.remove(at);
        let resource = holding.typed()?;
        shared.held.push(holding);
        Some(Held::new(resource))
    }

    /// Spawns a task that ends with the run: it is aborted when the run ends.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let owner = self.inner.owner.elsewhere(UserCode::Task);
        let task = tokio::spawn(Watched::new(self.threads(), &owner, future));
        let mut shared = self.lock();
        shared.tasks.retain(|task| !task.is_finished());
        shared.tasks.push(task.abort_handle());
        task
    }

    /// Waits until the run is asked to yield, and says why and by when. A run that is cancelled
    /// is not asked any more.
    ///
    /// # Cancel safety
    /// Wholly: the request stays.
    pub async fn yield_requested(&self) -> YieldRequest {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.ask() {
                Ask::Yield(request) => return request,
                Ask::GoOn | Ask::Cancel => changed.await,
            }
        }
    }

    /// Whether the run is asked to yield.
    pub fn is_yield_requested(&self) -> bool {
        match self.ask() {
            Ask::Yield(_) => true,
            Ask::GoOn | Ask::Cancel => false,
        }
    }

    fn ask(&self) -> Ask {
        self.lock().ask
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.inner.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the context.
impl Run {
    pub(super) fn request(&self, request: Request) {
        self.inner.parts.port.send(request);
    }

    /// Declares that the run waits for the store: however long that takes, it is not silence.
    pub(super) fn awaiting_store(&self) -> AwaitingGuard {
        self.awaiting(STORE)
    }

    /// Says that a part of the workload's code is entered, until the guard is dropped.
    pub(super) fn in_part(&self, code: UserCode) -> Part<'_> {
        self.inner.owner.in_part(code)
    }

    pub(super) fn max_snapshot_bytes(&self) -> u64 {
        self.inner.parts.max_snapshot_bytes
    }

    pub(super) fn fenced_error(&self) -> RunError {
        RunError::Fenced { session: self.session(), run: self.id() }
    }

    pub(super) fn take_delivery(&self) -> Option<Delivery> {
        self.lock().delivery.take()
    }

    /// Ends what a guard declared.
    pub(super) fn undeclare(&self, token: u64) {
        self.inner.signs.end(token, self.inner.parts.clock.worker());
    }

    pub(super) fn begin_next(&self) {
        let shared = self.lock();
        self.inner.signs.begin_next(shared.parked, self.inner.parts.clock.worker());
    }

    pub(super) fn end_next(&self) {
        self.inner.signs.end_next(self.inner.parts.clock.worker());
    }

    pub(super) fn put_in_hand(&self, input: Option<u64>) {
        self.lock().in_hand = input;
    }

    /// Waits for whatever the run may be waiting for.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.inner.changed.notified()
    }

    /// Asks the session for the next input, and to commit this before.
    pub(super) fn ask_for_next(&self, draft: Option<Draft>) {
        self.lock().parked = false;
        self.request(Request::Next(draft));
    }

    pub(super) fn has_delivery(&self) -> bool {
        self.lock().delivery.is_some()
    }

    /// Waits for a delivery: first for the commit that ends the turn, then at rest.
    pub(super) async fn delivery(&self) -> Result<Delivery, RunError> {
        let _asking = Asking::begin(self);
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(delivery) = self.take_delivery() {
                return Ok(delivery);
            }
            if self.lock().fenced {
                return Err(self.fenced_error());
            }
            changed.await;
        }
    }
}

/// The side of the session.
impl Run {
    pub(crate) fn new(parts: RunParts, over: Turn, steps: Vec<StoredStep>) -> Self {
        let kind = parts.kind.clone();
        let steps = StepBook::of(steps);
        let owner = CodeOwner::new(parts.session, Some(parts.run), kind, UserCode::Run);
        let run = Self {
            inner: Arc::new(Inner {
                parts,
                owner,
                signs: Signs::default(),
                shared: Mutex::new(Shared { over, steps, ..Shared::default() }),
                changed: Notify::new(),
            }),
        };
        run.heartbeat();
        run
    }

    /// Whose code it is that the run's threads are in.
    pub(crate) fn owner(&self) -> &Arc<CodeOwner> {
        &self.inner.owner
    }

    /// The worker, as long as there is one.
    pub(crate) fn worker(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.inner.parts.worker.upgrade()
    }

    /// The threads that call the code of users.
    pub(crate) fn threads(&self) -> &Arc<Threads> {
        &self.inner.parts.threads
    }

    pub(crate) fn doing(&self) -> Doing {
        self.inner.signs.doing()
    }

    pub(crate) fn declaration(&self) -> Declaration {
        self.inner.signs.declaration()
    }

    /// Hands over a delivery. One that is not picked up waits for the next call.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        let mut shared = self.lock();
        shared.delivery = Some(delivery);
        shared.parked = false;
        // Who looks at the run before it was woken must not take it for one with nothing to do.
        self.inner.signs.unpark();
        drop(shared);
        self.inner.changed.notify_waiters();
    }

    /// There is no input: the run may rest until there is.
    pub(crate) fn park(&self) {
        let mut shared = self.lock();
        shared.parked = true;
        self.inner.signs.park(self.inner.parts.clock.worker());
    }

    /// Takes a delivery back that was not picked up.
    pub(crate) fn take_back(&self) -> Option<Delivery> {
        self.take_delivery()
    }

    pub(crate) fn set_ask(&self, ask: Ask) {
        self.lock().ask = ask;
        self.inner.changed.notify_waiters();
    }

    /// Waits until the run is to be gone.
    pub(crate) async fn cancelled(&self) {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.ask() {
                Ask::Cancel => return,
                Ask::GoOn | Ask::Yield(_) => changed.await,
            }
        }
    }

    /// From now on the run can change nothing.
    pub(crate) fn fence(&self) {
        self.lock().fenced = true;
        self.inner.changed.notify_waiters();
    }

    /// Fences the run and cancels it.
    pub(crate) fn end(&self) {
        self.fence();
        self.set_ask(Ask::Cancel);
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("session", &self.session())
            .field("run", &self.id())
            .finish_non_exhaustive()
    }
}
