//! Snapshots: what serves when one cannot be read, and how states of other versions are met.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Context, Lifecycle, Outcome, PauseCause, SessionError, SessionHandle, Start, State, Status,
    Workload, WorkloadError,
    store::{MemoryStore, Part, Store},
};

use super::kit::{Custom, custom, lifecycle, millis, secs, start_on};
use crate::support::{Do, Scripted, Worker, drained};

/// The numbers of the kept snapshots, newest first.
async fn kept(session: &SessionHandle<Scripted>) -> Vec<u64> {
    let status = session.status().await.unwrap();
    status.record().snapshots.iter().map(|kept| kept.sequence).collect()
}

#[tokio::test(start_paused = true)]
async fn g4_a_fallback_to_the_older_snapshot_redelivers_what_it_lost() {
    for by_resume in [true, false] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        let last = Do::Await(secs(5));
        for what in [Do::Add(1), Do::Add(2), Do::Add(3), Do::Add(4), last.clone()] {
            session.send(what).await.unwrap();
            drained(&session).await;
        }
        let kept = kept(&session).await;
        assert_eq!(kept.len(), 2);
        let (worker, session) = if by_resume {
            session.pause().await.unwrap();
            worker.store.damage(session.id(), Part::Snapshot(session_newest(&session).await));
            session.resume().await.unwrap();
            (worker, session)
        } else {
            worker.store.damage(session.id(), Part::Snapshot(kept[0]));
            let worker = worker.crash_and_restart().await;
            let session = worker.again(&session).await;
            // What is redelivered takes its room in the inbox again.
            let inbox = session.status().await.unwrap().record().inbox.clone();
            let weight = serde_json::to_vec(&last).unwrap().len() as u64;
            assert_eq!((inbox.waiting(), inbox.waiting_bytes), (1, weight));
            (worker, session)
        };
        session.send(Do::Add(6)).await.unwrap();
        let done = drained(&session).await;
        assert_eq!((done.sum, done.seen), (16, vec![1, 2, 3, 4, 5, 6]), "by resume: {by_resume}");
        let fell = lifecycle(&session).await.into_iter().find_map(|what| match what {
            Lifecycle::SnapshotFellBack { from, to, reason } => Some((from, to, reason)),
            _ => None,
        });
        let (from, to, reason) = fell.expect("the log says so");
        assert_eq!(from, to + 1);
        assert!(reason.contains("damaged on purpose"), "{reason}");
        let inbox = session.status().await.unwrap().record().inbox.clone();
        assert_eq!((inbox.waiting(), inbox.waiting_bytes), (0, 0));
        drop(worker);
    }
}

/// G4: attempts count for the input they were made with, also where an earlier one is redelivered.
#[tokio::test(start_paused = true)]
async fn g4_a_redelivered_input_begins_with_its_first_attempt() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let long = Do::Await(secs(5));
    for what in [Do::Add(1), long.clone()] {
        session.send(what).await.unwrap();
        drained(&session).await;
    }
    session.send(long).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let in_hand = |status: Status| status.record().inbox.in_hand.map(|it| (it.input, it.attempt));
    assert_eq!(in_hand(session.status().await.unwrap()), Some((3, 1)));
    worker.store.damage(session.id(), Part::Snapshot(session_newest(&session).await));
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    tokio::time::sleep(secs(1)).await;
    assert_eq!(in_hand(session.status().await.unwrap()), Some((2, 1)));
    assert_eq!(drained(&session).await.seen, [1, 2, 3]);
}

/// G4: where a run saves twice before the store has answered, there is one snapshot of it.
#[tokio::test(start_paused = true)]
async fn g4_of_two_snapshots_in_one_commit_the_last_is_kept() {
    let hasty = Custom::new(|cx| {
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                tokio::time::sleep(secs(1)).await;
                for part in 0..4 {
                    cx.state_mut().push(*number + part);
                    // The first is on its way to the store, and the others wait behind it.
                    let _ = tokio::time::timeout(millis(1), cx.save_progress()).await;
                }
                tokio::time::sleep(secs(60)).await;
            }
            Ok(Outcome::Yielded)
        })
    });
    let store = MemoryStore::new();
    let worker = start_on(store.clone(), hasty, |b| b).await;
    let session = custom(&worker).await;
    session.send(10).await.unwrap();
    let stall = store.stall();
    tokio::time::sleep(secs(2)).await;
    drop(stall);
    tokio::time::sleep(secs(1)).await;
    assert_eq!(session.snapshot().await.unwrap().state, [10, 11, 12, 13]);
    drop(worker);
    assert_eq!(sessionkeeper::testing::audit(&store).await, []);
}

async fn session_newest(session: &SessionHandle<Scripted>) -> u64 {
    kept(session).await[0]
}

#[tokio::test(start_paused = true)]
async fn g4_a_session_without_a_readable_snapshot_is_refused_and_not_changed() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    drained(&session).await;
    session.pause().await.unwrap();
    for number in kept(&session).await {
        worker.store.damage(session.id(), Part::Snapshot(number));
    }
    let before = worker.store.load(session.id()).await.unwrap();
    for _ in 0..3 {
        let error = session.resume().await.unwrap_err();
        assert!(matches!(error, SessionError::Unreadable { .. }), "{error}");
    }
    assert!(session.snapshot().await.is_err());
    assert_eq!(worker.store.load(session.id()).await.unwrap(), before, "nothing is changed");
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    session.stop().await.unwrap().ended().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Stopped, "it can be put away");
}

/// What the first version of a workload kept.
struct First;

/// Its second version: inputs and states have names now.
#[derive(Clone, Default)]
struct Second {
    /// Whether the migration is broken.
    broken: Arc<AtomicBool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Named {
    name: String,
    numbers: Vec<u64>,
}

impl Workload for First {
    const KIND: &'static str = "versioned";
    const STATE_VERSION: u32 = 1;
    type State = Vec<u64>;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            if *number == 0 {
                tokio::time::sleep(secs(1000)).await;
            }
            cx.state_mut().push(*number);
        }
        Ok(Outcome::Yielded)
    }
}

impl Workload for Second {
    const KIND: &'static str = "versioned";
    const STATE_VERSION: u32 = 2;
    type State = Named;
    type Input = Named;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(input) = cx.next_input().await? {
            cx.state_mut().numbers.extend(&input.numbers);
        }
        Ok(Outcome::Yielded)
    }

    fn migrate(&self, from: u32, state: serde_json::Value) -> Result<Named, WorkloadError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("the migration is broken".into());
        }
        assert_eq!(from, 1);
        Ok(Named { name: "migrated".to_owned(), numbers: serde_json::from_value(state)? })
    }

    fn migrate_input(&self, from: u32, input: serde_json::Value) -> Result<Named, WorkloadError> {
        assert_eq!(from, 1);
        Ok(Named { name: "input".to_owned(), numbers: vec![serde_json::from_value(input)?] })
    }
}

/// A session of the first version that has done something, with inputs that wait.
async fn left_by_the_first(store: &MemoryStore) -> sessionkeeper::SessionId {
    let supervisor = start_on(store.clone(), First, |b| b).await;
    let start = Start::<First>::new(vec![1]).input(2);
    let session = supervisor.start(start).await.unwrap().into_handle();
    tokio::time::sleep(secs(1)).await;
    for number in [0, 3, 4] {
        session.send(number).await.unwrap();
    }
    tokio::time::sleep(secs(1)).await;
    session.id()
}

#[tokio::test(start_paused = true)]
async fn g4_a_state_and_inputs_of_an_older_version_are_migrated() {
    let store = MemoryStore::new();
    let id = left_by_the_first(&store).await;
    let supervisor = start_on(store.clone(), Second::default(), |b| b).await;
    assert_eq!(supervisor.recovered().await.unwrap().resumed, [id]);
    tokio::time::sleep(secs(1)).await;
    let session: SessionHandle<Second> = supervisor.session(id).await.unwrap().typed().unwrap();
    let state = session.snapshot().await.unwrap().state;
    assert_eq!(state, Named { name: "migrated".to_owned(), numbers: vec![1, 2, 0, 3, 4] });
    session.send(Named { name: String::new(), numbers: vec![5] }).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(session.snapshot().await.unwrap().state.numbers, [1, 2, 0, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn g4_a_state_of_a_newer_version_is_refused_and_not_changed() {
    let store = MemoryStore::new();
    let id = left_by_the_first(&store).await;
    let supervisor = start_on(store.clone(), Second::default(), |b| b).await;
    supervisor.recovered().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let session = supervisor.session(id).await.unwrap();
    session.pause().await.unwrap();
    drop(supervisor);
    let before = store.load(id).await.unwrap();

    let supervisor = start_on(store.clone(), First, |b| b).await;
    supervisor.recovered().await.unwrap();
    let session: SessionHandle<First> = supervisor.session(id).await.unwrap().typed().unwrap();
    let error = session.resume().await.unwrap_err();
    assert!(matches!(error, SessionError::NewerState { found: 2, supported: 1, .. }), "{error}");
    let error = session.snapshot().await.unwrap_err();
    assert!(matches!(error, SessionError::Undecodable { .. }), "{error}");
    assert_eq!(store.load(id).await.unwrap(), before);
    drop(supervisor);

    // The same for one that a crash interrupted.
    let supervisor = start_on(store.clone(), Second::default(), |b| b).await;
    supervisor.session(id).await.unwrap().resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    drop(supervisor);
    let before = store.load(id).await.unwrap();
    let supervisor = start_on(store.clone(), First, |b| b).await;
    let report = supervisor.recovered().await.unwrap();
    assert!(matches!(report.failed[..], [(_, SessionError::NewerState { .. })]), "{report:?}");
    assert_eq!(store.load(id).await.unwrap(), before);
    supervisor.shutdown(secs(5)).await;
    let supervisor = start_on(store, Second::default(), |b| b).await;
    assert_eq!(supervisor.recovered().await.unwrap().resumed, [id], "its own version carries on");
}

#[tokio::test(start_paused = true)]
async fn g4_a_migration_that_fails_loses_no_snapshot() {
    let store = MemoryStore::new();
    let id = left_by_the_first(&store).await;
    let kept = store.load(id).await.unwrap().unwrap().snapshots;
    assert_eq!(kept.len(), 2);
    let second = Second::default();
    second.broken.store(true, Ordering::SeqCst);
    let supervisor = start_on(store.clone(), second.clone(), |b| b).await;
    supervisor.recovered().await.unwrap();
    tokio::time::sleep(secs(10)).await;
    let session: SessionHandle<Second> = supervisor.session(id).await.unwrap().typed().unwrap();
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    assert_eq!(status.record().snapshots, kept, "both snapshots are kept as they are");
    second.broken.store(false, Ordering::SeqCst);
    session.resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(session.snapshot().await.unwrap().state.numbers, [1, 2, 0, 3, 4]);
}

/// A workload whose state of a certain length does not decode.
#[derive(Clone)]
struct Picky;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
struct Choosy(Vec<u64>);

/// The length that does not decode.
const BAD: usize = 3;
/// The state that does not decode, and neither does the one before it.
const WORSE: u64 = 77;

impl TryFrom<Vec<u64>> for Choosy {
    type Error = String;

    fn try_from(numbers: Vec<u64>) -> Result<Self, String> {
        if numbers.len() == BAD || numbers.contains(&WORSE) {
            return Err("not to its taste".to_owned());
        }
        Ok(Self(numbers))
    }
}

impl From<Choosy> for Vec<u64> {
    fn from(choosy: Choosy) -> Self {
        choosy.0
    }
}

impl Clone for Choosy {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Workload for Picky {
    const KIND: &'static str = "picky";
    const STATE_VERSION: u32 = 1;
    type State = Choosy;
    type Input = u64;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            cx.state_mut().0.push(*number);
        }
        Ok(Outcome::Yielded)
    }
}

async fn picky(inputs: &[u64]) -> (MemoryStore, sessionkeeper::SessionId) {
    let store = MemoryStore::new();
    let supervisor = start_on(store.clone(), Picky, |b| b).await;
    let session = supervisor.start(Start::<Picky>::new(Choosy::default())).await.unwrap();
    for number in inputs {
        session.send(*number).await.unwrap();
        tokio::time::sleep(secs(1)).await;
    }
    let id = session.id();
    (store, id)
}

#[tokio::test(start_paused = true)]
async fn g4_a_state_that_does_not_decode_falls_back_or_is_quarantined() {
    let (store, id) = picky(&[10, 20, 30]).await;
    let supervisor = start_on(store.clone(), Picky, |b| b).await;
    supervisor.recovered().await.unwrap();
    let session = supervisor.session(id).await.unwrap();
    session.send_json(&serde_json::json!(40)).await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let state = session.snapshot_json().await.unwrap().state;
    assert_eq!(state, serde_json::json!([10, 20, 30, 40]), "what was lost was worked off again");
    let all = lifecycle(&session).await;
    assert!(all.iter().any(|what| matches!(what, Lifecycle::SnapshotFellBack { .. })));
    let inbox = session.status().await.unwrap().record().inbox.clone();
    assert_eq!((inbox.waiting(), inbox.waiting_bytes), (0, 0));

    let (store, id) = picky(&[WORSE, 20]).await;
    let supervisor = start_on(store.clone(), Picky, |b| b).await;
    supervisor.recovered().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let session = supervisor.session(id).await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    let reason = status.record().history.back().unwrap().reason.clone().unwrap();
    assert!(reason.contains("not to its taste"), "{reason}");
    session.resume().await.unwrap();
    tokio::time::sleep(secs(1)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined), "again, and nothing is lost");
}
