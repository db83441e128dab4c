//! A session is forked in whatever state it is.

use sessionkeeper::{Backoff, PauseCause, RestartPolicy, Supervisor};

use super::*;
use crate::verbs::{HANGS, MINUTE};

/// Brings a session with a sum of 3 into a state, and says what the sum of a fork is then.
async fn bring(parent: &SessionHandle<Scripted>, into: &str) {
    match into {
        "idle" => {}
        "in mid-turn" => {
            parent.send(Do::Deaf(MINUTE)).await.unwrap();
            in_hand(parent, 3).await;
        }
        "between runs" => {
            parent.send(Do::FailTimes(1)).await.unwrap();
            until(parent, |status| status.last_run().is_some()).await;
        }
        "paused" => drop(parent.pause().await.unwrap()),
        "quarantined" => {
            parent.send(Do::FailTimes(9)).await.unwrap();
            until(parent, |status| status.pause_cause() == Some(PauseCause::Quarantined)).await;
        }
        "stopping" => {
            parent.send(Do::Deaf(MINUTE)).await.unwrap();
            in_hand(parent, 3).await;
            drop(parent.stop().await.unwrap());
        }
        "stopped" => drop(parent.stop().await.unwrap().ended().await.unwrap()),
        "completed" => parent.complete().await.unwrap(),
        "failed" => {
            parent.send(Do::FailForGood).await.unwrap();
            until(parent, |status| status.state() == State::Failed).await;
        }
        "expired" => {
            parent.send(Do::Silent(HANGS / 2)).await.unwrap();
            until(parent, |status| status.state() == State::Expired).await;
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_forked_in_every_state_and_stays_in_it() {
    let states = [
        ("idle", State::Active),
        ("in mid-turn", State::Active),
        ("between runs", State::Active),
        ("paused", State::Paused),
        ("quarantined", State::Paused),
        ("stopping", State::Stopping),
        ("stopped", State::Stopped),
        ("completed", State::Completed),
        ("failed", State::Failed),
        ("expired", State::Expired),
    ];
    for (into, is) in states {
        let restart = RestartPolicy {
            backoff: Backoff { initial: MINUTE, ..Backoff::default() },
            max_restarts: if into == "quarantined" { 0 } else { 3 },
            ..RestartPolicy::default()
        };
        let worker =
            Worker::with_policy(policy(|policy| policy.restart(restart).stop_grace(MINUTE))).await;
        let parent = worker.session().await;
        add(&parent, &[1, 2]).await;
        bring(&parent, into).await;
        let before = kept(&worker.store, parent.id()).await;
        assert_eq!(before.0.state(), is, "{into}");
        let fork = fork(&parent).await;
        let after = kept(&worker.store, parent.id()).await;
        assert_eq!(after, before, "{into}");
        idle(&fork).await;
        let done = drained(&fork).await;
        assert_eq!((done.sum, done.seen), (3, vec![1, 2]), "{into}: what was committed");
        // The run of the parent was not disturbed.
        if into == "in mid-turn" {
            idle(&parent).await;
            assert_eq!(status(&parent).await.record().runs.count, 1);
        }
        consistent(&fork).await;
        consistent(&parent).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_ran_is_forked_from_its_first_state() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let _first = worker.session().await;
    let parent = worker.session_with(|start| start.input(Do::Add(1))).await;
    assert_eq!(state(&parent).await, State::Pending);
    let fork = fork(&parent).await;
    assert_eq!(forked(&fork).await.from, from(parent.id(), 1));
    assert_eq!(fork.snapshot().await.unwrap().state.seen, [0_u64; 0]);
}

/// One that was left by a lost worker too.
#[tokio::test(start_paused = true)]
async fn a_session_that_no_worker_runs_any_more_is_forked() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1, 2]).await;
    parent.send(Do::Deaf(MINUTE)).await.unwrap();
    in_hand(&parent, 3).await;
    let Worker { store, workload, supervisor } = worker;
    drop(supervisor);
    let recover = sessionkeeper::RecoverWhat::Nothing;
    let builder = Supervisor::builder(store.clone()).workload(workload.clone()).recover(recover);
    let worker = Worker { store, workload, supervisor: builder.start().await.unwrap() };
    let parent = worker.again(&parent).await;
    assert_eq!(drained(&fork(&parent).await).await.sum, 3);
}
