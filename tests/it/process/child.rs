//! What a child does: this binary runs itself again, with this one test, and the environment
//! says what it is to do.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Backoff, Builder, Limit, Policy, RestartPolicy, Supervisor,
    store::{Durability, SledStore},
};

use super::{
    clients, left_over,
    line::{Calls, Line, Phase, answer, reached, say, sight},
    signals, stopped,
    tally::Teller,
};
use crate::{
    guarantees::kit::{millis, secs},
    oracle::{
        self, judge,
        ledger::{Answer, Entry, Ledger, Verb},
    },
    programs::{cycles, recovery},
};

/// The variable of the environment that tells a child what to do.
pub(crate) const MODE: &str = "SESSIONKEEPER_CHILD";

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// To work until it is killed.
    Work(Work),
    /// To keep one session of each kind, and tell how they stand.
    Watch { folder: PathBuf },
    /// To serve until it is told to end.
    Serve { folder: PathBuf, budget: Duration },
    /// To be one worker after the other.
    ComeAndGo { folder: PathBuf },
    /// To run programs until it is killed.
    RunPrograms { folder: PathBuf },
    /// To run one program after the other.
    Cycle { programs: usize },
}

/// A worker with clients that use it in every way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) folder: PathBuf,
    /// What all children before it said.
    pub(crate) journal: PathBuf,
    pub(crate) seed: u64,
    /// Makes its tokens different from those of every other child.
    pub(crate) generation: u64,
    pub(crate) synced: bool,
    /// How many bytes its states have at most.
    pub(crate) largest: usize,
    /// After how many steps of each client it shuts down.
    pub(crate) steps: u32,
    /// The point at which it kills itself, and at which time.
    pub(crate) kill_at: Option<(String, u32)>,
    /// The point at which it panics instead, and at which time.
    pub(crate) panic_at: Option<(String, u32)>,
}

#[test]
#[ignore = "other tests start it in a process of its own"]
fn child() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    let mode: Mode = serde_json::from_str(&mode).unwrap();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Threads that wait for the next blocking call are counted by one of the modes.
    runtime.worker_threads(2).thread_keep_alive(Duration::from_millis(50)).enable_all();
    let runtime = runtime.build().unwrap();
    match mode {
        Mode::Work(work) => runtime.block_on(work_until_killed(work)),
        Mode::Watch { folder } => runtime.block_on(stopped::watch(&folder)),
        Mode::Serve { folder, budget } => runtime.block_on(signals::serve(&folder, budget)),
        Mode::ComeAndGo { folder } => runtime.block_on(left_over::come_and_go(&folder)),
        Mode::RunPrograms { folder } => runtime.block_on(recovery::run_programs(&folder)),
        Mode::Cycle { programs } => runtime.block_on(cycles::cycle(programs)),
    }
}

async fn work_until_killed(work: Work) {
    arm(&work);
    let durability = if work.synced { Durability::Synced } else { Durability::Flushed };
    let store = match SledStore::options(&work.folder).durability(durability).open() {
        Ok(store) => store,
        Err(error) => return say(&Line::Broken(format!("it cannot be opened: {error}"))),
    };
    reached(Phase::Opened);
    let ledger = Ledger::from_lines(&std::fs::read_to_string(&work.journal).unwrap());
    let wrong = judge(&store, &ledger).await;
    if !wrong.is_empty() {
        return say(&Line::Broken(wrong.join("\n")));
    }
    let calls = Calls::of(work.generation);
    note(&store, &ledger, &calls).await;
    reached(Phase::Checked);
    let supervisor = builder(store).start().await.unwrap();
    reached(Phase::Started);
    supervisor.recovered().await.unwrap();
    reached(Phase::Recovered);
    clients::work(&supervisor, &calls, &work).await;
    reached(Phase::ShuttingDown);
    clients::shut_down(&supervisor).await;
    reached(Phase::ShutDown);
}

/// What was found is visible, and must not be taken back either. Events are noted once.
async fn note(store: &SledStore, ledger: &Ledger, calls: &Calls) {
    let mut noted = HashMap::new();
    let mut asked = HashMap::new();
    for entry in &ledger.0 {
        match entry {
            Entry::Asked { call, session: Some(session), verb: Verb::ReadEvents } => {
                asked.insert(*call, *session);
            }
            Entry::Answered { call, answer: Answer::Events(events) } => {
                let last = events.last().map_or(0, |(last, _)| *last);
                let noted = noted.entry(asked[call]).or_insert(0);
                *noted = last.max(*noted);
            }
            _ => {}
        }
    }
    for (&session, found) in oracle::find(store).await.unwrap().iter() {
        answer(calls.ask(Some(session), Verb::Look), Answer::Seen(sight(&found.record)));
        let noted = noted.get(&session).copied().unwrap_or(0);
        let new = found.log.iter().filter(|event| event.sequence > noted);
        let new = new.map(|event| (event.sequence, oracle::digest(event))).collect();
        answer(calls.ask(Some(session), Verb::ReadEvents), Answer::Events(new));
    }
}

/// Small limits, so that within a moment a session meets all of them.
pub(crate) fn builder(store: SledStore) -> Builder {
    let restart = RestartPolicy {
        max_restarts: 1000,
        max_without_checkpoint: 1000,
        backoff: Backoff { initial: millis(1), max: millis(5), ..Backoff::default() },
        ..RestartPolicy::default()
    };
    let policy = Policy::builder()
        .restart(restart)
        .idle_timeout(millis(40))
        .heartbeat_timeout(Limit::Never)
        .pause_grace(secs(5))
        .stop_grace(millis(2))
        .build()
        .unwrap();
    Supervisor::builder(store)
        .workload(Teller)
        .policy(policy)
        .max_active(clients::SLOTS - 1)
        .resume_jitter(millis(1))
}

#[cfg(sessionkeeper_faults)]
fn arm(work: &Work) {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    let (kill, panic) = (work.kill_at.clone(), work.panic_at.clone());
    let (kills, panics) = (AtomicU32::new(0), AtomicU32::new(0));
    sessionkeeper::faults::on_reach(move |point| {
        let now = |at: &Option<(String, u32)>, count: &AtomicU32| {
            at.as_ref().is_some_and(|(name, time)| {
                name == point.name() && count.fetch_add(1, Ordering::SeqCst) + 1 == *time
            })
        };
        if now(&kill, &kills) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        assert!(!now(&panic, &panics), "told to panic at {}", point.name());
    });
}

#[cfg(not(sessionkeeper_faults))]
fn arm(work: &Work) {
    assert!(work.kill_at.is_none() && work.panic_at.is_none(), "there are no points");
}
