//! Building a supervisor: what it runs, how, and what it finds.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::{Clock, wall::Wall},
    hooks::{HookOptions, SessionHooks},
    model::ids::{InvalidName, Kind, ReaderName},
    policy::{Policy, RecoverWhat, Retention},
    runtime::{
        agenda,
        checkpointer::Checkpointer,
        core::{Core, Parts},
        hooks::Hooks,
        recovery::{self, Pace},
        removal, room,
        sinks::{NamedSink, Sinks},
        statistics::Statistician,
        store_cell::StoreCell,
        supervisor::spawn_supervisor,
        watchdog::Watchdog,
    },
    sink::{Sink, SinkOptions},
    statistics::StatisticsOptions,
    store::{Guarded, Store, StoreError},
    supervisor::Supervisor,
    telemetry::Meters,
    workload::{Workload, erased::Registry, threads::Threads},
};

/// Builds a [`Supervisor`].
#[must_use = "a supervisor begins with `start`"]
pub struct Builder {
    store: Arc<dyn Store>,
    registry: Registry,
    trouble: Option<BuildError>,
    policy: Policy,
    max_active: Option<usize>,
    recover: RecoverWhat,
    retention: Retention,
    resume_at_once: usize,
    resume_jitter: Duration,
    sinks: Vec<NamedSink>,
    hooks: Option<Hooks>,
    statistician: Option<Statistician>,
    workloads: Option<tokio::runtime::Handle>,
    seed: Option<u64>,
    wall: Wall,
}

impl Builder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store: Arc::new(Guarded(store)),
            registry: Registry::default(),
            trouble: None,
            policy: Policy::default(),
            max_active: None,
            recover: RecoverWhat::default(),
            retention: Retention::default(),
            resume_at_once: 32,
            resume_jitter: Duration::from_millis(10),
            sinks: Vec::new(),
            hooks: None,
            statistician: None,
            workloads: None,
            seed: None,
            wall: Wall::default(),
        }
    }

    /// Registers a workload under its own kind.
    pub fn workload<W: Workload>(self, workload: W) -> Self {
        match Kind::new(W::KIND) {
            Ok(kind) => self.workload_as(kind, workload),
            Err(error) => self.troubled(BuildError::Kind(error)),
        }
    }

    /// Registers a workload under another kind, so that one type can serve several.
    pub fn workload_as<W: Workload>(mut self, kind: Kind, workload: W) -> Self {
        if self.registry.add(kind.clone(), workload) {
            self
        } else {
            self.troubled(BuildError::DuplicateKind { kind })
        }
    }

    /// Gives everything that happens to a [`Sink`], which has its place in the log under this name: see
    /// [`sink`](crate::sink).
    pub fn sink(self, name: impl Into<String>, sink: impl Sink) -> Self {
        self.sink_with(name, sink, SinkOptions::default())
    }

    /// The same, with options.
    pub fn sink_with(
        mut self,
        name: impl Into<String>,
        sink: impl Sink,
        options: SinkOptions,
    ) -> Self {
        let name = name.into();
        let reader = match ReaderName::new(format!("sink:{name}")) {
            Ok(reader) => reader,
            Err(error) => return self.troubled(BuildError::SinkName(error)),
        };
        if self.sinks.iter().any(|other| other.reader == reader) {
            return self.troubled(BuildError::DuplicateSink { name });
        }
        let least = Duration::from_millis(1);
        if options.interval < least || options.timeout < least {
            let setting = if options.interval < least { "sink.interval" } else { "sink.timeout" };
            return self.troubled(BuildError::Invalid { setting, must_be: "at least 1 ms" });
        }
        self.sinks.push(NamedSink { reader, name, sink: Arc::new(sink), options });
        self
    }

    /// Calls [`SessionHooks`] when sessions start, move and end: see [`hooks`](crate::hooks). Those that are given later replace
    /// these.
    pub fn hooks(self, hooks: impl SessionHooks) -> Self {
        self.hooks_with(hooks, HookOptions::default())
    }

    /// The same, with options.
    pub fn hooks_with(mut self, hooks: impl SessionHooks, options: HookOptions) -> Self {
        if options.timeout < Duration::from_millis(1) {
            let setting = "hooks.timeout";
            return self.troubled(BuildError::Invalid { setting, must_be: "at least 1 ms" });
        }
        if options.attempts == 0 {
            let setting = "hooks.attempts";
            return self.troubled(BuildError::Invalid { setting, must_be: "at least 1" });
        }
        self.hooks = Some(Hooks::new(Arc::new(hooks), options));
        self
    }

    /// Counts what happens, for [`Supervisor::statistics`]. The first worker that does reads the whole log once; what it has counted
    /// is kept in the store, at shutdown and every ten seconds (more rarely where it is much), so a later one goes on from there.
    pub fn statistics(mut self, options: StatisticsOptions) -> Self {
        self.statistician = Some(Statistician::new(options.labels));
        self
    }

    fn troubled(mut self, error: BuildError) -> Self {
        self.trouble.get_or_insert(error);
        self
    }

    /// The policy of sessions that have none of their own.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How many sessions may be active at once, at least 1 (default: any number). Further ones
    /// are pending, and begin in the order of their start.
    pub fn max_active(mut self, max_active: usize) -> Self {
        self.max_active = Some(max_active);
        self
    }

    /// Which sessions are resumed that another worker left (default: all but those that a person
    /// paused).
    pub fn recover(mut self, what: RecoverWhat) -> Self {
        self.recover = what;
        self
    }

    /// How many sessions a recovery resumes at once, at least 1 (default 32).
    pub fn resume_at_once(mut self, at_once: usize) -> Self {
        self.resume_at_once = at_once;
        self
    }

    /// The longest random wait before each of them (default 10 ms), so that what they use is not
    /// asked by all at the same moment.
    pub fn resume_jitter(mut self, jitter: Duration) -> Self {
        self.resume_jitter = jitter;
        self
    }

    /// How long sessions are kept that have ended (default: for good). Then they are [deleted](crate::Session::delete), with an
    /// event and a line in the trace that say so.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// A runtime for the workloads (default: the one that `start` is called on). With a runtime of
    /// its own, a workload that blocks all its threads cannot keep the supervisor from working. What
    /// workloads hold is closed there too. See [`Health::blocked_threads`](crate::Health::blocked_threads).
    pub fn workload_runtime(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.workloads = Some(runtime);
        self
    }

    /// The seed of everything random, which is jitter (default: a random one).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// A wall clock to use in place of the system's.
    #[cfg(feature = "testing")]
    pub fn wall_clock(mut self, clock: crate::clock::wall::WallClock) -> Self {
        self.wall = Wall::Played(clock);
        self
    }

    /// Starts the supervisor: registers a new worker generation in the store, looks at what the
    /// last one left, and begins to take it up. That goes on in the background, see
    /// [`Supervisor::recovered`].
    ///
    /// # Errors
    /// [`BuildError`]; nothing in the store was changed, except that its last worker is recorded
    /// as ended.
    ///
    /// # Cancel safety
    /// Dropping it equals a crash of a worker that had just begun.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    pub async fn start(self) -> Result<Supervisor, BuildError> {
        if let Some(error) = self.trouble {
            return Err(error);
        }
        if self.max_active == Some(0) {
            return Err(BuildError::Invalid { setting: "max_active", must_be: "at least 1" });
        }
        if self.resume_at_once == 0 {
            return Err(BuildError::Invalid { setting: "resume_at_once", must_be: "at least 1" });
        }
        let generation = self.wall.new_generation();
        let opened = self.store.begin(generation).await?;
        let clock = Clock::new(opened.supervised, self.wall);
        let store = StoreCell::new(self.store);
        let meters = Meters::begin();
        let (checkpointer, serve) =
            Checkpointer::new(store.clone(), generation, clock.clone(), meters.clone());
        let threads = Arc::new(Threads::default());
        let (watchdog, answers) = Watchdog::start(Arc::clone(&threads), clock.clone());
        let runtime = tokio::runtime::Handle::current();
        let core = Arc::new(Core::new(Parts {
            clock,
            generation,
            others: opened.others,
            recover: self.recover,
            retention: self.retention,
            registry: self.registry,
            policy: Arc::new(self.policy),
            checkpointer,
            store,
            sinks: self.sinks,
            hooks: self.hooks,
            statistician: self.statistician,
            max_active: self.max_active.unwrap_or(usize::MAX),
            workloads: self.workloads.unwrap_or_else(|| runtime.clone()),
            runtime,
            threads,
            watchdog,
            meters,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }));
        let sentinel = core.clock.clone();
        core.keep_engine(tokio::spawn(serve).abort_handle());
        core.keep_engine(tokio::spawn(sentinel.run()).abort_handle());
        let alarms = core.alarms.clone().run(core.clock.clone(), core.meters.clone());
        core.keep_engine(tokio::spawn(alarms).abort_handle());
        core.keep_engine(tokio::spawn(answers).abort_handle());
        let (done, recovered) = watch::channel(None);
        // From here on an error, or dropping this future, ends what was begun.
        let supervisor = Supervisor::new(Arc::clone(&core), recovered);
        Sinks::begin(&core).await?;
        Hooks::begin(&core).await?;
        Statistician::begin(&core);
        let work = recovery::survey(&core).await?;
        spawn_supervisor(&core).await;
        let pace = Pace { at_once: self.resume_at_once, jitter: self.resume_jitter };
        let recovering = recovery::recover(Arc::clone(&core), work, pace);
        let recovery = tokio::spawn(async move {
            done.send_replace(Some(Arc::new(recovering.await)));
        });
        core.keep_agenda(recovery.abort_handle());
        core.keep_agenda(tokio::spawn(agenda::time_out(Arc::clone(&core))).abort_handle());
        core.keep_agenda(tokio::spawn(removal::retain(Arc::clone(&core))).abort_handle());
        core.keep_agenda(tokio::spawn(removal::purge(Arc::clone(&core))).abort_handle());
        core.keep_agenda(tokio::spawn(removal::trim(Arc::clone(&core))).abort_handle());
        core.keep_agenda(tokio::spawn(room::keep(Arc::clone(&core))).abort_handle());
        core.ready.notify_one();
        Ok(supervisor)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_active", &self.max_active)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Why a supervisor did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The kind of a workload is not a valid name.
    #[error("a workload has an invalid kind")]
    Kind(#[source] InvalidName),
    /// Two workloads have the same kind.
    #[error("two workloads are registered for kind {kind:?}; use `workload_as` for one of them")]
    DuplicateKind {
        /// The kind.
        kind: Kind,
    },
    /// The name of a sink is not a valid one.
    #[error("a sink has an invalid name")]
    SinkName(#[source] InvalidName),
    /// Two sinks have the same name.
    #[error("two sinks are named {name:?}; each has its place in the log under a name of its own")]
    DuplicateSink {
        /// The name.
        name: String,
    },
    /// A setting cannot be used.
    #[error("invalid setting: {setting} must be {must_be}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What it must be.
        must_be: &'static str,
    },
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
