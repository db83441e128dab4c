//! G4: state and consumed inputs commit together, so an input has its effect once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::FutureExt;
use sessionkeeper::{
    InputId, Outcome, PauseCause, SendError, State,
    store::BoxError,
    testing::{Harness, crash_at_every_commit},
};

use super::kit::{Custom, custom, millis, restarting, secs, slow, start_on, tap, tireless};
use crate::support::{Do, Scripted, Worker, drained};

#[tokio::test(start_paused = true)]
async fn g4_every_input_has_its_effect_once_through_crashes_and_panics() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let policy = restarting(tireless());
        let mut worker = Worker::with_policy(policy.clone()).await;
        let mut session = worker.session().await;
        let mut sum = 0;
        let mut sent = 0;
        while sent < 60 {
            let what = match rng.u32(0..10) {
                0 => Do::PanicTimes(rng.u32(0..3)),
                1 => Do::FailTimes(rng.u32(0..3)),
                2 => Do::Beat { every: millis(10), times: rng.u32(0..30) },
                3 => Do::Emit(rng.u32(0..10)),
                _ => Do::Add(2),
            };
            sum += match what {
                Do::PanicTimes(_) | Do::FailTimes(_) => 1,
                Do::Add(number) => number,
                _ => 0,
            };
            match session.send(what).await {
                Ok(_) => sent += 1,
                Err(SendError::Full { .. }) => drop(drained(&session).await),
                Err(error) => panic!("seed {seed}: {error}"),
            }
            if rng.u32(0..3) == 0 {
                tokio::time::sleep(millis(rng.u64(0..400))).await;
            }
            if rng.u32(0..8) == 0 {
                let again = policy.clone();
                worker = worker.crash_and_restart_with(|b| b.policy(again)).await;
                session = worker.again(&session).await;
                if session.status().await.unwrap().pause_cause() == Some(PauseCause::Quarantined) {
                    session.resume().await.unwrap();
                }
            }
        }
        let done = tokio::time::timeout(secs(600), drained(&session)).await.expect("it stands");
        assert_eq!(done.sum, sum, "seed {seed}");
        assert_eq!(done.seen, (1..=60).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Starts a session and sends it its inputs, each under an id of its own: again and again the same.
async fn send_all(worker: &mut Harness, _: &mut ()) -> Result<(), BoxError> {
    let start = Scripted::start().key("one".parse()?);
    let session = worker.supervisor().start(start).await?.into_handle();
    for number in 1..=12 {
        let id = InputId::new(number.to_string())?;
        session.send_with_id(id, Do::Add(1 << number)).await?;
        if number % 4 == 0 {
            tokio::time::sleep(secs(1)).await;
        }
    }
    let done = worker.drained(&session).await;
    assert_eq!(done.sum, (1 << 13) - 2, "{done:?}");
    assert_eq!(done.seen, (1..=12).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn g4_a_crash_at_any_commit_applies_no_input_twice() {
    let commits = crash_at_every_commit(
        |b| b.workload(Scripted::default()),
        send_all,
        async |worker, ()| send_all(worker, &mut ()).await,
    );
    assert!(commits > 12, "{commits} commits only");
}

#[tokio::test(start_paused = true)]
async fn g4_saved_progress_keeps_the_input_in_hand() {
    let worker = Worker::with_policy(restarting(tireless())).await;
    let session = worker.session_with(|start| start.input(Do::SaveThenFail(5))).await;
    session.send(Do::Add(1)).await.unwrap();
    let done = drained(&session).await;
    assert_eq!(done.sum, 6, "what was saved stays, what came after it is gone");
    assert_eq!(done.seen, [1, 1, 2], "the input was given out again on top of what was saved");
    assert_eq!(session.status().await.unwrap().record().runs.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn g4_a_run_that_yields_in_the_middle_of_a_turn_gets_its_input_again() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(1))).await;
    session.send(Do::Beat { every: secs(1), times: 20 }).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    session.kill().await.unwrap().ended().await.unwrap();
    let status = session.status().await.unwrap();
    assert_eq!((status.state(), status.record().inbox.waiting()), (State::Stopped, 1));
    assert_eq!(session.snapshot().await.unwrap().state.seen, [1]);
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.seen, [1, 2]);
}

/// A run that waits for its next input in a `select!`, and changes its state meanwhile.
fn impatient(given: &Arc<AtomicU32>) -> Custom {
    let given = Arc::clone(given);
    Custom::new(move |cx| {
        let given = Arc::clone(&given);
        Box::pin(async move {
            loop {
                let next = tokio::select! {
                    biased;
                    next = cx.next_input() => next?,
                    () = tokio::time::sleep(millis(100)) => {
                        // A tick that is part of the state.
                        cx.state_mut().retain(|number| *number != 0);
                        cx.state_mut().push(0);
                        continue;
                    }
                };
                let Some(number) = next else { return Ok(Outcome::Yielded) };
                given.fetch_add(1, Ordering::SeqCst);
                cx.state_mut().push(*number);
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn g4_a_dropped_request_for_an_input_does_not_give_it_out_twice() {
    for seed in 0..20 {
        let given = Arc::default();
        let tap = slow(seed);
        let supervisor = start_on(tap.clone(), impatient(&given), |b| b).await;
        let session = custom(&supervisor).await;
        let mut rng = fastrand::Rng::with_seed(seed);
        for number in 1..=30 {
            if rng.u32(0..3) == 0 {
                // The commit that gives it out takes long enough for some ticks.
                let stall = tap.inner().stall();
                let session = session.clone();
                let sent = tokio::spawn(async move { session.send(number).await });
                tokio::time::sleep(millis(rng.u64(50..400))).await;
                drop(stall);
                sent.await.unwrap().unwrap();
            } else {
                session.send(number).await.unwrap();
            }
            tokio::time::sleep(millis(rng.u64(0..300))).await;
        }
        tokio::time::sleep(secs(10)).await;
        let mut state = session.snapshot().await.unwrap().state;
        state.retain(|number| *number != 0);
        assert_eq!(state, (1..=30).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(given.load(Ordering::SeqCst), 30, "seed {seed}: given out more than once");
        let status = session.status().await.unwrap();
        assert_eq!(status.record().inbox.waiting(), 0, "seed {seed}");
        session.pause().await.unwrap();
    }
}

/// The input is there, and the future that asked for it is never polled again.
#[tokio::test(start_paused = true)]
async fn g4_an_input_that_came_for_a_dropped_request_goes_to_the_next_one() {
    let workload = Custom::new(|cx| {
        Box::pin(async move {
            {
                let mut asked = std::pin::pin!(cx.next_input());
                assert!((&mut asked).now_or_never().is_none());
                tokio::time::sleep(secs(2)).await;
            }
            while let Some(number) = cx.next_input().await? {
                assert_eq!(number.attempt(), 1);
                cx.state_mut().push(*number);
            }
            Ok(Outcome::Yielded)
        })
    });
    let supervisor = start_on(tap(), workload, |b| b).await;
    let session = custom(&supervisor).await;
    tokio::time::sleep(secs(1)).await;
    session.send(7).await.unwrap();
    session.send(8).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(session.snapshot().await.unwrap().state, [7, 8]);
}

#[tokio::test(start_paused = true)]
async fn g4_the_number_of_the_attempt_counts_the_runs_that_had_the_input() {
    let attempts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&attempts);
    let workload = Custom::new(move |cx| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            while let Some(number) = cx.next_input().await? {
                seen.lock().unwrap().push((number.sequence(), number.attempt()));
                if number.attempt() < 3 && *number == 7 {
                    return Err("once more".into());
                }
                cx.state_mut().push(*number);
            }
            Ok(Outcome::Yielded)
        })
    });
    let policy = restarting(tireless());
    let supervisor = start_on(tap(), workload, |b| b.policy(policy)).await;
    let session = custom(&supervisor).await;
    session.send(7).await.unwrap();
    // An input that is accepted and paused away before it is given out was not attempted.
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    session.send(8).await.unwrap();
    tokio::time::sleep(secs(5)).await;
    let attempts = attempts.lock().unwrap().clone();
    let of_first: Vec<u32> = attempts.iter().filter(|(n, _)| *n == 1).map(|(_, a)| *a).collect();
    assert_eq!(of_first, (1..=of_first.len() as u32).collect::<Vec<_>>(), "{attempts:?}");
    assert_eq!(attempts.last(), Some(&(2, 1)));
}
