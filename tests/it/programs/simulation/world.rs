//! One seed: some lives of a worker on one store, and what is left at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use sessionkeeper::{
    Event, Fact, ShutdownOutcome, Supervisor, WorkerGeneration,
    process::{Launcher, ProcessWorkload, StreamJson},
    store::{MemoryStore, Store},
    testing::{FaultyStore, Interference},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{
    TALLY,
    deeds::{Caller, Shared},
    faults::{Fault, Faults},
    kinds::SECRET,
    looks::Looker,
};
use crate::{
    oracle::{
        find,
        ledger::{Book, Entry, Sight},
        programs::{Alive, Program, Rest, judge},
    },
    simulation::{dice, tables::Table},
};

/// How much longer than its budget a shutdown may take on a machine that does other things.
const SLACK: Duration = Duration::from_secs(5);

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// All that the worker has in memory is gone at once. The process goes on, in which its programs were started.
    Lose,
    /// The same, and the next worker begins when nothing of it is alive.
    LoseAndWait,
    /// The supervisor is dropped, and its runtime goes on for a while.
    Drop,
    ShutDown(Duration),
    /// Everything heals, every session is brought to its end, and then the worker shuts down.
    Drain,
}

impl End {
    /// The names of all that there are.
    pub(super) const NAMES: [&str; 5] = ["Lose", "LoseAndWait", "Drop", "ShutDown", "Drain"];

    const fn name(self) -> &'static str {
        match self {
            Self::Lose => "Lose",
            Self::LoseAndWait => "LoseAndWait",
            Self::Drop => "Drop",
            Self::ShutDown(_) => "ShutDown",
            Self::Drain => "Drain",
        }
    }
}

/// What came of a seed.
pub(super) struct Judged {
    pub(super) wrong: Vec<String>,
    pub(super) trace: String,
}

pub(super) struct World {
    seed: u64,
    store: MemoryStore,
    book: Book,
    pub(super) looker: Looker,
    pub(super) shared: Arc<Mutex<Shared>>,
}

/// What one life is like.
struct Life<'a> {
    number: u64,
    dice: fastrand::Rng,
    /// When it ends, if the store does not crash before.
    span: Duration,
    end: End,
    /// Where programs work.
    folder: &'a Path,
}

/// Plays a seed, and judges what is left.
pub(super) fn play(seed: u64) -> Judged {
    let book = Book::default();
    book.keep_notes();
    let (store, looker) = (MemoryStore::new(), Looker::new(book.clone()));
    let world = World { seed, store, looker, shared: Arc::default(), book };
    let mut wrong = match catch_unwind(AssertUnwindSafe(|| world.play())) {
        Ok(wrong) => wrong,
        Err(_) => vec!["it panicked".to_owned()],
    };
    wrong.append(&mut world.shared.lock().unwrap().wrong);
    Judged { wrong, trace: world.book.trace() }
}

impl World {
    fn play(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut choice = dice(self.seed, "lives with programs", 0);
        let lives = choice.u64(1..4);
        {
            let _looking = self.looker.keep_looking();
            for number in 0..=lives {
                let mut dice = dice(self.seed, "life with programs", number);
                let end = match dice.u8(0..8) {
                    _ if number == lives => End::Drain,
                    0 | 1 => End::Lose,
                    2 => End::LoseAndWait,
                    3 => End::Drop,
                    _ => End::ShutDown(Duration::from_millis([0, 100, 3000][dice.usize(0..3)])),
                };
                let longest = [200, 600, 1500][dice.usize(0..3)];
                let span = Duration::from_millis(dice.u64(0..longest));
                self.live(Life { number, dice, span, end, folder: folder.path() });
            }
        }
        runtime(false).block_on(self.judge())
    }

    fn live(&self, mut life: Life<'_>) {
        let runtime = runtime(life.dice.bool());
        let faults = Faults::new(self.seed, life.number, self.book.clone());
        if matches!(life.end, End::Drain) {
            faults.end();
        }
        // What earlier workers have left is known to be theirs.
        self.looker.look();
        self.book.enter(Entry::Program(Program::Begins));
        self.book.note(|| format!("life {}: {:?}", life.number, life.end));
        let crash = Arc::new(Notify::new());
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = crash.notified() => {}
                () = self.go_through(&mut life, &faults, &crash) => {}
            }
        });
        TALLY.count(life.end.name());
        self.book.enter(Entry::Program(Program::Ends));
        faults.end();
        drop(runtime);
        self.book.enter(Entry::Lost);
        match life.end {
            End::LoseAndWait => {
                let runtime = self::runtime(false);
                runtime.block_on(self.wait_until_gone("of a lost worker"));
            }
            End::Lose | End::Drop | End::ShutDown(_) | End::Drain => {}
        }
    }

    async fn go_through(&self, life: &mut Life<'_>, faults: &Faults, crash: &Arc<Notify>) {
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
        let Some(supervisor) = start(life, &store, faults).await else { return };
        let most_sessions = 2 + (self.seed % 5) as usize;
        let caller = |dice| Caller {
            supervisor: supervisor.clone(),
            book: self.book.clone(),
            looker: self.looker.clone(),
            shared: Arc::clone(&self.shared),
            faults: faults.clone(),
            folder: life.folder.to_owned(),
            dice,
            most_sessions,
        };
        let tasks: Vec<_> = match life.end {
            End::Drain => Vec::new(),
            End::Lose | End::LoseAndWait | End::Drop | End::ShutDown(_) => {
                let callers = (0..life.dice.usize(1..4)).map(|_| caller(life.dice.fork()));
                callers.map(|caller| tokio::spawn(act(caller))).collect()
            }
        };
        match life.end {
            End::Lose | End::LoseAndWait => tokio::time::sleep(life.span).await,
            End::Drop => {
                tokio::time::sleep(life.span).await;
                for task in &tasks {
                    task.abort();
                }
                for task in tasks {
                    let _ = task.await;
                }
                self.book.enter(Entry::Program(Program::Ends));
                drop(supervisor);
                tokio::time::sleep(Duration::from_millis(life.dice.u64(0..300))).await;
            }
            End::ShutDown(budget) => {
                tokio::time::sleep(life.span).await;
                self.shut_down(&supervisor, budget).await;
                tasks.iter().for_each(tokio::task::JoinHandle::abort);
            }
            End::Drain => {
                self.drain(&mut caller(life.dice.fork())).await;
                if !self.shut_down(&supervisor, Duration::from_secs(30)).await {
                    self.wrong("a calm shutdown left a session unsettled".to_owned());
                }
            }
        }
    }

    /// `false` if a session did not come to rest.
    async fn shut_down(&self, supervisor: &Supervisor, budget: Duration) -> bool {
        let asked = self.book.len();
        self.book.enter(Entry::Program(Program::Ends));
        let report = supervisor.shutdown(budget).await;
        let mut rested = Vec::new();
        for line in &report.lines {
            if let (ShutdownOutcome::Rested { .. }, Some(record)) = (&line.outcome, &line.record) {
                rested.push((line.session, Sight::from(&**record)));
                // A run that was abandoned may be alive, and what was frozen when the budget ran out.
                if !record.abandoned.is_empty() || report.took > budget.mul_f64(0.9) {
                    continue;
                }
                let session = line.session;
                self.book.enter(Entry::Program(Program::Told {
                    session,
                    asked,
                    rest: Rest::ShutDown,
                }));
            }
        }
        let all = rested.len() == report.lines.len();
        self.looker.look();
        let took = report.took.saturating_sub(SLACK);
        self.book.enter(Entry::ShutDown { budget, took, rested });
        all
    }

    pub(super) fn wrong(&self, what: String) {
        self.shared.lock().unwrap().wrong.push(what);
    }

    async fn judge(&self) -> Vec<String> {
        self.wait_until_gone("in the end").await;
        self.store.begin(WorkerGeneration::from_uuid(uuid::Uuid::max())).await.unwrap();
        self.wait_until_reaped(&self.started().await).await;
        judge(&self.store, &self.book.read()).await
    }

    /// The processes that were seen and whose start is told. One that was started just when its runtime was lost is killed,
    /// and nobody has a handle to reap it by.
    async fn started(&self) -> Vec<Alive> {
        let mut pids = BTreeSet::new();
        for session in find(&self.store).await.unwrap().values() {
            for event in &session.log {
                if let Fact::Work(Event::Custom { name, data }) = &event.fact
                    && name == "process_started"
                {
                    pids.extend(data["pid"].as_i64());
                }
            }
        }
        let mut seen: BTreeMap<_, Alive> = BTreeMap::new();
        for entry in self.book.read().0 {
            if let Entry::Program(Program::Sees { alive, .. }) = entry {
                seen.extend(alive.into_iter().map(|one| ((one.pid, one.began), one)));
            }
        }
        seen.into_values().filter(|one| pids.contains(&i64::from(one.pid))).collect()
    }
}

fn runtime(with_threads: bool) -> Runtime {
    let mut builder = match with_threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    builder.worker_threads(2).enable_all().build().unwrap()
}

async fn start(
    life: &mut Life<'_>,
    store: &FaultyStore<MemoryStore>,
    faults: &Faults,
) -> Option<Supervisor> {
    for _ in 0..50 {
        let secrets = {
            let faults = faults.clone();
            move |name: &str| {
                let is_known = name == SECRET && !faults.strikes(Fault::SecretIsUnknown);
                is_known.then(|| "not very secret".to_owned())
            }
        };
        let programs = ProcessWorkload::new(Launcher::new().unwrap()).secrets(secrets);
        let builder = Supervisor::builder(store.clone())
            .workload(programs.map_json(StreamJson::default()))
            .seed(life.dice.u64(..))
            .resume_at_once(life.dice.usize(1..4));
        match builder.start().await {
            Ok(supervisor) => return Some(supervisor),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    None
}

/// What one caller does, until its life ends.
async fn act(mut caller: Caller) {
    loop {
        let deed = caller.step().await;
        TALLY.count(deed.name());
    }
}
