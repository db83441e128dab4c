//! Races: two things that happen at nearly the same moment, in as many ways as a seed can tell.
//!
//! Each race is a scenario with exact claims about what may be answered and what the log must say
//! then. [`on_paused_time`] runs it on one thread and paused time: the first seeds try every offset
//! around the critical moment, in milliseconds and in yields, and on top of that each seed lets the
//! store give way and take its time. [`on_threads`] runs it on four threads, in real time.
//!
//! `SESSIONKEEPER_RACES` says how many seeds each race tries, and `SESSIONKEEPER_RACE=<seed>` tries
//! one alone.

#![allow(clippy::print_stderr, reason = "it says which seed failed")]

mod deletes;
mod ends;
mod known;
mod racer;
mod rests;
mod rollovers;
mod trims;
mod worker;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    Activity, Backoff, Builder, Cause, Fact, Lifecycle, Limit, Policy, PolicyBuilder,
    RestartPolicy, SessionError, SessionHandle, Start, State, Status, Supervisor,
    store::MemoryStore,
    testing::{self, Call, FaultyStore, Interference, audit},
};
use tokio::{runtime::Runtime, task::yield_now, time::Instant};

use self::racer::{Racer, Turn};
use crate::support::number;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything in a race may take.
const HANGS: Duration = Duration::from_secs(60);
/// How far from the critical moment a race begins, at most: so many milliseconds or yields.
const OFFSETS: u64 = 6;
const YIELDS: u64 = 9;

/// One try of a race.
pub(crate) struct Race {
    random: Mutex<fastrand::Rng>,
    /// Milliseconds before (below [`OFFSETS`]) or after the critical moment, and then yields.
    offset: u64,
    yields: u64,
    /// Whether time is real, and threads are many.
    real: bool,
    pub(crate) store: FaultyStore<MemoryStore>,
    pub(crate) racer: Racer,
}

impl Race {
    fn new(seed: u64, real: bool) -> Self {
        let race = Self {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            offset: seed % (2 * OFFSETS + 1),
            yields: seed / (2 * OFFSETS + 1) % YIELDS,
            real,
            store: FaultyStore::new(MemoryStore::new()),
            racer: Racer::default(),
        };
        let mut random = fastrand::Rng::with_seed(seed);
        // The first seeds meet a store that answers at once: there the offsets are exact.
        let calm = seed < (2 * OFFSETS + 1) * YIELDS;
        race.store.inject(move |call| match random.u8(0..10) {
            _ if calm || call == Call::Begin => Interference::None,
            0..4 => Interference::Yield(random.u32(1..6)),
            4 if !real => {
                Interference::Delay { before: MS * random.u32(0..3), after: MS * random.u32(0..3) }
            }
            _ => Interference::None,
        });
        race
    }

    /// A number that the seed chooses.
    pub(crate) fn choose(&self, below: u64) -> u64 {
        self.random.lock().unwrap().u64(0..below)
    }

    /// Starts a worker.
    pub(crate) async fn worker(&self, set: impl FnOnce(Builder) -> Builder) -> Supervisor {
        let builder = Supervisor::builder(self.store.clone()).workload(self.racer.clone());
        let builder = builder.resume_jitter(Duration::ZERO).seed(7);
        soon(set(builder).start()).await.unwrap()
    }

    /// Starts a session.
    pub(crate) async fn session(
        &self,
        worker: &Supervisor,
        set: impl FnOnce(Start<Racer>) -> Start<Racer>,
    ) -> SessionHandle<Racer> {
        soon(worker.start(set(Start::new(Vec::new())))).await.unwrap().into_handle()
    }

    /// Comes about the critical moment, which is so far from now.
    pub(crate) async fn about(&self, span: Duration) {
        let moment = Instant::now() + span;
        if self.real {
            let late = Duration::from_micros(self.choose(600));
            let moment = (moment + late).checked_sub(Duration::from_micros(300)).unwrap();
            while Instant::now() < moment {
                yield_now().await;
            }
        } else {
            let after = MS * u32::try_from(self.offset).unwrap();
            let before = MS * u32::try_from(OFFSETS).unwrap();
            tokio::time::sleep_until((moment + after).checked_sub(before).unwrap()).await;
        }
        for _ in 0..self.yields {
            yield_now().await;
        }
    }

    /// Gives way to others for a while that the seed chooses.
    pub(crate) async fn dawdle(&self) {
        for _ in 0..self.choose(12) {
            yield_now().await;
        }
    }

    /// Waits until a session stands as it should.
    pub(crate) async fn until(
        &self,
        session: &SessionHandle<Racer>,
        is: impl Fn(&Status) -> bool,
    ) -> Status {
        let late = Instant::now() + HANGS;
        loop {
            let status = session.status().await.unwrap();
            if is(&status) {
                return status;
            }
            assert!(Instant::now() < late, "it does not come to this: {status:#?}");
            if self.real {
                yield_now().await;
            } else {
                tokio::time::sleep(MS).await;
            }
        }
    }

    /// Waits until a run waits for its input. On slow threads it may have done so for too long.
    pub(crate) async fn idle(&self, session: &SessionHandle<Racer>) {
        let is_idle = |status: &Status| *status.activity() == Activity::Idle;
        self.until(session, |status| is_idle(status) || self.is_over(status)).await;
    }

    fn is_over(&self, status: &Status) -> bool {
        self.real && !matches!(status.state(), State::Pending | State::Active)
    }

    /// Waits until a run has an input in hand and works on it.
    pub(crate) async fn at_work(&self, session: &SessionHandle<Racer>) {
        let at_work = |status: &Status| {
            *status.activity() == Activity::Running && status.record().inbox.in_hand.is_some()
        };
        self.until(session, at_work).await;
    }

    /// Waits until every run is gone.
    pub(crate) async fn until_none_is_alive(&self) {
        soon(async {
            while self.racer.alive() > 0 {
                yield_now().await;
            }
        })
        .await;
    }

    /// Nothing is wrong in the store, and no session ever had two runs at once. Whatever the race
    /// left behind is dropped with its runtime first: an audit reads one thing after the other.
    fn judge(&self, runtime: Runtime) {
        drop(runtime);
        self.store.mend();
        let wrong = testing::block_on(audit(&self.store));
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(self.racer.twice(), 0, "two runs of one session were alive at once");
    }
}

/// Runs a race with many seeds on paused time. `outcomes` are those that it must have had: else the
/// offsets lie on one side of the critical moment.
pub(crate) fn on_paused_time<F>(outcomes: &[&str], race: impl Fn(Arc<Race>) -> F)
where
    F: Future<Output = &'static str>,
{
    let only = number("SESSIONKEEPER_RACE");
    let seeds = only.map_or(0..number("SESSIONKEEPER_RACES").unwrap_or(130), |seed| seed..seed + 1);
    let mut seen = BTreeMap::new();
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let told = Told { seed };
        let this = Arc::new(Race::new(seed, false));
        let outcome = runtime.block_on(race(Arc::clone(&this)));
        this.judge(runtime);
        *seen.entry(outcome).or_insert(0) += 1;
        drop(told);
    }
    let missed: Vec<_> = outcomes.iter().filter(|outcome| !seen.contains_key(**outcome)).collect();
    assert!(missed.is_empty() || only.is_some(), "never seen: {missed:?} among {seen:?}");
    let unknown: Vec<_> = seen.keys().filter(|seen| !outcomes.contains(seen)).collect();
    assert!(unknown.is_empty(), "not expected: {unknown:?}");
}

/// Runs a race some times on four threads.
pub(crate) fn on_threads<F>(race: impl Fn(Arc<Race>) -> F)
where
    F: Future<Output = &'static str>,
{
    let rounds = number("SESSIONKEEPER_RACES").unwrap_or(130).div_ceil(10);
    for seed in 0..rounds {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_time()
            .build()
            .unwrap();
        // Beyond those that need a calm store.
        let told = Told { seed };
        let this = Arc::new(Race::new(seed + 1000, true));
        runtime.block_on(race(Arc::clone(&this)));
        this.judge(runtime);
        drop(told);
    }
}

/// Says which seed it was, when a race panics.
struct Told {
    seed: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SESSIONKEEPER_RACE={} fails", self.seed);
        }
    }
}

/// Fails a race that would wait for ever.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANGS, future).await.expect("it ends")
}

/// A policy in which nothing happens by itself.
pub(crate) fn quiet(set: impl FnOnce(PolicyBuilder) -> PolicyBuilder) -> Policy {
    let builder = Policy::builder().heartbeat_timeout(Limit::Never).idle_timeout(Limit::Never);
    set(builder).build().unwrap()
}

/// Restarts after this wait, as often as anybody likes.
pub(crate) fn restarts_after(wait: Duration) -> RestartPolicy {
    let backoff = Backoff { initial: wait, factor: 1.0, max: wait, jitter: 0.0 };
    RestartPolicy {
        max_restarts: 1000,
        max_without_checkpoint: 1000,
        backoff,
        ..RestartPolicy::default()
    }
}

/// An input that takes so long and is then added.
pub(crate) fn turn(takes: Duration) -> Turn {
    Turn { takes, then: racer::Then::Add }
}

/// The moves of a session, as its log has them.
pub(crate) async fn moves(session: &SessionHandle<Racer>) -> Vec<(State, State, Cause)> {
    let log = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
    let moved = |fact: &Fact| match fact {
        Fact::Lifecycle(Lifecycle::StateChanged { from, to, cause, .. }) => {
            Some((*from, *to, *cause))
        }
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
    };
    log.iter().filter_map(|event| moved(&event.fact)).collect()
}

/// From where a move was refused.
pub(crate) fn refused_from<T>(answer: &Result<T, SessionError>) -> Option<State> {
    match answer {
        Err(SessionError::Refused(refused)) => Some(refused.from),
        Ok(_) | Err(_) => None,
    }
}

/// The verb that won.
pub(crate) fn superseded_by<T>(answer: &Result<T, SessionError>) -> Option<&'static str> {
    match answer {
        Err(SessionError::Superseded { by, .. }) => Some(by),
        Ok(_) | Err(_) => None,
    }
}
