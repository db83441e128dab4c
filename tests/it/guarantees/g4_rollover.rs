//! G4: a turn whose input moves in a rollover goes on in the successor: with its attempts and with its steps.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use sessionkeeper::{
    Outcome, Policy, Rollover, Session, SessionHandle, State, StepError, Unread, WorkloadError,
    store::MemoryStore,
    testing::{CrashSweep, Harness, audit},
};

use super::{
    g4_steps::{Outside, Seen, consumed, worker_of_steps},
    kit::{Custom, custom_with, secs, start_on},
};

/// What the runs of a test saw, a line for each thing.
type Told = Arc<Mutex<Vec<String>>>;

/// Charges, ships and packs for each input; up to an attempt, shipping never ends for a large one.
fn shipper(told: &Told, hangs: u32) -> Custom {
    let told = Arc::clone(told);
    Custom::new(move |cx| {
        let told = Arc::clone(&told);
        Box::pin(async move {
            let tell = |what: String| told.lock().unwrap().push(what);
            while let Some(number) = cx.next_input().await? {
                let (session, attempt) = (cx.session(), number.attempt());
                let charge = async |key| {
                    tell(format!("charged as {key}"));
                    Ok::<_, WorkloadError>(*number * 2)
                };
                let charged: u64 = cx.step("charge", charge).await?;
                tell(format!("{session}: attempt {attempt}, {charged}"));
                let ship = async |key| {
                    tell(format!("shipped as {key}"));
                    if attempt <= hangs && *number > 10 {
                        pending::<()>().await;
                    }
                    Ok::<_, WorkloadError>(())
                };
                match cx.step("ship", ship).await {
                    Err(StepError::Interrupted(lost)) => {
                        tell(format!("lost as {}", lost.idempotency_key));
                        cx.retry_step("ship", ship).await?;
                    }
                    shipped => shipped?,
                }
                let pack = async |key| {
                    tell(format!("packed as {key}"));
                    Ok::<_, WorkloadError>(())
                };
                cx.step("pack", pack).await?;
                cx.state_mut().push(charged);
            }
            Ok(Outcome::Yielded)
        })
    })
}

async fn roll(session: &SessionHandle<Custom>) -> SessionHandle<Custom> {
    let next = Rollover::new(Vec::new()).within(secs(1));
    session.rollover(next).await.unwrap().into_handle()
}

/// How a session is when it is rolled over in the middle of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// It runs, and is cancelled after the grace.
    Running,
    /// It was paused, and its run cancelled after the grace.
    Paused,
    /// Its worker was lost, and the next one has not begun a run.
    Lost,
}

#[tokio::test(start_paused = true)]
async fn g4_a_turn_goes_on_in_the_successor_with_its_attempts_and_steps() {
    for when in [When::Running, When::Paused, When::Lost] {
        let told = Told::default();
        let store = MemoryStore::new();
        let policy = || Policy::builder().pause_grace(secs(1)).build().unwrap();
        let workload = || shipper(&told, 2);
        let mut worker = start_on(store.clone(), workload(), |b| b.policy(policy())).await;
        let mut first = custom_with(&worker, 21).await;
        tokio::time::sleep(secs(1)).await;
        match when {
            When::Running => {}
            When::Paused => drop(first.pause().await.unwrap()),
            When::Lost => {
                // The pause is what keeps the next worker from running it.
                first.pause().await.unwrap();
                drop(worker);
                worker = start_on(store.clone(), workload(), |b| b.policy(policy())).await;
                worker.recovered().await.unwrap();
                first = worker.session(first.id()).await.unwrap().typed().unwrap();
            }
        }
        let second = roll(&first).await;
        tokio::time::sleep(secs(1)).await;
        // The origin of the turn is kept along the chain.
        let third = roll(&second).await;
        assert_eq!(consumed(&third).await, [42], "{when:?}");

        let [a, b, c] = [&first, &second, &third].map(|session| Session::id(session));
        let expected = [
            format!("charged as {a}/1/charge"),
            format!("{a}: attempt 1, 42"),
            format!("shipped as {a}/1/ship"),
            format!("{b}: attempt 2, 42"),
            format!("lost as {a}/1/ship"),
            format!("shipped as {a}/1/ship"),
            format!("{c}: attempt 3, 42"),
            format!("lost as {a}/1/ship"),
            format!("shipped as {a}/1/ship"),
            format!("packed as {a}/1/pack"),
        ];
        assert_eq!(*told.lock().unwrap(), expected, "{when:?}");
        // The next turn of the successor is its own.
        third.send(4).await.unwrap();
        assert_eq!(consumed(&third).await, [42, 8], "{when:?}");
        let last = told.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, format!("packed as {c}/2/pack"), "{when:?}");
        drop(worker);
        assert_eq!(audit(&store).await, []);
    }
}

/// What stays behind is nobody's business there.
#[tokio::test(start_paused = true)]
async fn g4_a_turn_that_is_left_behind_leaves_nothing_to_the_successor() {
    let told = Told::default();
    let store = MemoryStore::new();
    let worker = start_on(store.clone(), shipper(&told, 1), |b| b).await;
    let first = custom_with(&worker, 21).await;
    tokio::time::sleep(secs(1)).await;
    let next = Rollover::new(Vec::new()).within(secs(1)).unread(Unread::Leave).input(4);
    let second = first.rollover(next).await.unwrap().into_handle();
    tokio::time::sleep(secs(1)).await;
    let (a, b) = (first.id(), second.id());
    let expected = [
        format!("charged as {a}/1/charge"),
        format!("{a}: attempt 1, 42"),
        format!("shipped as {a}/1/ship"),
        format!("charged as {b}/1/charge"),
        format!("{b}: attempt 1, 8"),
        format!("shipped as {b}/1/ship"),
        format!("packed as {b}/1/pack"),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(first.status().await.unwrap().state(), State::Completed);
    drop(worker);
    assert_eq!(audit(&store).await, []);
}

#[test]
fn g4_a_crash_at_any_commit_of_a_rollover_repeats_no_step() {
    let outside = Outside::default();
    let (scene, after) = (outside.clone(), outside.clone());
    let workload = worker_of_steps(&outside);
    // The turn of a five takes long after its first step.
    let roll_over = async |harness: &mut Harness| {
        let start = sessionkeeper::Start::<Custom>::new(Vec::new()).key("one".parse()?);
        let session = harness.supervisor().start(start).await?.into_handle();
        session.send_with_id("five".parse()?, 5).await?;
        tokio::time::sleep(secs(1)).await;
        let next = Rollover::new(Vec::new()).within(secs(1)).key("next".parse()?);
        let next = session.rollover(next).await?.into_handle();
        assert_eq!(harness.drained(&next).await, [116]);
        Ok::<_, sessionkeeper::store::BoxError>(())
    };
    let commits = CrashSweep::new().run(
        move |b| b.workload(workload.clone()),
        async |harness: &mut Harness, _: &mut ()| {
            *scene.seen() = Seen::default();
            roll_over(harness).await
        },
        async |harness, ()| {
            roll_over(harness).await?;
            let seen = after.seen();
            assert_eq!(seen.wrong, [""; 0]);
            assert_eq!(seen.effects.len(), 4, "{:?}", seen.effects);
            assert!(seen.effects.values().all(|times| *times == 1), "{:?}", seen.effects);
            Ok(())
        },
    );
    assert!(commits > 10, "{commits} commits only");
}
