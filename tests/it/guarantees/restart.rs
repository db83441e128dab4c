//! The restart policy: how often and how soon a failed run is replaced, and what follows.

use std::time::Duration;

use sessionkeeper::{
    Backoff, Lifecycle, OnExhausted, Outcome, PauseCause, Policy, Restart, RestartPolicy,
    SessionHandle, State,
};
use tokio::time::Instant;

use super::kit::{Custom, custom, lifecycle, millis, restarting, secs, start_on, tap};
use crate::support::{BUDGET, Do, Scripted, Worker, drained};

fn fixed(wait: Duration) -> Backoff {
    Backoff { initial: wait, factor: 1.0, max: wait, jitter: 0.0 }
}

/// The waits that were scheduled, in milliseconds.
async fn waits(session: &SessionHandle<Scripted>) -> Vec<u64> {
    let all = lifecycle(session).await;
    all.into_iter()
        .filter_map(|what| match what {
            Lifecycle::RestartScheduled { delay_ms, .. } => Some(delay_ms),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn restart_waits_grow_and_their_jitter_stays_in_its_bounds() {
    let backoff = Backoff { initial: secs(1), factor: 2.0, max: secs(60), jitter: 0.2 };
    let restart = RestartPolicy {
        max_restarts: 100,
        max_without_checkpoint: 100,
        backoff,
        ..RestartPolicy::default()
    };
    let worker = Worker::with_policy(restarting(restart)).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let session = worker.session_with(|start| start.input(Do::FailTimes(10))).await;
        assert_eq!(drained(&session).await.sum, 1);
        let waits = waits(&session).await;
        assert_eq!(waits.len(), 10);
        for (index, wait) in waits.into_iter().enumerate() {
            let full = (1000 << index).min(60_000);
            assert!(wait <= full && wait >= full * 8 / 10, "{wait} of {full}");
            seen.insert(wait);
        }
    }
    assert!(seen.len() > 100, "the jitter hardly differs: {}", seen.len());
}

#[tokio::test(start_paused = true)]
async fn restart_really_waits_as_long_as_it_says() {
    let restart = RestartPolicy { backoff: fixed(secs(10)), ..RestartPolicy::default() };
    let worker = Worker::with_policy(restarting(restart)).await;
    let began = Instant::now();
    let session = worker.session_with(|start| start.input(Do::PanicTimes(2))).await;
    tokio::time::sleep(secs(9)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.activity().to_string(), "restarting (attempt 1)");
    assert_eq!(status.record().runs.count, 1);
    drained(&session).await;
    assert!(began.elapsed() >= secs(20) && began.elapsed() < millis(20_100));
}

#[tokio::test(start_paused = true)]
async fn restart_is_used_up_within_its_window_only() {
    // (failures, spacing, quarantined)
    let table = [(4, 1, true), (3, 1, false), (10, 30, false), (10, 15, true)];
    for (failures, spacing, quarantined) in table {
        for on_exhausted in [OnExhausted::Quarantine, OnExhausted::Fail] {
            let restart = RestartPolicy {
                backoff: fixed(secs(spacing)),
                max_without_checkpoint: 100,
                on_exhausted,
                ..RestartPolicy::default()
            };
            let worker = Worker::with_policy(restarting(restart)).await;
            let session = worker.session_with(|start| start.input(Do::FailTimes(failures))).await;
            let other = worker.session_with(|start| start.input(Do::Add(1))).await;
            tokio::time::sleep(secs(400)).await;
            let status = session.status().await.unwrap();
            let name = format!("{failures} failures, one in {spacing} s, {on_exhausted:?}");
            match (quarantined, on_exhausted) {
                (false, _) => assert_eq!(drained(&session).await.sum, 1, "{name}"),
                (true, OnExhausted::Quarantine) => {
                    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined), "{name}");
                    let last = status.record().history.back().unwrap();
                    let reason = last.reason.clone().unwrap();
                    assert!(reason.contains("4 failures within 1m"), "{reason}");
                }
                (true, OnExhausted::Fail) => assert_eq!(status.state(), State::Failed, "{name}"),
            }
            let other = other.status().await.unwrap();
            assert_eq!((other.state(), other.record().runs.count), (State::Active, 1), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn restart_without_any_checkpoint_comes_to_an_end() {
    let restart = RestartPolicy {
        backoff: fixed(secs(100)),
        max_without_checkpoint: 5,
        ..RestartPolicy::default()
    };
    let worker = Worker::with_policy(restarting(restart)).await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(1000))).await;
    tokio::time::sleep(secs(10_000)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    assert_eq!(status.record().runs.count, 6);
}

#[tokio::test(start_paused = true)]
async fn restart_counts_begin_anew_when_a_person_resumes() {
    let restart = RestartPolicy { backoff: fixed(secs(1)), ..RestartPolicy::default() };
    let worker = Worker::with_policy(restarting(restart)).await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(6))).await;
    tokio::time::sleep(secs(30)).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Quarantined));
    assert_eq!(status.record().failures.recent.len(), 4);
    session.send(Do::Add(1)).await.unwrap();
    tokio::time::sleep(secs(30)).await;
    assert_eq!(session.status().await.unwrap().state(), State::Paused, "no input wakes it");
    session.resume().await.unwrap();
    let done = drained(&session).await;
    assert_eq!((done.sum, done.seen), (2, vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn restart_forgets_its_backoff_after_a_healthy_run() {
    let backoff = Backoff { initial: secs(1), factor: 10.0, max: secs(1000), jitter: 0.0 };
    let restart = RestartPolicy {
        backoff,
        within: millis(1),
        healthy_after: secs(300),
        max_without_checkpoint: 100,
        ..RestartPolicy::default()
    };
    let worker = Worker::with_policy(restarting(restart)).await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(2))).await;
    drained(&session).await;
    session.send(Do::FailTimes(1)).await.unwrap();
    drained(&session).await;
    assert_eq!(waits(&session).await, [1_000, 10_000, 100_000], "a short run resets nothing");
    tokio::time::sleep(secs(301)).await;
    session.send(Do::FailTimes(1)).await.unwrap();
    drained(&session).await;
    assert_eq!(waits(&session).await[3..], [1_000], "a healthy one does");
}

#[tokio::test(start_paused = true)]
async fn restart_follows_the_word_of_the_error() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::FailForGood)).await;
    session.settled().await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!((status.state(), status.record().runs.count), (State::Failed, 1));

    let what = Do::FailAndRetryAfter(secs(5000));
    let session = worker.session_with(|start| start.input(what)).await;
    tokio::time::sleep(secs(4999)).await;
    assert_eq!(session.status().await.unwrap().record().runs.count, 1);
    tokio::time::sleep(secs(2)).await;
    assert_eq!(session.status().await.unwrap().record().runs.count, 2);
    assert_eq!(waits(&session).await, [5_000_000]);

    let never = RestartPolicy { restart: Restart::Never, ..RestartPolicy::default() };
    let own = restarting(never);
    let session = worker.session_with(|start| start.policy(own).input(Do::FailTimes(1))).await;
    session.settled().await.unwrap();
    assert_eq!(session.status().await.unwrap().state(), State::Failed);
}

#[tokio::test(start_paused = true)]
async fn restart_backoff_goes_on_in_the_next_worker() {
    let policy =
        restarting(RestartPolicy { backoff: fixed(secs(100)), ..RestartPolicy::default() });
    for ends_well in [true, false] {
        let worker = Worker::with_policy(policy.clone()).await;
        let session = worker.session_with(|start| start.input(Do::FailTimes(1))).await;
        tokio::time::sleep(secs(61)).await;
        assert_eq!(session.status().await.unwrap().record().runs.count, 1);
        if ends_well {
            worker.supervisor.shutdown(BUDGET).await;
        }
        let set = policy.clone();
        let worker = worker.crash_and_restart_with(|b| b.policy(set)).await;
        let session = worker.again(&session).await;
        if ends_well {
            // A shutdown pauses it; the next start begins where it was.
            assert_eq!(drained(&session).await.sum, 1);
            continue;
        }
        let status = session.status().await.unwrap();
        assert!(status.activity().to_string().starts_with("restarting"), "{status:?}");
        // 61 s are over, of which a crash may forget the last 15.
        tokio::time::sleep(secs(38)).await;
        assert_eq!(session.status().await.unwrap().record().runs.count, 1);
        tokio::time::sleep(secs(17)).await;
        assert_eq!(session.status().await.unwrap().record().runs.count, 2);
        assert_eq!(drained(&session).await.sum, 1);
        assert_eq!(session.status().await.unwrap().record().recoveries, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn restart_backoff_yields_to_every_verb_at_once() {
    let policy =
        restarting(RestartPolicy { backoff: fixed(secs(1000)), ..RestartPolicy::default() });
    for verb in ["pause", "stop", "complete", "fail", "send", "shutdown"] {
        let worker = Worker::with_policy(policy.clone()).await;
        let session = worker.session_with(|start| start.input(Do::FailTimes(1))).await;
        tokio::time::sleep(secs(1)).await;
        let began = Instant::now();
        match verb {
            "pause" => drop(session.pause().await.unwrap()),
            "stop" => drop(session.stop().await.unwrap().ended().await.unwrap()),
            "complete" => session.complete().await.unwrap(),
            "fail" => session.fail("why").await.unwrap(),
            "send" => drop(session.send(Do::Add(1)).await.unwrap()),
            _ => drop(worker.supervisor.shutdown(BUDGET).await),
        }
        assert!(began.elapsed() < millis(100), "{verb} waited");
        tokio::time::sleep(secs(2000)).await;
        let runs = worker.workload.probe.runs();
        assert_eq!(runs, if verb == "send" { 2 } else { 1 }, "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn restart_does_not_count_what_the_worlds_failure_did() {
    let worker = Worker::with_policy(Policy::default()).await;
    let session = worker.session_with(|s| s.input(Do::Beat { every: secs(1), times: 3 })).await;
    tokio::time::sleep(secs(1)).await;
    worker.store.fail(sessionkeeper::store::Fault::NothingDone);
    tokio::time::sleep(secs(500)).await;
    worker.store.mend();
    drained(&session).await;
    let record = session.status().await.unwrap();
    assert_eq!(record.record().failures, sessionkeeper::Failures::default());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_returns_with_nothing_to_do_is_idle_and_has_not_failed() {
    let returns = Custom::new(|_| Box::pin(async { Ok(Outcome::Yielded) }));
    let supervisor = start_on(tap(), returns, |b| b).await;
    let session = custom(&supervisor).await;
    let status = session.wait_for(&[State::Paused]).await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Idle));
    assert_eq!(status.record().failures.last, None);
}
