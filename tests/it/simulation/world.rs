//! One seed: some lives of a worker on one store, and what is left at the end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta};
use futures::FutureExt;
use sessionkeeper::{
    Lifecycle, RecoverWhat, Removal, ShutdownOutcome, StatisticsOptions, Supervisor,
    WorkerGeneration,
    store::{MemoryStore, Store},
    testing::{FaultyStore, Interference, WallClock},
};
use tokio::{runtime::Runtime, sync::Notify, task::JoinHandle, time::Instant};

use super::{
    Judged, TALLY,
    deeds::{Caller, SECOND, Shared, statistics::LABEL},
    dice,
    faults::{Faults, set_present},
    follower::{Followed, follow},
    looks::Looker,
    outside::{self, Outside},
    panics,
    player::Player,
    policies,
    tables::Table,
};
use crate::oracle::{
    self,
    ledger::{Book, Entry, Sight},
};

/// Long after everything that the library or a workload may still be about.
pub(super) const SETTLED: Duration = Duration::from_secs(2 * 3600);

/// The newest version of the workload, which the last worker has.
const NEWEST: u32 = 2;

/// As what it is counted that sessions were deleted to make room.
pub(super) const FOR_SPACE: &str = "Space";

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// The process is gone at once, with all that it had in memory.
    Crash,
    /// The supervisor is dropped, and the process goes on.
    Drop,
    ShutDown(Duration),
    /// Everything heals, every session is worked off, and then the worker shuts down.
    Drain,
}

impl End {
    /// The names of all that there are.
    pub(super) const NAMES: [&str; 4] = ["Crash", "Drop", "ShutDown", "Drain"];

    const fn name(self) -> &'static str {
        match self {
            Self::Crash => "Crash",
            Self::Drop => "Drop",
            Self::ShutDown(_) => "ShutDown",
            Self::Drain => "Drain",
        }
    }
}

pub(super) struct World {
    seed: u64,
    store: MemoryStore,
    pub(super) book: Book,
    pub(super) shared: Arc<Mutex<Shared>>,
    followed: Arc<Mutex<Followed>>,
    pub(super) outside: Arc<Mutex<Outside>>,
}

/// What one life is like.
struct Life {
    number: u64,
    dice: fastrand::Rng,
    /// When it ends, if nobody crashes it before.
    span: Duration,
    end: End,
}

/// Plays a seed, and judges what is left.
pub(super) fn play(seed: u64, with_notes: bool) -> Judged {
    let world = World {
        seed,
        store: MemoryStore::new(),
        book: Book::default(),
        shared: Arc::default(),
        followed: Arc::default(),
        outside: Arc::default(),
    };
    if with_notes {
        world.book.keep_notes();
    }
    panics::begin();
    let whole = catch_unwind(AssertUnwindSafe(|| world.play()));
    set_present(None);
    whole.unwrap_or_else(|_| Judged {
        wrong: panics::unplanned(),
        lines: Vec::new(),
        trace: world.book.trace(),
    })
}

impl World {
    fn play(&self) -> Judged {
        let seed = self.seed;
        let mut choice = dice(seed, "lives", 0);
        let lives = choice.u64(1..5);
        for number in 0..=lives {
            let mut dice = dice(seed, "life", number);
            let end = if number == lives {
                End::Drain
            } else {
                match dice.u8(0..10) {
                    0..5 => End::Crash,
                    5..7 => End::Drop,
                    _ => End::ShutDown(Duration::from_millis(
                        [0, 40, 700, 3000, 20_000][dice.usize(0..5)],
                    )),
                }
            };
            let span = Duration::from_millis(match dice.u8(0..4) {
                0 => dice.u64(0..60),
                1 => dice.u64(0..2000),
                _ => dice.u64(0..12_000),
            });
            let life = Life { number, span, end, dice };
            match choice.u8(0..2) {
                0 if number < lives => self.live::<1>(life),
                _ => self.live::<NEWEST>(life),
            }
        }
        self.judge()
    }

    fn live<const V: u32>(&self, mut life: Life) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let faults = Faults::new(self.seed, life.number, self.book.clone());
        if matches!(life.end, End::Drain) {
            faults.end();
        }
        set_present(Some(faults.clone()));
        self.book.note(|| format!("life {}: version {V}, {:?}", life.number, life.end));
        let crash = Arc::new(Notify::new());
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                () = crash.notified() => false,
                () = self.go_through::<V>(&mut life, &faults, &crash) => true,
            }
        });
        TALLY.count(life.end.name());
        if ended && !matches!(life.end, End::Crash) {
            self.count_leftovers(&runtime);
        }
        faults.end();
        let before = self.book.read().0.len();
        drop(runtime);
        self.book.sort_from(before);
        set_present(None);
        self.book.enter(Entry::Lost);
    }

    async fn go_through<const V: u32>(
        &self,
        life: &mut Life,
        faults: &Faults,
        crash: &Arc<Notify>,
    ) {
        let clock = self.clock(life.number);
        clock.delay_timers({
            let faults = faults.clone();
            move || faults.lateness()
        });
        let store = FaultyStore::new(self.store.clone());
        store.inject({
            let (faults, crash) = (faults.clone(), Arc::clone(crash));
            move |call| {
                let interference = faults.interfere(call);
                if matches!(interference, Interference::Crash { .. }) {
                    crash.notify_one();
                }
                interference
            }
        });
        let Some(supervisor) = self.start::<V>(life, &store, &clock).await else { return };
        let looker = Looker {
            supervisor: supervisor.clone(),
            store: self.store.clone(),
            clock: clock.clone(),
            faults: faults.clone(),
            book: self.book.clone(),
            began: Instant::now(),
        };
        looker.look().await;
        let tasks: Vec<_> = match life.end {
            End::Drain => Vec::new(),
            End::Crash | End::Drop | End::ShutDown(_) => {
                let callers = life.dice.usize(1..4);
                let steps = life.dice.usize(4..24);
                let alone = Arc::default();
                let most_sessions = 2 + (self.seed % 5) as usize;
                (0..callers)
                    .map(|_| {
                        let caller = Caller::<V> {
                            supervisor: supervisor.clone(),
                            store: self.store.clone(),
                            clock: clock.clone(),
                            book: self.book.clone(),
                            shared: Arc::clone(&self.shared),
                            alone: Arc::clone(&alone),
                            dice: life.dice.fork(),
                            most_sessions,
                            keeps_all_events: policies::kept_events(self.seed).is_none(),
                            may_end: life.dice.bool(),
                        };
                        tokio::spawn(act(caller, steps))
                    })
                    .collect()
            }
        };
        let whose = dice(self.seed, "follower", life.number);
        let following = follow(supervisor.clone(), Arc::clone(&self.followed), whose);
        let following = tokio::spawn(following);
        let looking = tokio::spawn(looker.go_on());
        match life.end {
            End::Drain if life.dice.bool() => self.calm::<V>(&supervisor, &mut life.dice).await,
            End::Drain => {}
            End::Crash | End::Drop | End::ShutDown(_) => tokio::time::sleep(life.span).await,
        }
        looking.abort();
        let _ = looking.await;
        match life.end {
            End::Crash => {}
            End::Drop => {
                following.abort();
                let _ = following.await;
                for task in &tasks {
                    task.abort();
                }
                for task in tasks {
                    let _ = task.await;
                }
                drop(supervisor);
            }
            End::ShutDown(budget) => {
                self.shut_down(&supervisor, budget).await;
                for task in tasks {
                    let _ = task.await;
                }
                self.ends(following).await;
            }
            End::Drain => {
                self.drain(&supervisor).await;
                let rested = self.shut_down(&supervisor, 60 * SECOND).await;
                if !rested {
                    self.wrong("a calm shutdown left a session unsettled".to_owned());
                }
                self.ends(following).await;
            }
        }
    }

    /// Who follows a worker is told of its end.
    async fn ends(&self, following: JoinHandle<()>) {
        if tokio::time::timeout(SETTLED, following).await.is_err() {
            self.wrong("a follower has not heard that its worker is over".to_owned());
        }
    }

    /// A clock that no other life shares, far from theirs: no id is made twice.
    fn clock(&self, life: u64) -> WallClock {
        let life = i64::try_from(life).unwrap();
        let began = DateTime::from_timestamp(1_800_000_000 + life, 7_000_000).unwrap();
        WallClock::starting_at(began + TimeDelta::days(50 * life))
    }

    async fn start<const V: u32>(
        &self,
        life: &mut Life,
        store: &FaultyStore<MemoryStore>,
        clock: &WallClock,
    ) -> Option<Supervisor> {
        let mut whose = dice(self.seed, "supervisor", life.number);
        for _ in 0..50 {
            let mut builder = Supervisor::builder(store.clone())
                .workload(Player::<V>(self.book.clone()))
                .wall_clock(clock.clone())
                .policy(policies::policy(&mut whose))
                .retention(policies::retention(self.seed))
                .seed(whose.u64(..))
                .resume_at_once(whose.usize(1..4))
                .statistics(StatisticsOptions::default().label(LABEL));
            let is_limited = whose.u8(0..3) == 0;
            if is_limited {
                builder = builder.max_active(whose.usize(1..4));
            }
            builder = builder.recover(match whose.u8(0..4) {
                _ if matches!(life.end, End::Drain) => RecoverWhat::All,
                0 => RecoverWhat::ShutdownOnly,
                1 => RecoverWhat::Nothing,
                _ => RecoverWhat::All,
            });
            let dice = dice(self.seed, "outside", life.number);
            let may_fail = !matches!(life.end, End::Drain);
            builder = outside::connect(builder, &self.outside, dice, may_fail);
            match AssertUnwindSafe(builder.start()).catch_unwind().await {
                Ok(Ok(supervisor)) => {
                    let resumes_all = !is_limited && V == NEWEST;
                    self.book.enter(Entry::Begun { resumes_all });
                    return Some(supervisor);
                }
                Ok(Err(error)) => self.book.note(|| format!("not started: {error}")),
                Err(_) => self.book.note(|| "a start panicked".to_owned()),
            }
            tokio::time::sleep(SECOND).await;
        }
        None
    }

    /// `false` if a session did not come to rest.
    async fn shut_down(&self, supervisor: &Supervisor, budget: Duration) -> bool {
        let frozen = self.shared.lock().unwrap().frozen;
        let report = supervisor.shutdown(budget).await;
        let frozen = self.shared.lock().unwrap().frozen - frozen;
        let mut rested = Vec::new();
        for line in &report.lines {
            if let (ShutdownOutcome::Rested { state, .. }, Some(record)) =
                (&line.outcome, &line.record)
            {
                if record.state() != *state {
                    self.wrong(format!("{line} in a report, and {record:?}"));
                }
                rested.push((line.session, Sight::from(&**record)));
            }
        }
        let all = rested.len() == report.lines.len();
        let took = report.took.saturating_sub(frozen);
        self.book.enter(Entry::ShutDown { budget, took, rested });
        all
    }

    /// Nothing of a worker that is over goes on.
    fn count_leftovers(&self, runtime: &Runtime) {
        runtime.block_on(async { tokio::time::sleep(SETTLED).await });
        let left = runtime.metrics().num_alive_tasks();
        if left > 0 {
            self.wrong(format!("{left} tasks are left of a worker that is over"));
        }
    }

    pub(super) fn wrong(&self, what: String) {
        self.shared.lock().unwrap().wrong.push(what);
    }

    fn judge(&self) -> Judged {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ledger = self.book.read();
        let mut wrong = std::mem::take(&mut self.shared.lock().unwrap().wrong);
        wrong.extend(panics::unplanned());
        let generation = WorkerGeneration::from_uuid(uuid::Uuid::max());
        let found = runtime.block_on(async {
            self.store.begin(generation).await.unwrap();
            let outside = std::mem::take(&mut *self.outside.lock().unwrap());
            let (judged, found) =
                oracle::judge_beside(&self.store, &ledger, outside.history()).await;
            wrong.extend(judged);
            let followed = std::mem::take(&mut *self.followed.lock().unwrap());
            wrong.extend(followed.judge(&self.store, &found).await);
            wrong.extend(outside.judge(&found));
            let facts = found.stories().flat_map(|(_, story)| story.lifecycle());
            let for_space =
                |what: &Lifecycle| matches!(what, Lifecycle::Deleted { by: Removal::Space, .. });
            if facts.filter(|(_, what)| for_space(what)).count() > 0 {
                TALLY.count(FOR_SPACE);
            }
            found
        });
        let mut lines: Vec<String> = ledger.0.iter().map(Entry::to_line).collect();
        let records = found.values().map(|session| serde_json::to_string(&session.record));
        lines.extend(records.map(Result::unwrap));
        let logs = found.stories().map(|(session, story)| (session, &story.log));
        lines.extend(logs.map(|log| serde_json::to_string(&log).unwrap()));
        Judged { wrong, lines, trace: self.book.trace() }
    }
}

/// What one caller does.
async fn act<const V: u32>(mut caller: Caller<V>, steps: usize) {
    for _ in 0..steps {
        // What the store or the workload was told to do may take a caller down.
        if let Ok(deed) = AssertUnwindSafe(caller.step()).catch_unwind().await {
            TALLY.count(deed.name());
        }
    }
}
