//! G6: a session expires only on time that its worker was really running, and never while it has
//! said why it is silent.

use std::time::Duration;

use futures::StreamExt;
use sessionkeeper::{
    Event, Limit, OnIdle, Outcome, PauseCause, Policy, State, Usage, store::Fault,
};

use super::kit::{Custom, custom, custom_with, millis, secs, slow, start_on, tap};
use crate::support::{Do, Worker, drained};

const HOUR: Duration = Duration::from_secs(3600);

fn minute() -> Policy {
    Policy::builder().heartbeat_timeout(secs(60)).idle_timeout(secs(60)).build().unwrap()
}

/// Lets so much time pass as a worker sees it that is not running: in one step.
async fn stand_still(span: Duration) {
    tokio::time::advance(span).await;
    // Whatever was due in the gap comes at once.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_worker_that_stood_still_expires_nothing() {
    let worker = Worker::with_policy(minute()).await;
    let silent = worker.session_with(|s| s.input(Do::Silent(HOUR * 1000))).await;
    let resting = worker.session().await;
    let mut busy = Vec::new();
    for _ in 0..50 {
        let what = Do::Busy { limit: secs(100), takes: secs(90) };
        busy.push(worker.session_with(|start| start.input(what)).await);
    }
    tokio::time::sleep(secs(30)).await;
    for gap in [secs(59), secs(600), HOUR, HOUR * 24 * 7] {
        stand_still(gap).await;
        for session in busy.iter().chain([&silent, &resting]) {
            let status = session.status().await.unwrap();
            assert_eq!(status.state(), State::Active, "after standing still for {gap:?}");
        }
    }
    // Four gaps count for two seconds each at the most: 30 + 8 of its 60 seconds are over.
    tokio::time::sleep(secs(20)).await;
    assert_eq!(silent.status().await.unwrap().state(), State::Active);
    tokio::time::sleep(secs(15)).await;
    assert_eq!(silent.status().await.unwrap().state(), State::Expired, "that was real silence");
}

#[tokio::test(start_paused = true)]
async fn g6_no_gap_of_any_length_at_any_moment_expires_a_session() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let worker = Worker::with_policy(minute()).await;
        let every = secs(rng.u64(20..45));
        let session = worker.session_with(|s| s.input(Do::Beat { every, times: 1000 })).await;
        for _ in 0..30 {
            tokio::time::sleep(millis(rng.u64(1..5000))).await;
            stand_still(secs(rng.u64(1..1_000_000))).await;
        }
        let status = session.status().await.unwrap();
        assert_eq!(status.state(), State::Active, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_paused_or_pending_session_is_not_timed_out_by_a_gap() {
    let policy = Policy::builder().paused_timeout(secs(60)).pending_timeout(secs(60)).build();
    let worker = Worker::start_with(|b| b.policy(policy.unwrap()).max_active(2)).await;
    let paused = worker.session().await;
    paused.pause().await.unwrap();
    let _one = worker.session().await;
    let _two = worker.session().await;
    let pending = worker.session().await;
    stand_still(HOUR).await;
    assert_eq!(paused.status().await.unwrap().state(), State::Paused);
    assert_eq!(pending.status().await.unwrap().state(), State::Pending);
    tokio::time::sleep(secs(62)).await;
    assert_eq!(paused.status().await.unwrap().state(), State::Expired);
    assert_eq!(pending.status().await.unwrap().state(), State::Expired);
}

#[tokio::test(start_paused = true)]
async fn g6_what_is_declared_or_shown_is_not_silence() {
    let kinds = [
        ("busy inside its deadline", Do::Busy { limit: HOUR, takes: HOUR / 2 }),
        ("awaiting a person", Do::Await(HOUR * 3)),
        ("beating", Do::Beat { every: secs(59), times: 100 }),
    ];
    for (name, what) in kinds {
        let worker = Worker::with_policy(minute()).await;
        let session = worker.session_with(|start| start.input(what)).await;
        session.send(Do::Add(1)).await.unwrap();
        tokio::time::sleep(HOUR * 3).await;
        assert_eq!(drained(&session).await.sum, 1, "{name}");
        let status = session.status().await.unwrap();
        assert_eq!(status.record().runs.restarts, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_after_a_declared_wait_a_full_fresh_window_begins() {
    for waiting in [Do::Busy { limit: secs(500), takes: secs(300) }, Do::Await(secs(300))] {
        let worker = Worker::with_policy(minute()).await;
        let session = worker.session_with(|start| start.input(waiting.clone())).await;
        // The window after it is used up to 59 of 60 seconds.
        session.send(Do::Silent(secs(59))).await.unwrap();
        session.send(Do::Silent(secs(59))).await.unwrap();
        session.send(Do::Add(1)).await.unwrap();
        assert_eq!(drained(&session).await.sum, 1, "{waiting:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_busy_operation_past_its_limit_lapses_and_the_session_lives() {
    let worker = Worker::with_policy(minute()).await;
    let what = Do::Busy { limit: secs(300), takes: HOUR };
    let session = worker.session_with(|start| start.input(what)).await;
    tokio::time::sleep(secs(299)).await;
    assert_eq!(session.status().await.unwrap().record().runs.count, 1);
    tokio::time::sleep(secs(4)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.state(), State::Active, "the error of it is a failure like others");
    assert_eq!(status.record().runs.restarts, 1);
    let end = status.last_run().unwrap().end.to_string();
    assert!(end.contains("5m"), "{end}");

    let caught = Custom::new(|cx| {
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                let lapsed = cx.busy(secs(100), std::future::pending::<()>()).await.is_err();
                cx.state_mut().push(*number + u64::from(lapsed));
            }
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(tap(), caught, |b| b.policy(minute())).await;
    let session = custom_with(&supervisor, 10).await;
    tokio::time::sleep(secs(101)).await;
    assert_eq!(session.snapshot().await.unwrap().state, [11]);
}

#[tokio::test(start_paused = true)]
async fn g6_whatever_a_run_does_counts_as_a_sign_of_life() {
    let kinds = ["event", "try event", "usage", "checkpoint", "progress", "from outside", "helper"];
    for (kind, name) in kinds.into_iter().enumerate() {
        let workload = Custom::new(move |cx| {
            Box::pin(async move {
                let _ = cx.next_input().await?;
                for _ in 0..10 {
                    tokio::time::sleep(secs(50)).await;
                    match kind {
                        0 => cx.emit(Event::custom("sign", 1)).await?,
                        1 => cx.try_emit(&Event::custom("sign", 1))?,
                        2 => cx.record_usage(Usage::tokens(1, 1)),
                        3 => drop(cx.checkpoint().await?),
                        4 => drop(cx.save_progress().await?),
                        5 => {}
                        _ => {
                            let run = cx.run().clone();
                            let _ = cx.spawn(async move { run.heartbeat() }).await;
                        }
                    }
                }
                cx.state_mut().push(1);
                Ok(Outcome::Completed)
            })
        });
        let supervisor = start_on(tap(), workload, |b| b.policy(minute())).await;
        let session = custom_with(&supervisor, 1).await;
        if name == "from outside" {
            for _ in 0..10 {
                tokio::time::sleep(secs(49)).await;
                session.heartbeat().unwrap();
            }
        }
        tokio::time::sleep(secs(510)).await;
        assert_eq!(session.status().await.unwrap().state(), State::Completed, "{name}");
        assert!(session.heartbeat().is_err(), "{name}: it has no run any more");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_an_idle_night_pauses_a_session_and_an_input_wakes_it() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    tokio::time::sleep(secs(29 * 60)).await;
    assert_eq!(session.status().await.unwrap().activity().to_string(), "idle");
    tokio::time::sleep(HOUR * 10).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Idle));
    session.send(Do::Add(2)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 3);
    assert_eq!(session.status().await.unwrap().state(), State::Active);
    assert_eq!(session.status().await.unwrap().record().runs.count, 2);
}

#[tokio::test(start_paused = true)]
async fn g6_no_wake_up_is_lost_between_an_idle_pause_and_an_input() {
    for offset in 0..40 {
        let policy = Policy::builder().idle_timeout(secs(60)).build().unwrap();
        let tap = slow(offset);
        let supervisor =
            start_on(tap.clone(), Custom::new(|cx| Box::pin(super::kit::collect(cx))), |b| {
                b.policy(policy)
            })
            .await;
        let session = custom(&supervisor).await;
        let mut statuses = session.watch().await.unwrap();
        statuses.next().await.unwrap();
        tokio::time::sleep(secs(60) - millis(30) + millis(2 * offset)).await;
        session.send(offset).await.unwrap();
        tokio::time::sleep(secs(5)).await;
        let state = session.snapshot().await.unwrap().state;
        assert_eq!(state, [offset], "sent {offset} × 2 ms around the idle pause");
        // The same, while its worker is lost.
        tokio::time::sleep(secs(55) - millis(30) + millis(2 * offset)).await;
        session.send(1000).await.unwrap();
        drop(supervisor);
        let supervisor =
            start_on(tap, Custom::new(|cx| Box::pin(super::kit::collect(cx))), |b| b).await;
        supervisor.recovered().await.unwrap();
        tokio::time::sleep(secs(5)).await;
        let session = supervisor.session(session.id()).await.unwrap();
        let state = session.snapshot_json().await.unwrap().state;
        assert_eq!(state, serde_json::json!([offset, 1000]), "offset {offset}");
    }
}

/// The run was asked to yield for being idle, and takes its time: it does not take the input.
#[tokio::test(start_paused = true)]
async fn g6_an_input_that_comes_while_an_idle_run_yields_wakes_its_session() {
    let workload = Custom::new(|cx| {
        Box::pin(async move {
            let ran = super::kit::collect(cx).await;
            tokio::time::sleep(secs(2)).await;
            ran
        })
    });
    let policy = Policy::builder().idle_timeout(secs(60)).build().unwrap();
    let supervisor = start_on(tap(), workload, |b| b.policy(policy)).await;
    let session = custom(&supervisor).await;
    tokio::time::sleep(secs(61)).await;
    assert_eq!(session.status().await.unwrap().activity().to_string(), "pausing");
    session.send(7).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(session.status().await.unwrap().record().runs.count, 2, "it was paused and woken");
    assert_eq!(session.snapshot().await.unwrap().state, [7]);
}

#[tokio::test(start_paused = true)]
async fn g6_a_run_that_waits_for_a_failing_store_is_not_silent_and_not_idle() {
    for on_idle in [OnIdle::Pause, OnIdle::Expire] {
        let policy = minute().to_builder().on_idle(on_idle).build().unwrap();
        let worker = Worker::with_policy(policy).await;
        let saving = worker.session_with(|s| s.input(Do::Beat { every: secs(5), times: 4 })).await;
        saving.send(Do::SaveThenFail(3)).await.unwrap();
        let turning = worker.session_with(|s| s.input(Do::Beat { every: secs(5), times: 4 })).await;
        turning.send(Do::Add(3)).await.unwrap();
        let emitting =
            worker.session_with(|s| s.input(Do::Beat { every: secs(5), times: 4 })).await;
        emitting.send(Do::Emit(20_000)).await.unwrap();
        tokio::time::sleep(secs(10)).await;
        worker.store.fail(Fault::NothingDone);
        tokio::time::sleep(HOUR * 5).await;
        worker.store.mend();
        assert_eq!(drained(&saving).await.sum, 3, "{on_idle:?}");
        assert_eq!(drained(&turning).await.sum, 3, "{on_idle:?}");
        assert_eq!(drained(&emitting).await.seen, [1, 2], "{on_idle:?}");
        assert_eq!(turning.status().await.unwrap().record().runs.count, 1, "{on_idle:?}");
        assert_eq!(emitting.status().await.unwrap().record().runs.count, 1, "{on_idle:?}");
        // A slow store is no different.
        turning.send(Do::Beat { every: secs(5), times: 2 }).await.unwrap();
        turning.send(Do::Add(4)).await.unwrap();
        let stall = worker.store.stall();
        tokio::time::sleep(HOUR).await;
        drop(stall);
        assert_eq!(drained(&turning).await.sum, 7, "{on_idle:?}");
        assert_eq!(turning.status().await.unwrap().record().runs.count, 1, "{on_idle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_session_without_limits_never_expires() {
    let policy = Policy::builder().heartbeat_timeout(Limit::Never).idle_timeout(Limit::Never);
    let worker = Worker::with_policy(policy.build().unwrap()).await;
    let silent = worker.session_with(|start| start.input(Do::Silent(HOUR * 1000))).await;
    let resting = worker.session().await;
    tokio::time::sleep(HOUR * 48).await;
    assert_eq!(silent.status().await.unwrap().state(), State::Active);
    assert_eq!(resting.status().await.unwrap().activity().to_string(), "idle");
}

#[tokio::test(start_paused = true)]
async fn g6_an_input_that_is_on_its_way_keeps_an_idle_session_from_its_end() {
    let policy = minute().to_builder().on_idle(OnIdle::Expire).build().unwrap();
    let worker = Worker::with_policy(policy).await;
    let session = worker.session().await;
    tokio::time::sleep(secs(59)).await;
    let stall = worker.store.stall();
    let sent = tokio::spawn({
        let session = session.clone();
        async move { session.send(Do::Add(1)).await }
    });
    tokio::time::sleep(secs(30)).await;
    drop(stall);
    sent.await.unwrap().unwrap();
    assert_eq!(drained(&session).await.sum, 1);
    assert_eq!(session.status().await.unwrap().state(), State::Active);
    tokio::time::sleep(secs(61)).await;
    assert_eq!(session.status().await.unwrap().state(), State::Expired, "and then it is idle");
}
