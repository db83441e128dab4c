//! The supervisor: the front door of a worker.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    builder::Builder,
    children::{self, Birth},
    health::Health,
    model::ids::{Kind, RunId, SessionId},
    report::ShutdownReport,
    runtime::{
        core::{Core, Life},
        error::{SendError, SessionError, StartError},
        op::{NewSession, Op, Started},
        recovery::RecoveryReport,
        shutdown,
    },
    session::{Session, SessionHandle},
    start::{Json, Request, Slot, Start},
    status::Status,
    store::{Key, Page, Query, Store, StoreError},
    workload::{
        Workload,
        threads::{CodeOwner, UserCode},
    },
};

/// Runs the sessions of one worker on one store. Clones share it.
///
/// When the last clone is dropped without [`shutdown`](Self::shutdown), that equals a crash: runs
/// are cancelled, the store is released, and the next start recovers. Handles to sessions keep
/// nothing alive.
#[derive(Clone)]
pub struct Supervisor {
    owner: Arc<Owner>,
}

/// What ends the worker when it is dropped.
struct Owner {
    core: Arc<Core>,
    recovered: watch::Receiver<Option<Arc<RecoveryReport>>>,
    shutdown: tokio::sync::Mutex<Option<watch::Receiver<Option<Arc<ShutdownReport>>>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.core.life() != Life::Ended {
            self.core.crash();
        }
    }
}

impl Supervisor {
    /// Begins to build a supervisor on a store.
    pub fn builder(store: impl Store) -> Builder {
        Builder::new(Arc::new(store))
    }

    pub(crate) fn new(
        core: Arc<Core>,
        recovered: watch::Receiver<Option<Arc<RecoveryReport>>>,
    ) -> Self {
        let shutdown = tokio::sync::Mutex::new(None);
        Self { owner: Arc::new(Owner { core, recovered, shutdown }) }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.owner.core
    }

    /// Ends the worker as a crash would, however many clones there are.
    #[cfg(feature = "testing")]
    pub(crate) fn crash(&self) {
        self.core().crash();
    }

    /// Starts a session. On return it is durable, with its first state and its first input: active
    /// if there was a place under `max_active`, else pending.
    ///
    /// # Errors
    /// [`StartError`]; unless it says otherwise, nothing was stored.
    ///
    /// # Cancel safety
    /// Once polled, dropping it withdraws nothing. With a [key](Start::key) the start can be
    /// repeated without harm.
    pub async fn start<W: Workload>(
        &self,
        start: Start<W>,
    ) -> Result<StartedSession<W>, StartError> {
        start_typed(self.core(), start, None).await
    }

    /// Starts a session whose state and input are JSON, for callers that know no types.
    ///
    /// # Errors
    /// As for [`start`](Self::start); a state or input that is not one of the kind is refused.
    pub async fn start_json(&self, start: Start<Json>) -> Result<(Session, Origin), StartError> {
        let kind = start.kind.clone().map_err(|_| no_such_kind::<Json>())?;
        let Some(workload) = self.core().registry.get(&kind) else {
            return Err(StartError::NoWorkload { kind });
        };
        let session = start.id.unwrap_or_else(|| self.core().clock.session_id());
        let owner = CodeOwner::new(session, None, kind.clone(), UserCode::Decode);
        let decoding = self.core().threads.enter(&owner);
        if let Ok(state) = &start.state {
            workload.check_state(state).map_err(|error| StartError::Invalid {
                session,
                kind: kind.clone(),
                source: Arc::from(error),
            })?;
        }
        if let Some(Ok(input)) = &start.input {
            workload.check_input(input).map_err(|error| SendError::invalid(session, error))?;
        }
        drop(decoding);
        start_any(self.core(), start, kind, None).await
    }

    /// Waits for a free place under `max_active` and keeps it: so a worker can claim a job only
    /// when it can begin it. Those who wait are served in order.
    ///
    /// # Errors
    /// [`ShuttingDown`] when the worker shuts down.
    ///
    /// # Cancel safety
    /// Wholly, but the turn is lost.
    pub async fn slot(&self) -> Result<Slot, ShuttingDown> {
        let core = self.core();
        tokio::select! {
            biased;
            () = core.draining() => Err(ShuttingDown),
            place = Arc::clone(&core.places).acquire_owned() => {
                place.map(Slot).map_err(|_| ShuttingDown)
            }
        }
    }

    /// A handle to a session, by id.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    pub async fn session(&self, id: SessionId) -> Result<Session, SessionError> {
        let status = crate::session::status(self.core(), id).await?;
        Ok(Session::new(Arc::clone(self.core()), id, status.kind().clone()))
    }

    /// A handle to the session that a key names; where several do, to the newest.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn find(&self, key: Key) -> Result<Option<Session>, FindError> {
        let found = self.core().store()?.find(key).await?;
        match found {
            None => Ok(None),
            Some(id) => match self.session(id).await {
                // It was deleted; its start key is still known.
                Err(SessionError::NotFound { .. }) => Ok(None),
                session => Ok(Some(session?)),
            },
        }
    }

    /// Records that match, newest first, a page at a time.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn list(&self, query: Query) -> Result<Page, StoreError> {
        self.core().store()?.list(query).await
    }

    /// How a session stands, by id; see [`Session::status`].
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    pub async fn status(&self, id: SessionId) -> Result<Status, SessionError> {
        crate::session::status(self.core(), id).await
    }

    /// How the worker does. It asks nobody, so it can be called from any thread, and answers
    /// while all others are blocked.
    pub fn health(&self) -> Health {
        Health::of(self.core())
    }

    /// Waits until what the last worker left has been taken up, and says what became of it.
    /// Sessions can be used before that.
    ///
    /// # Errors
    /// [`ShuttingDown`] if the worker ends first.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn recovered(&self) -> Result<Arc<RecoveryReport>, ShuttingDown> {
        let mut recovered = self.owner.recovered.clone();
        let report = recovered.wait_for(Option::is_some).await.map_err(|_| ShuttingDown)?;
        report.as_ref().map(Arc::clone).ok_or(ShuttingDown)
    }

    /// Shuts the worker down within a budget: nothing new is taken, every session is asked to
    /// yield at once, who does not is cancelled in time, and everything is committed. What did
    /// not come to rest is resumed from its last checkpoint by the next worker.
    ///
    /// Runs are cancelled when the last part of the budget begins: 5.5 s of a budget of 20 s or
    /// more, about a third of a smaller one. On return the store is closed, unless the budget was
    /// too short for that. A second call waits for the first and gives the same report.
    ///
    /// # Cancel safety
    /// Once polled, dropping it withdraws nothing, nor does dropping the last clone of the supervisor.
    pub async fn shutdown(&self, budget: Duration) -> Arc<ShutdownReport> {
        let mut running = self.owner.shutdown.lock().await;
        let mut report = match &*running {
            Some(report) => report.clone(),
            None => {
                let (done, report) = watch::channel(None);
                // What ends the worker must not be dropped while it is shut down.
                let owner = Arc::clone(&self.owner);
                tokio::spawn(async move {
                    let began = tokio::time::Instant::now();
                    let drained = shutdown::shut_down(Arc::clone(&owner.core), budget).await;
                    let report = ShutdownReport::new(drained, began.elapsed());
                    done.send_replace(Some(Arc::new(report)));
                });
                running.insert(report).clone()
            }
        };
        drop(running);
        match report.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(report)) => Arc::clone(report),
            // The runtime is going down with the task.
            Ok(None) | Err(_) => Arc::new(ShutdownReport::default()),
        }
    }
}

/// Starts a session: by a run of its parent, where one is named.
pub(crate) async fn start_typed<W: Workload>(
    core: &Arc<Core>,
    start: Start<W>,
    run: Option<RunId>,
) -> Result<StartedSession<W>, StartError> {
    let kind = start.kind.clone().map_err(|_| no_such_kind::<W>())?;
    if core.registry.get(&kind).is_none() {
        return Err(StartError::NoWorkload { kind });
    }
    if core.registry.typed::<W>(&kind).is_none() {
        return Err(StartError::WrongKind { kind });
    }
    let (session, origin) = start_any(core, start, kind, run).await?;
    let session = session.typed().map_err(StartError::Session)?;
    Ok(StartedSession::new(session, origin))
}

async fn start_any<W>(
    core: &Arc<Core>,
    start: Start<W>,
    kind: Kind,
    run: Option<RunId>,
) -> Result<(Session, Origin), StartError> {
    let has_new_id = start.id.is_none();
    let id = start.id.unwrap_or_else(|| core.clock.session_id());
    let Some(workload) = core.registry.get(&kind) else {
        return Err(StartError::NoWorkload { kind });
    };
    let (parent, on_parent) = (start.parent, start.on_parent);
    let request = start.into_request(core, id, &kind, workload.state_version())?;
    let started = match parent {
        None => ask_to_start(core, request, has_new_id).await?,
        Some(parent) => {
            children::start(core, Birth { parent, on_parent, run }, request, has_new_id).await?
        }
    };
    Ok(match started {
        Started::New => (Session::new(Arc::clone(core), id, kind), Origin::New),
        Started::Repeated(holder) => {
            (Session::new(Arc::clone(core), holder, kind), Origin::Repeated)
        }
    })
}

/// Has a session made.
pub(crate) async fn ask_to_start(
    core: &Arc<Core>,
    request: Request,
    has_new_id: bool,
) -> Result<Started, StartError> {
    let Request { record, snapshot, input, mut place } = request;
    crate::session::ask(core, record.id, |reply| {
        Op::Start(Box::new(NewSession {
            record: record.clone(),
            snapshot: Arc::clone(&snapshot),
            fork: None,
            input: input.clone(),
            place: place.take(),
            has_new_id,
            reply,
        }))
    })
    .await
}

fn no_such_kind<W>() -> StartError {
    let kind = Kind::new(std::any::type_name::<W>().rsplit("::").next().unwrap_or("workload"));
    match kind {
        Ok(kind) => StartError::NoWorkload { kind },
        Err(_) => StartError::NoWorkload { kind: Kind::new("workload").expect("a valid kind") },
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("generation", &self.core().generation)
            .field("life", &self.core().life())
            .finish_non_exhaustive()
    }
}

/// A session that was started; it derefs to its handle.
pub struct StartedSession<W> {
    session: SessionHandle<W>,
    origin: Origin,
}

impl<W> StartedSession<W> {
    pub(crate) const fn new(session: SessionHandle<W>, origin: Origin) -> Self {
        Self { session, origin }
    }

    /// Whether this start made the session.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The handle.
    pub fn into_handle(self) -> SessionHandle<W> {
        self.session
    }
}

impl<W> Deref for StartedSession<W> {
    type Target = SessionHandle<W>;

    fn deref(&self) -> &SessionHandle<W> {
        &self.session
    }
}

impl<W> fmt::Debug for StartedSession<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedSession")
            .field("session", &self.session)
            .field("origin", &self.origin)
            .finish()
    }
}

/// Whether a start made its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It did.
    New,
    /// The key had been used for the same request: this is the session that it made then.
    Repeated,
}

/// The worker is shutting down, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker is shutting down")]
pub struct ShuttingDown;

/// Why a session, or a run of one, could not be looked up.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The index could not be read.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// The session could not be read, or refuses what was asked of it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No session of this store has had this run, or it was deleted.
    #[error("run {run}: there is no session that has had it")]
    NoSuchRun {
        /// The run that was asked for.
        run: RunId,
    },
}

impl From<StoreError> for FindError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

#[cfg(test)]
mod tests;
