//! Too much of something: events, bytes, numbers that are none, wake-ups.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Context, EmitError, Event, ExternalId, Outcome, PauseCause, Policy, RestartPolicy, RunEnd,
    SessionHandle, Start, StartError, State, Supervisor, Usage, Workload, WorkloadError,
    store::MemoryStore, testing::Call,
};

use crate::guarantees::kit::{
    Custom, OwnRuntime, collect, custom, custom_with, log, millis, restarting, run_ends, secs,
    start_on, tap, tireless, until,
};

#[tokio::test(start_paused = true)]
async fn a_flood_of_events_is_held_up_and_not_held_in_memory() {
    let (emitted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (emits, refuses) = (Arc::clone(&emitted), Arc::clone(&refused));
    let text = "x".repeat(1000);
    let flood = Custom::new(move |cx| {
        let (emits, refuses, text) = (Arc::clone(&emits), Arc::clone(&refuses), text.clone());
        Box::pin(async move {
            if cx.next_input().await?.is_none_or(|number| *number != 1) {
                return collect(cx).await;
            }
            loop {
                let event = Event::custom("flood", text.as_str());
                match cx.try_emit(&event) {
                    Err(EmitError::Full { .. }) => refuses.fetch_add(1, Ordering::SeqCst),
                    _ => emits.fetch_add(1, Ordering::SeqCst),
                };
                cx.emit(event).await?;
                emits.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let tap = tap();
    let supervisor = start_on(tap.clone(), flood, |b| b).await;
    let other = custom_with(&supervisor, 0).await;
    let held = tap.hold_answers(Call::Commit);
    let session = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { custom_with(&supervisor, 1).await }
    });
    tokio::time::sleep(secs(1)).await;
    drop(held);
    let session = session.await.unwrap();
    until("it is at it", || emitted.load(Ordering::SeqCst) > 10).await;
    let held = tap.hold_answers(Call::Commit);
    tokio::time::sleep(secs(60)).await;
    let before = emitted.load(Ordering::SeqCst);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(emitted.load(Ordering::SeqCst), before, "it waits for the store");
    let committed = session.status().await.unwrap().record().last_event;
    // One buffer is on its way, and one is full: 512 KiB each.
    assert!(before <= committed + 2 * 512, "{before} emitted, {committed} committed");
    drop(held);
    other.send(5).await.unwrap();
    tokio::time::timeout(secs(1), session.status()).await.unwrap().unwrap();
    let stop = tokio::time::timeout(secs(1), session.stop_within(secs(1)))
        .await
        .expect("no answer")
        .unwrap();
    let report = tokio::time::timeout(secs(30), stop.ended()).await.expect("no end").unwrap();
    assert_eq!(report.end, Some(RunEnd::Cancelled));
    tokio::time::timeout(secs(1), other.pause()).await.expect("the other").unwrap();
    assert!(refused.load(Ordering::SeqCst) > 0, "a full buffer says so");
    let kept = log(&session).await.len() as u64;
    assert!(kept >= emitted.load(Ordering::SeqCst), "{kept} kept: all that was taken");
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_without_an_end_becomes_no_heap_of_notes() {
    let workload = Custom::new(|cx| {
        Box::pin(async move {
            for number in 0..50_000 {
                cx.record_usage(Usage::tokens(1, 0));
                cx.set_external_id(ExternalId::new(format!("id-{number}")).unwrap());
            }
            collect(cx).await
        })
    });
    let supervisor = start_on(MemoryStore::new(), workload, |b| b).await;
    let session = custom(&supervisor).await;
    session.pause().await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!(status.record().usage.input_tokens(), 50_000);
    assert_eq!(status.record().external_id.as_ref().unwrap().as_str(), "id-49999");
    let events = log(&session).await.len();
    assert!(events < 20, "{events} events: one for the sum, one for the last id");
}

/// A state that may be anything.
#[derive(Clone, Default)]
struct Anything {
    /// The bytes that a run puts into its state.
    bytes: usize,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Heap {
    text: String,
    sum: f64,
}

impl Workload for Anything {
    const KIND: &'static str = "anything";
    const STATE_VERSION: u32 = 1;
    type State = Heap;
    /// More than all makes a heap; `null` makes a sum that is no number.
    type Input = Option<f64>;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(input) = cx.next_input().await? {
            match *input {
                None => cx.state_mut().sum = f64::NAN,
                Some(number) if number >= 1e9 => cx.state_mut().text = "x".repeat(self.bytes),
                Some(number) => cx.state_mut().sum += number,
            }
        }
        Ok(Outcome::Yielded)
    }
}

/// 16 MiB, or 1 GiB if asked for.
fn huge() -> usize {
    if std::env::var_os("SESSIONKEEPER_HUGE").is_some() { 1 << 30 } else { 16 << 20 }
}

async fn anything(supervisor: &Supervisor) -> SessionHandle<Anything> {
    supervisor.start(Start::<Anything>::new(Heap::default())).await.unwrap().into_handle()
}

/// Waits until everything that was sent has been worked off.
pub(super) async fn worked_off<W: Workload>(session: &SessionHandle<W>) {
    while session.status().await.unwrap().record().inbox.waiting() > 0 {
        tokio::time::sleep(millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_too_large_fails_its_session_with_a_word_and_no_other() {
    let restart = RestartPolicy { max_restarts: 1, ..RestartPolicy::default() };
    let policy = Policy::builder().max_snapshot_bytes(1_u64 << 20).restart(restart);
    let policy = policy.build().unwrap();
    let workload = Anything { bytes: huge() };
    let store = MemoryStore::new();
    let supervisor = start_on(store.clone(), workload.clone(), |b| b.policy(policy.clone())).await;
    let (heap, other) = (anything(&supervisor).await, anything(&supervisor).await);
    heap.send(Some(1.0)).await.unwrap();
    worked_off(&heap).await;
    heap.send(Some(1e9)).await.unwrap();
    other.send(Some(2.0)).await.unwrap();
    worked_off(&other).await;
    assert!((other.snapshot().await.unwrap().state.sum - 2.0).abs() < 1e-9);
    let settled = tokio::time::timeout(secs(3600), heap.settled()).await.unwrap().unwrap();
    assert_eq!(settled.status().pause_cause(), Some(PauseCause::Quarantined));
    let last = run_ends(&heap).await.pop().unwrap().to_string();
    let expected = format!("the state has {} bytes, 1048576 are allowed", huge() + 21);
    assert!(last.contains(&expected), "{last}");
    let committed = heap.snapshot().await.unwrap().state;
    assert!((committed.sum - 1.0).abs() < 1e-9 && committed.text.is_empty(), "what was before");

    let large = Heap { text: "x".repeat(2 << 20), sum: 0.0 };
    let error = supervisor.start(Start::<Anything>::new(large)).await.unwrap_err();
    assert!(matches!(error, StartError::SnapshotTooLarge { .. }), "{error}");
    let report = supervisor.shutdown(secs(20)).await;
    assert_eq!(report.lines.len(), 1, "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_come_back_from_json_is_alone() {
    let store = MemoryStore::new();
    let policy = restarting(tireless());
    let build = || start_on(store.clone(), Anything::default(), |b| b.policy(policy.clone()));
    let supervisor = build().await;
    let (bad, other) = (anything(&supervisor).await, anything(&supervisor).await);
    bad.send(Some(1.0)).await.unwrap();
    worked_off(&bad).await;
    bad.send(None).await.unwrap();
    worked_off(&bad).await;
    other.send(Some(1.0)).await.unwrap();
    worked_off(&other).await;
    let (bad, other) = (bad.id(), other.id());
    drop(supervisor);

    let supervisor = build().await;
    supervisor.recovered().await.unwrap();
    let again = supervisor.session(other).await.unwrap().typed::<Anything>().unwrap();
    again.send(Some(1.0)).await.unwrap();
    worked_off(&again).await;
    assert!((again.snapshot().await.unwrap().state.sum - 2.0).abs() < 1e-9);
    // The snapshot before it serves, and the input is worked on again.
    let bad = supervisor.session(bad).await.unwrap().typed::<Anything>().unwrap();
    tokio::time::sleep(secs(600)).await;
    let status = bad.status().await.unwrap();
    assert_eq!(status.state(), State::Active, "{:?}", status.record().history);
    assert!(status.record().runs.count < 10, "{} runs", status.record().runs.count);
    let stop = tokio::time::timeout(secs(1), bad.stop()).await.expect("it hangs").unwrap();
    tokio::time::timeout(secs(20), stop.ended()).await.expect("it hangs").unwrap();
}

/// Never ready, and wakes itself and others all the time.
#[tokio::test(start_paused = true)]
async fn a_waker_may_be_misused_as_one_likes() {
    let own = OwnRuntime::new();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let storm = std::thread::spawn({
        let (wakers, over) = (Arc::clone(&wakers), Arc::clone(&over));
        move || {
            while !over.load(Ordering::SeqCst) {
                wakers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
                std::thread::yield_now();
            }
        }
    });
    let kept = Arc::clone(&wakers);
    let workload = Custom::new(move |cx| {
        let kept = Arc::clone(&kept);
        Box::pin(async move {
            match cx.next_input().await?.map(|number| *number) {
                // Spins.
                Some(1) => {
                    poll_fn::<(), _>(|cx| {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    })
                    .await
                }
                // Gives its waker to the storm, where it stays after the end of the run.
                Some(2) => {
                    poll_fn::<(), _>(|cx| {
                        kept.lock().unwrap().push(cx.waker().clone());
                        Poll::Pending
                    })
                    .await
                }
                // Forgets it.
                Some(3) => poll_fn::<(), _>(|_| Poll::Pending).await,
                _ => {}
            }
            collect(cx).await
        })
    });
    let set = |b: sessionkeeper::Builder| b.workload_runtime(own.handle());
    let supervisor = start_on(MemoryStore::new(), workload, set).await;
    for number in 1..=3 {
        let session = custom_with(&supervisor, number).await;
        until("it is at it", || number != 2 || !wakers.lock().unwrap().is_empty()).await;
        let other = custom_with(&supervisor, 0).await;
        other.send(5).await.unwrap();
        session.status().await.unwrap();
        let stop = session.stop_within(millis(10)).await.unwrap();
        let report = stop.ended().await.unwrap();
        let gone = [RunEnd::Cancelled, RunEnd::Abandoned].map(Some);
        assert!(gone.contains(&report.end), "{number}: {report:?}");
        if number == 2 {
            wakers.lock().unwrap().truncate(100);
        }
        while other.snapshot().await.unwrap().state != [5] {
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
    let report = supervisor.shutdown(secs(20)).await;
    assert!(report.took <= secs(20));
    over.store(true, Ordering::SeqCst);
    storm.join().unwrap();
}
