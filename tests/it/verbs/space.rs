//! Where all sessions together hold more than they may, ended ones go before their time.

use std::num::NonZeroU64;

use sessionkeeper::{
    Builder, Fact, Lifecycle, Removal, Retention, SessionError, SessionHandle, State,
    WorkerGeneration,
    store::{BoxError, Store},
    testing::{CrashSweep, Harness, audit},
};

use super::{MINUTE, SECOND, state, status, until};
use crate::{
    support::{BUDGET, Do, Scripted, Worker, drained},
    traces::traced,
};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// More than sessions hold beside what the tests let them grow by.
const LITTLE: u64 = 4_000;

fn most(retention: Retention, bytes: u64) -> impl Fn(Builder) -> Builder {
    let retention = retention.bytes(NonZeroU64::new(bytes).unwrap());
    move |builder| builder.retention(retention)
}

async fn grown(worker: &Worker, bytes: usize) -> SessionHandle<Scripted> {
    let session = worker.session_with(|start| start.input(Do::Grow(bytes))).await;
    drained(&session).await;
    session
}

async fn is_gone(worker: &Worker, session: &SessionHandle<Scripted>) -> bool {
    matches!(worker.supervisor.status(session.id()).await, Err(SessionError::NotFound { .. }))
}

async fn held(worker: &Worker) -> u64 {
    worker.supervisor.space().await.unwrap().held.total()
}

async fn is_sound(worker: Worker) {
    worker.supervisor.shutdown(BUDGET).await;
    worker.store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await.unwrap();
    assert_eq!(audit(&worker.store).await, []);
}

#[tokio::test(start_paused = true)]
async fn ended_sessions_make_room_the_one_that_ended_first_before_the_others() {
    let retention = Retention::default().completed(DAY * 30).failed(DAY * 30);
    let worker = Worker::start_with(most(retention, 100_000)).await;
    let mut ended = Vec::new();
    // The one that began last ends first.
    for _ in 0..6 {
        ended.insert(0, grown(&worker, 10_000).await);
    }
    let one = held(&worker).await / 6;
    assert!((10_000..10_000 + LITTLE).contains(&one), "{one} bytes each");
    for (number, session) in ended.iter().enumerate() {
        match number % 2 {
            0 => session.complete().await.unwrap(),
            _ => session.fail("told to").await.unwrap(),
        }
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(MINUTE).await;
    for session in &ended {
        assert!(!is_gone(&worker, session).await, "there is room");
    }
    // Room is needed for two or three of them, and no more than that is made.
    let _large = grown(&worker, 60_000).await;
    tokio::time::sleep(MINUTE).await;
    let gone = ended.len()
        - worker.supervisor.counts(sessionkeeper::Scope::All).await.unwrap().total() as usize
        + 1;
    assert!((2..=3).contains(&gone), "{gone} are gone");
    for (number, session) in ended.iter().enumerate() {
        assert_eq!(is_gone(&worker, session).await, number < gone, "{number}");
    }
    let space = worker.supervisor.space().await.unwrap();
    assert_eq!(space.excess(), 0, "{space}");
    assert!(space.held.total() + one + LITTLE > 100_000, "{space}: no more than had to");
    assert_eq!(space.to_string(), format!("{} bytes of 100000", space.held.total()));
    is_sound(worker).await;
}

/// Nothing that has not ended is removed, nor what is to be kept for good; and it is said that there is no room.
#[tokio::test(start_paused = true)]
async fn none_goes_that_is_to_be_kept() {
    let retention = Retention::default().completed(DAY * 30);
    let worker = Worker::start_with(most(retention, 20_000)).await;
    let paused = grown(&worker, 10_000).await;
    paused.pause().await.unwrap();
    let active = grown(&worker, 10_000).await;
    let stopped = grown(&worker, 10_000).await;
    stopped.stop().await.unwrap().ended().await.unwrap();
    let failed = grown(&worker, 10_000).await;
    failed.fail("told to").await.unwrap();
    let quarantined = grown(&worker, 10_000).await;
    quarantined.send(Do::PanicTimes(99)).await.unwrap();
    until(&quarantined, |status| status.state() == State::Paused).await;
    tokio::time::sleep(MINUTE * 20).await;
    for (kept, expected) in [
        (&paused, State::Paused),
        (&stopped, State::Stopped),
        (&failed, State::Failed),
        (&quarantined, State::Paused),
    ] {
        assert_eq!(state(kept).await, expected);
    }
    assert!(!is_gone(&worker, &active).await);
    let space = worker.supervisor.space().await.unwrap();
    assert!(space.excess() > 30_000, "{space}");
    assert!(space.to_string().ends_with("too many"), "{space}");

    // One that may go goes at once, whatever it frees.
    active.complete().await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    assert!(is_gone(&worker, &active).await);
    let log = worker.store.events(active.id(), 1..=999, 999).await.unwrap();
    let deleted = Fact::Lifecycle(Lifecycle::Deleted { by: Removal::Space, ends: false });
    assert_eq!(log.last().map(|last| &last.fact), Some(&deleted));
    assert!(worker.supervisor.space().await.unwrap().excess() > 20_000);
    is_sound(worker).await;
}

/// That there is no room is said when it begins, and not with each commit.
#[tokio::test(start_paused = true)]
async fn that_there_is_no_room_is_said_once() {
    let (lines, _tracing) = traced();
    let said = || lines.all().iter().filter(|line| line.contains("none is left that may")).count();
    let retention = Retention::default().completed(DAY);
    let worker = Worker::start_with(most(retention, 25_000)).await;
    let kept = grown(&worker, 10_000).await;
    assert_eq!(said(), 0);
    for times in 1..=2 {
        let more = grown(&worker, 10_000).await;
        // Two of its states are kept.
        for _ in 0..5 {
            kept.send(Do::Add(1)).await.unwrap();
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(said(), times);
        let line = lines.all().into_iter().rfind(|line| line.contains("none is left")).unwrap();
        assert!(line.contains("WARN") && line.contains("limit=25000 excess="), "{line}");
        more.complete().await.unwrap();
        tokio::time::sleep(MINUTE).await;
        assert!(is_gone(&worker, &more).await);
    }
    assert_eq!(said(), 2);
    is_sound(worker).await;
}

/// A worker that begins with more than there may be makes room too, and counts from then on.
#[tokio::test(start_paused = true)]
async fn a_limit_that_is_new_holds_for_what_was_there() {
    let worker = Worker::start().await;
    let (first, second) = (grown(&worker, 10_000).await, grown(&worker, 10_000).await);
    let emits = worker.session_with(|start| start.input(Do::Emit(300))).await;
    drained(&emits).await;
    first.complete().await.unwrap();
    tokio::time::sleep(SECOND).await;
    second.complete().await.unwrap();
    let before = held(&worker).await;
    assert!((20_000..20_000 + LITTLE).contains(&before), "{before}: events are not counted");
    assert_eq!(status(&emits).await.record().footprint, None);
    let retention = Retention::default().ended(DAY * 30).events(NonZeroU64::new(100).unwrap());
    let worker = worker.crash_and_restart_with(most(retention, 15_000)).await;
    tokio::time::sleep(MINUTE).await;
    assert!(is_gone(&worker, &first).await && !is_gone(&worker, &second).await);
    let emits = worker.again(&emits).await;
    for _ in 0..30 {
        emits.send(Do::Emit(10)).await.unwrap();
        drained(&emits).await;
    }
    tokio::time::sleep(MINUTE).await;
    let record = status(&emits).await.record().clone();
    let footprint = record.footprint.clone().unwrap();
    assert!(footprint.after > 300 && footprint.events > 0, "{footprint:?}");
    let left = worker.store.events(emits.id(), 1..=9_999, 9_999).await.unwrap();
    assert!((100..=220).contains(&left.len()), "{} are left", left.len());
    is_sound(worker).await;
}

/// What the records say is what there is, and their sum what the store says: through crashes, steps, waiting inputs, forks,
/// rollovers and events that go.
#[test]
fn what_is_held_is_what_there_is() {
    let configure = |builder: Builder| {
        let retention = Retention::default().ended(DAY).stopped(DAY);
        let retention = retention.events(NonZeroU64::new(12).unwrap());
        builder.workload(Scripted::default()).retention(retention.bytes(NonZeroU64::MAX))
    };
    let life = async |harness: &mut Harness, number: &mut u64| {
        let start = |key: &str| Ok::<_, BoxError>(Scripted::start().key(key.parse()?));
        let supervisor = harness.supervisor();
        let first = supervisor.start(start("one")?).await?.into_handle();
        for input in [Do::Emit(9), Do::StepThenFail(5), Do::Grow(500), Do::Emit(20), Do::Spend(3)] {
            *number += 1;
            first.send_with_id(format!("{number}").parse()?, input).await?;
        }
        harness.drained(&first).await;
        tokio::time::sleep(MINUTE).await;
        first.pause().await?;
        first.send(Do::Add(1)).await?;
        let second = supervisor.start(start("two")?.input(Do::RollOver(3))).await?.into_handle();
        tokio::time::sleep(MINUTE).await;
        second.delete(sessionkeeper::Delete::StopFirst).await?;
        Ok(())
    };
    CrashSweep::new().run(configure, life, async |harness, _| {
        for wait in [SECOND * 5, MINUTE] {
            tokio::time::sleep(wait).await;
            let held = harness.supervisor().space().await?.held;
            let store = harness.store().inner().clone();
            harness.shutdown().await;
            store.begin(WorkerGeneration::from_uuid(uuid::Uuid::from_u128(9))).await?;
            assert_eq!(audit(&store).await, []);
            assert!(held.total() < 20_000);
            store.close().await?;
            harness.reopen().await;
        }
        Ok(())
    });
}
