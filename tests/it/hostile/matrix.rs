//! Every callback with every misdeed, under every verb: nobody else notices, control answers, the
//! report is honest, and the next worker goes on from what was committed.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::join_all};
use sessionkeeper::{
    Backoff, Policy, RestartPolicy, RunEnd, SessionHandle, ShutdownOutcome, ShutdownReport,
    SnapshotEnvelope, Start, State, Supervisor, Workload,
    store::{MemoryStore, Query, Store},
};
use tokio::runtime::Handle;

use super::trap::{
    Callback::{self, *},
    Cargo, Hostile,
    Misdeed::{self, *},
    Parcel, Trap,
};
use crate::guarantees::kit::{OwnRuntime, millis, run_ends, secs};

type New = Hostile<2>;
const NEW: New = Hostile;

/// Where it goes wrong, how, and how the run then ends that is asked to stop. A new cell is a new line.
const CELLS: &[(Callback, Misdeed, &str)] = &[
    (RunStart, Error, "failed"),
    (RunStart, Panic, "panicked"),
    (RunStart, Bomb, "panicked"),
    (RunStart, Hang, "cancelled"),
    (RunStart, Block, "abandoned"),
    (MidTurn, Error, "failed"),
    (MidTurn, Panic, "panicked"),
    (MidTurn, Bomb, "panicked"),
    (MidTurn, Hang, "cancelled"),
    (MidTurn, Block, "abandoned"),
    (AfterYield, Error, "failed"),
    (AfterYield, Panic, "panicked"),
    (AfterYield, Bomb, "panicked"),
    (AfterYield, Hang, "cancelled"),
    (AfterYield, Block, "abandoned"),
    (Close, Panic, "yielded"),
    (Close, Bomb, "yielded"),
    (Close, Hang, "yielded"),
    (Close, Block, "abandoned"),
    (CloseHeld, Panic, "yielded"),
    (CloseHeld, Bomb, "yielded"),
    (CloseHeld, Hang, "yielded"),
    (CloseHeld, Block, "abandoned"),
    (EncodeState, Error, "failed"),
    (EncodeState, Panic, "panicked"),
    (EncodeState, Bomb, "panicked"),
    (EncodeState, Block, "abandoned"),
    (DecodeState, Error, "failed"),
    (DecodeState, Panic, "panicked"),
    (DecodeState, Bomb, "panicked"),
    (DecodeState, Block, "abandoned"),
    (Migrate, Error, "failed"),
    (Migrate, Panic, "panicked"),
    (Migrate, Bomb, "panicked"),
    (Migrate, Block, "abandoned"),
    (DecodeInput, Error, "failed"),
    (DecodeInput, Panic, "panicked"),
    (DecodeInput, Bomb, "panicked"),
    (DecodeInput, Block, "abandoned"),
    (DropState, Panic, "yielded"),
    (DropState, Bomb, "yielded"),
    (DropState, Block, "abandoned"),
    (DropInput, Panic, "panicked"),
    (DropInput, Bomb, "panicked"),
    (DropInput, Block, "abandoned"),
    (DropHeld, Panic, "yielded"),
    (DropHeld, Bomb, "yielded"),
    (DropHeld, Block, "abandoned"),
    (DropFuture, Panic, "panicked"),
    (DropFuture, Bomb, "panicked"),
    (DropFuture, Block, "abandoned"),
];

/// What is done to the session then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Stop,
    Kill,
    Pause,
    Shutdown,
    Crash,
}

const VERBS: [Verb; 5] = [Verb::Stop, Verb::Kill, Verb::Pause, Verb::Shutdown, Verb::Crash];

const GRACE: Duration = secs(1);

/// Misdeeds that need no thread, on virtual time.
#[tokio::test(start_paused = true)]
async fn nobody_else_suffers_from_what_a_workload_does() {
    let mut bad = Vec::new();
    for cell in CELLS.iter().filter(|(_, misdeed, _)| *misdeed != Block) {
        for verb in VERBS {
            bad.extend(passes(Cell { of: *cell, verb, workloads: None }).await.err());
        }
    }
    assert!(bad.is_empty(), "{} bad cells:\n{}", bad.len(), bad.join("\n"));
}

/// Blocked threads, in real time: all at once, each with a runtime of its own for workloads.
#[tokio::test]
async fn nobody_else_suffers_from_a_blocked_thread() {
    let cells = CELLS.iter().filter(|(_, misdeed, _)| *misdeed == Block);
    let all = cells.flat_map(|cell| VERBS.map(|verb| (*cell, verb))).map(|(of, verb)| async move {
        let own = OwnRuntime::new();
        passes(Cell { of, verb, workloads: Some(own.handle()) }).await
    });
    let bad: Vec<_> = join_all(all).await.into_iter().filter_map(Result::err).collect();
    assert!(bad.is_empty(), "{} bad cells:\n{}", bad.len(), bad.join("\n"));
}

/// Checks a cell, and gives its name if it is bad: one does not hide the others.
async fn passes(cell: Cell) -> Result<(), String> {
    let name = cell.to_string();
    let checked = tokio::time::timeout(secs(300), AssertUnwindSafe(cell.check()).catch_unwind());
    checked.await.unwrap_or_else(|_| Err(Box::new("it hangs".to_owned()))).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        format!("{name}: {said}")
    })
}

struct Cell {
    of: (Callback, Misdeed, &'static str),
    verb: Verb,
    /// Where the workloads run, if not where the test does.
    workloads: Option<Handle>,
}

impl Cell {
    async fn check(self) {
        let (trap, good, store) = (Trap::new(), Trap::new(), MemoryStore::new());
        let supervisor = self.lead_to_it(&store, &trap, &good).await;
        let hostile = find(&supervisor, &trap).await;
        let other = find(&supervisor, &good).await;
        self.send(&other, &good, 1).await;
        self.within("a send to another session", millis(100), sum_is(&other, 1)).await;
        self.within("a status", millis(100), hostile.status()).await.unwrap();
        self.apply(&supervisor, &hostile).await;
        if matches!(self.verb, Verb::Stop | Verb::Kill | Verb::Pause) {
            // A run that is killed never hears that it should yield.
            let spared = self.verb == Verb::Kill && self.of.0 == AfterYield;
            assert!(spared || trap.sprung() > 0, "{self}: it did not come to it");
            self.send(&other, &good, 1).await;
            self.within("another send", millis(100), sum_is(&other, 2)).await;
            self.shut_down(&supervisor, &other).await;
        }
        drop((hostile, other, supervisor));
        trap.disarm();
        self.go_on(&store, &trap, &good).await;
    }

    /// Starts a worker with a hostile session and a good one, and leads the first to its misdeed,
    /// unless it is the verb that leads there. Either way it is given 1 to add.
    async fn lead_to_it(
        &self,
        store: &MemoryStore,
        trap: &Arc<Trap>,
        good: &Arc<Trap>,
    ) -> Supervisor {
        let (callback, misdeed, _) = self.of;
        match callback {
            Migrate => self.leave_asleep(store, Hostile::<1>, trap).await,
            DecodeState | DecodeInput | DropInput => self.leave_asleep(store, NEW, trap).await,
            RunStart | MidTurn | AfterYield | Close | CloseHeld | EncodeState | DropState
            | DropHeld | DropFuture => {}
        }
        let supervisor = self.worker(store, NEW).await;
        supervisor.start(start::<New>(good)).await.unwrap();
        match callback {
            RunStart | MidTurn | EncodeState => {
                let start = start::<New>(trap).input(Parcel { trap: trap.number, add: 1 });
                trap.arm(callback, misdeed);
                supervisor.start(start).await.unwrap();
            }
            DecodeState | Migrate | DecodeInput | DropInput => {
                trap.arm(callback, misdeed);
                find(&supervisor, trap).await.resume().await.unwrap();
            }
            AfterYield | Close | CloseHeld | DropState | DropHeld | DropFuture => {
                let start = start::<New>(trap).input(Parcel { trap: trap.number, add: 1 });
                let session = supervisor.start(start).await.unwrap();
                self.within("its first turn", millis(100), sum_is(&session, 1)).await;
                trap.arm(callback, misdeed);
                return supervisor;
            }
        }
        let sprung = async {
            while trap.sprung() == 0 {
                tokio::time::sleep(millis(1)).await;
            }
        };
        self.within("its misdeed", millis(100), sprung).await;
        supervisor
    }

    /// Leaves the session paused in the store, with an input that waits.
    async fn leave_asleep<W>(&self, store: &MemoryStore, workload: W, trap: &Arc<Trap>)
    where
        W: Workload<State = Cargo, Input = Parcel>,
    {
        let supervisor = self.worker(store, workload).await;
        let session = supervisor.start(start::<W>(trap)).await.unwrap();
        session.pause().await.unwrap();
        session.send(Parcel { trap: trap.number, add: 1 }).await.unwrap();
        supervisor.shutdown(self.budget()).await;
    }

    async fn worker(&self, store: &MemoryStore, workload: impl Workload) -> Supervisor {
        let backoff = Backoff { initial: millis(20), factor: 1.0, max: millis(20), jitter: 0.0 };
        let restart = RestartPolicy { max_restarts: 2, backoff, ..RestartPolicy::default() };
        let policy = Policy::builder()
            .stop_grace(GRACE)
            .pause_grace(GRACE)
            .cancel_grace(GRACE)
            .restart(restart)
            .build()
            .unwrap();
        let mut builder = Supervisor::builder(store.clone()).workload(workload).policy(policy);
        if let Some(workloads) = &self.workloads {
            builder = builder.workload_runtime(workloads.clone());
        }
        builder.seed(7).start().await.unwrap()
    }

    async fn apply(&self, supervisor: &Supervisor, hostile: &SessionHandle<New>) {
        let how = self.of.2;
        match self.verb {
            Verb::Stop => {
                let stop = self.within("stop", millis(100), hostile.stop()).await.unwrap();
                self.within("its end", GRACE * 2 + millis(100), stop.ended()).await.unwrap();
                let last = run_ends(hostile).await.pop().unwrap();
                assert!(last.to_string().starts_with(how), "{self}: {last}");
                let status = hostile.status().await.unwrap();
                assert_eq!(status.state(), State::Stopped, "{self}");
                assert_eq!(status.abandoned().len(), usize::from(how == "abandoned"), "{self}");
            }
            Verb::Kill => {
                let stop = self.within("kill", millis(100), hostile.kill()).await.unwrap();
                self.within("its end", GRACE + millis(100), stop.ended()).await.unwrap();
                assert_eq!(hostile.status().await.unwrap().state(), State::Stopped, "{self}");
            }
            Verb::Pause => {
                let pause = self.within("pause", GRACE * 2 + millis(100), hostile.pause()).await;
                pause.unwrap_or_else(|error| panic!("{self}: {error}"));
                assert_eq!(hostile.status().await.unwrap().state(), State::Paused, "{self}");
            }
            Verb::Shutdown => {
                let other = supervisor.list(Query { limit: 10, ..Query::default() }).await.unwrap();
                let other = other.records.iter().find(|record| record.id != hostile.id()).unwrap();
                let other = supervisor.session(other.id).await.unwrap().typed().unwrap();
                let report = self.shut_down(supervisor, &other).await;
                let line = report.lines.iter().find(|line| line.session == hostile.id());
                self.check_line(line.map(|line| &line.outcome));
            }
            // The supervisor is dropped next.
            Verb::Crash => {}
        }
    }

    /// What a shutdown says became of the hostile session.
    fn check_line(&self, outcome: Option<&ShutdownOutcome>) {
        let (_, misdeed, how) = self.of;
        let honest = match outcome {
            // It was at rest before: it had used up its restarts.
            None => matches!(how, "failed" | "panicked"),
            Some(ShutdownOutcome::Rested { state: State::Paused, end: Some(end) }) => match end {
                RunEnd::Abandoned => misdeed == Block,
                end => end.to_string().starts_with(how) || (misdeed != Block && how == "yielded"),
            },
            Some(ShutdownOutcome::Unsettled) => misdeed == Block,
            Some(_) => false,
        };
        assert!(honest, "{self}: {outcome:?}");
    }

    async fn shut_down(
        &self,
        supervisor: &Supervisor,
        other: &SessionHandle<New>,
    ) -> Arc<ShutdownReport> {
        let budget = self.budget();
        let report = self.within("shutdown", budget, supervisor.shutdown(budget)).await;
        let line = report.lines.iter().find(|line| line.session == other.id()).unwrap();
        let yielded = ShutdownOutcome::Rested { state: State::Paused, end: Some(RunEnd::Yielded) };
        assert_eq!(line.outcome, yielded, "{self}: the other");
        report
    }

    /// Every record can be read, with its whole log and its snapshots.
    async fn check_store(&self, store: &MemoryStore) {
        let page = store.list(Query { limit: 10, ..Query::default() }).await.unwrap();
        assert_eq!(page.records.len(), 2, "{self}");
        assert!(store.damaged().await.unwrap().is_empty(), "{self}");
        for record in page.records {
            let events = store.events(record.id, 1..=u64::MAX, usize::MAX).await.unwrap();
            let (numbers, all) = (events.iter().map(|event| event.sequence), events.len() as u64);
            assert!(all >= record.last_event && numbers.eq(1..=all), "{self}: gaps in the log");
            for snapshot in &record.snapshots {
                let bytes = store.snapshot(record.id, snapshot.sequence).await.unwrap().unwrap();
                SnapshotEnvelope::decode(&bytes).unwrap();
            }
        }
    }

    /// The next worker goes on with both; each input has had its effect once.
    async fn go_on(&self, store: &MemoryStore, trap: &Arc<Trap>, good: &Arc<Trap>) {
        let supervisor = self.worker(store, NEW).await;
        supervisor.recovered().await.unwrap();
        let hostile = find(&supervisor, trap).await;
        if hostile.status().await.unwrap().state() != State::Active {
            hostile.resume().await.unwrap_or_else(|error| panic!("{self}: {error}"));
        }
        self.check_store(store).await;
        let other = find(&supervisor, good).await;
        self.send(&hostile, trap, 10).await;
        self.within("the next worker", millis(100), sum_is(&hostile, 11)).await;
        let sent = if matches!(self.verb, Verb::Shutdown | Verb::Crash) { 1 } else { 2 };
        self.send(&other, good, 10).await;
        self.within("the other there", millis(100), sum_is(&other, sent + 10)).await;
        supervisor.shutdown(self.budget()).await;
    }

    async fn send(&self, session: &SessionHandle<New>, trap: &Trap, add: u64) {
        let sent = session.send(Parcel { trap: trap.number, add });
        self.within("send", millis(100), sent).await.unwrap();
    }

    fn budget(&self) -> Duration {
        if self.workloads.is_some() { secs(2) } else { secs(6) }
    }

    async fn within<T>(&self, what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
        // Real threads share their machine with others.
        let slack = if self.workloads.is_some() { secs(20) } else { millis(0) };
        let Ok(out) = tokio::time::timeout(limit + slack, future).await else {
            panic!("{what} took longer than {limit:?}");
        };
        out
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (callback, misdeed, _) = self.of;
        write!(f, "{misdeed:?} in {callback:?}, {:?}", self.verb)
    }
}

fn start<W: Workload<State = Cargo>>(trap: &Trap) -> Start<W> {
    Start::new(Cargo { trap: trap.number, sum: 0 }).id(trap.session())
}

async fn find(supervisor: &Supervisor, trap: &Trap) -> SessionHandle<New> {
    supervisor.session(trap.session()).await.unwrap().typed().unwrap()
}

/// Waits until that sum is committed. It is read without the types, which are traps.
async fn sum_is(session: &SessionHandle<New>, sum: u64) {
    while session.snapshot_json().await.unwrap().state[1] != sum {
        tokio::time::sleep(millis(1)).await;
    }
}
