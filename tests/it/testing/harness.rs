//! The worker that a test crashes and reopens.

use std::time::Duration;

use futures::FutureExt;
use sessionkeeper::{
    Activity, Builder, Policy, SessionHandle, State, Supervisor,
    store::{MemoryStore, SledStore, Store, StoreError},
    testing::{Do, FaultyStore, Harness, Interference, Place, Scripted, block_on},
};

use super::said;

fn scripted(builder: Builder) -> Builder {
    builder.workload(Scripted::default())
}

async fn with_input<P: Place>(harness: &Harness<P>, input: Do) -> SessionHandle<Scripted> {
    let start = Scripted::start().input(input);
    harness.supervisor().start(start).await.unwrap().into_handle()
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_the_worker_for_every_handle_and_clone_of_it() {
    let probed = Scripted::default();
    let workload = probed.clone();
    let mut harness = Harness::start(move |b| b.workload(workload.clone())).await;
    let session = with_input(&harness, Do::Beat { every: Duration::from_secs(1), times: 50 }).await;
    harness.until(&session, |status| status.record().inbox.in_hand.is_some()).await;
    let kept: Supervisor = harness.supervisor().clone();
    let store = harness.place().clone();
    let tap = harness.store().clone();
    harness.crash().await;
    assert!(tap.crashed(), "nothing reaches the store that way any more");
    drop(tap);
    assert_eq!(probed.probe.live(), 0, "its runs are gone");
    let before = store.load(session.id()).await.unwrap().unwrap();
    let error = session.send(Do::Add(1)).await.unwrap_err();
    assert!(error.to_string().contains("shutting down"), "{error}");
    let error = kept.start(Scripted::start()).await.unwrap_err();
    assert!(error.to_string().contains("shutting down"), "{error}");
    tokio::time::sleep(Duration::from_secs(99)).await;
    assert_eq!(store.load(session.id()).await.unwrap(), Some(before));

    let report = harness.reopen().await;
    assert_eq!(report.resumed, [session.id()]);
    let session = harness.again(&session).await;
    assert_eq!(harness.drained(&session).await.seen, [1]);
    assert_eq!((probed.probe.runs(), probed.probe.most_live()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_pauses_and_the_next_worker_resumes() {
    let mut harness = Harness::start(scripted).await;
    let session = with_input(&harness, Do::Add(1)).await;
    harness.drained(&session).await;
    let report = harness.shutdown().await;
    assert_eq!(report.lines.len(), 1);
    let stored = harness.place().load(session.id()).await;
    assert!(matches!(stored, Err(StoreError::Closed)), "{stored:?}");
    assert_eq!(harness.reopen().await.resumed, [session.id()]);
    let session = harness.again(&session).await;
    harness.until(&session, |status| *status.activity() == Activity::Idle).await;
    assert_eq!(harness.shutdown_and_reopen().await.resumed, [session.id()]);
}

#[tokio::test(start_paused = true)]
async fn the_next_worker_has_the_settings_of_its_time() {
    let mut harness = Harness::start(scripted).await;
    let session = with_input(&harness, Do::Add(1)).await;
    harness.drained(&session).await;
    harness.configure(|builder| builder);
    let report = harness.crash_and_reopen().await;
    assert_eq!(report.unregistered.len(), 1);
    let short = Policy::builder().idle_timeout(Duration::from_secs(5)).build().unwrap();
    harness.configure(move |builder| scripted(builder).policy(short.clone()));
    harness.crash_and_reopen().await;
    let session = harness.again(&session).await;
    harness.until(&session, |status| status.state() == State::Paused).await;
}

#[test]
fn a_test_goes_the_same_way_each_time() {
    let once = || {
        block_on(async {
            let mut harness = Harness::start(scripted).await;
            let session = with_input(&harness, Do::PanicTimes(2)).await;
            harness.drained(&session).await;
            let generation = harness.crash_and_reopen().await.resumed.clone();
            let session = harness.again(&session).await;
            let events = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
            (generation, harness.clock().now(), events)
        })
    };
    let first = once();
    assert!(first.2.len() > 5, "{first:?}");
    assert_eq!(first, once());
}

#[test]
fn what_is_waited_for_in_vain_is_told_with_what_happens_instead() {
    let waited = std::panic::catch_unwind(|| {
        block_on(async {
            let harness = Harness::start(scripted).await;
            let session = with_input(&harness, Do::Await(Duration::from_secs(1_000_000))).await;
            session.send(Do::Add(1)).await.unwrap();
            harness.drained(&session).await;
        });
    });
    let said = said(&*waited.unwrap_err());
    for part in ["harness.rs", "awaiting an answer", "2 inputs waiting", "after 1 runs"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

/// A store in memory that gives way to other tasks, so that there is a middle of each call.
struct Slow(MemoryStore);

impl Place for Slow {
    type Store = FaultyStore<MemoryStore>;
    const PAUSED_TIME: bool = true;

    fn new() -> Self {
        Self(MemoryStore::new())
    }

    async fn open(&self) -> FaultyStore<MemoryStore> {
        let store = FaultyStore::new(self.0.clone());
        store.inject(|_| Interference::Yield(3));
        store
    }
}

#[tokio::test(start_paused = true)]
async fn a_reopening_that_is_dropped_can_be_made_again_and_leaves_nothing() {
    let mut harness = Harness::start_at(Slow::new(), scripted).await;
    let session = with_input(&harness, Do::Add(1)).await;
    harness.drained(&session).await;
    harness.crash().await;
    tokio::time::sleep(Duration::from_secs(99)).await;
    let alone = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // However far it has come.
    for polls in 0..40 {
        {
            let mut reopening = std::pin::pin!(harness.reopen());
            for _ in 0..polls {
                let _ = reopening.as_mut().now_or_never();
                tokio::task::yield_now().await;
            }
        }
        harness.crash().await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks() - alone;
        assert_eq!(left, 0, "tasks that outlive it, after {polls} polls");
    }
    harness.reopen().await;
    assert_eq!(harness.again(&session).await.status().await.unwrap().state(), State::Active);
}

/// A store on disk, which needs real time.
pub(super) struct Folder(tempfile::TempDir);

impl Place for Folder {
    type Store = SledStore;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> SledStore {
        SledStore::open(self.0.path()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_disk_is_free_again_after_a_crash() {
    let mut harness = Harness::start_at(Folder::new(), scripted).await;
    let mut session = with_input(&harness, Do::Add(1)).await;
    for round in 2..=6 {
        session.send(Do::Add(1)).await.unwrap();
        harness.crash_and_reopen().await;
        session = harness.again(&session).await;
        assert_eq!(harness.drained(&session).await.sum, round);
    }
    harness.shutdown_and_reopen().await;
    session = harness.again(&session).await;
    assert_eq!(harness.drained(&session).await.seen, [1, 2, 3, 4, 5, 6]);
}
