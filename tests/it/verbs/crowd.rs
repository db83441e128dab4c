//! Many sessions, few places, and a worker that is lost now and then.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use sessionkeeper::{Policy, SessionHandle, State};

use super::{SECOND, consistent, policy, soon, state, status, until};
use crate::support::{BUDGET, Do, Scripted, Worker, drained};

const PLACES: usize = 2;
const SESSIONS: usize = 5;

type Handle = SessionHandle<Scripted>;

fn patient() -> Policy {
    policy(|policy| policy.pause_grace(SECOND).stop_grace(SECOND).idle_timeout(SECOND * 20))
}

/// One verb. A caller that waits too long for its place gives up; what it asked for stands.
async fn act(session: &Handle, random: &mut fastrand::Rng) -> u64 {
    let verb = random.u8(0..12);
    let what = match random.u8(0..6) {
        0 => Do::FailTimes(1),
        1 => Do::Deaf(SECOND * 2),
        _ => Do::Add(1),
    };
    let sent = match verb {
        0 => tokio::time::timeout(SECOND, session.pause()).await.is_err(),
        1..4 => tokio::time::timeout(SECOND, session.resume()).await.is_err(),
        4 => session.stop().await.is_err(),
        5 => session.kill().await.is_err(),
        _ => session.send(what).await.is_ok(),
    };
    u64::from(verb > 5 && sent)
}

async fn busy_while(sessions: &[Handle], random: &mut fastrand::Rng) -> Vec<u64> {
    let tasks: Vec<_> = sessions
        .iter()
        .cloned()
        .map(|session| {
            let mut random = random.fork();
            tokio::spawn(async move {
                let mut accepted = 0;
                for _ in 0..12 {
                    accepted += act(&session, &mut random).await;
                    tokio::time::sleep(Duration::from_millis(random.u64(0..4000))).await;
                }
                accepted
            })
        })
        .collect();
    let all = soon(join_all(tasks)).await;
    all.into_iter().map(Result::unwrap).collect()
}

/// Whoever can run is brought to run, until everything that was accepted is worked off.
async fn work_off(sessions: &[Handle]) {
    for session in sessions {
        let worked_off = async {
            while status(session).await.record().inbox.waiting() > 0 {
                until(session, |status| status.state() != State::Stopping).await;
                let _ = tokio::time::timeout(SECOND * 30, session.resume()).await;
                tokio::time::sleep(SECOND * 30).await;
            }
        };
        soon(worked_off).await;
    }
}

async fn round(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let set = |builder: sessionkeeper::Builder| builder.policy(patient()).max_active(PLACES);
    let mut worker = Worker::start_with(set).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(worker.session_with(|start| start.policy(patient())).await);
    }
    let mut accepted = [0; SESSIONS];
    for part in 0..3 {
        let more = busy_while(&sessions, &mut random).await;
        for (sum, more) in accepted.iter_mut().zip(more) {
            *sum += more;
        }
        if part < 2 {
            if random.bool() {
                worker.supervisor.shutdown(BUDGET).await;
            }
            worker = worker.crash_and_restart_with(set).await;
            for session in &mut sessions {
                *session = worker.again(session).await;
            }
        }
    }
    work_off(&sessions).await;
    for (session, accepted) in sessions.iter().zip(accepted) {
        let inbox = status(session).await.record().inbox.clone();
        assert_eq!(inbox.accepted, accepted, "seed {seed}");
        let seen = drained(session).await.seen;
        assert_eq!(seen, (1..=accepted).collect::<Vec<_>>(), "seed {seed}");
        until(session, |status| status.state() != State::Stopping).await;
        session.complete().await.unwrap();
        until(session, |status| status.record().runs.since.is_none()).await;
        assert_eq!(state(session).await, State::Completed);
        consistent(session).await;
    }
    let probe = &worker.workload.probe;
    assert!(probe.most_live() as usize <= PLACES, "seed {seed}: {}", probe.most_live());
    tokio::time::sleep(SECOND).await;
    let slots = (0..PLACES).map(|_| worker.supervisor.slot());
    let slots = join_all(slots).now_or_never();
    assert!(slots.is_some(), "seed {seed}: a place was lost");
}

/// G2, G4: no place is lost, none is used twice, and nothing that was accepted either.
#[tokio::test(start_paused = true)]
async fn no_place_and_no_input_is_lost_or_used_twice() {
    for seed in 0..100 {
        round(seed).await;
    }
}
