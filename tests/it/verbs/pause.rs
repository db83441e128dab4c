//! Pausing and resuming: what a pause is for, what wakes it, and when it is reported.

use sessionkeeper::{
    Activity, Cause, Fact, Lifecycle, PauseCause, RecoverWhat, RestartPolicy, RunEnd,
    SessionHandle, State,
};

use super::{
    HANGS, MINUTE, SECOND, consistent, ends, idle, in_hand, log, moves, policy, state, status,
    until,
};
use crate::support::{BUDGET, Do, Scripted, Worker, drained};

/// A session that came to be paused for a cause.
async fn pause_for(cause: PauseCause) -> (Worker, SessionHandle<Scripted>) {
    let policy = policy(|policy| policy.idle_timeout(MINUTE));
    let worker = Worker::with_policy(policy).await;
    let session = worker.session().await;
    idle(&session).await;
    let worker = match cause {
        PauseCause::Asked => {
            session.pause().await.unwrap();
            worker
        }
        PauseCause::Idle => {
            tokio::time::sleep(MINUTE + SECOND).await;
            worker
        }
        PauseCause::Shutdown => {
            worker.supervisor.shutdown(BUDGET).await;
            worker.crash_and_restart_with(|builder| builder.recover(RecoverWhat::Nothing)).await
        }
        PauseCause::Interrupted => {
            worker.crash_and_restart_with(|builder| builder.recover(RecoverWhat::Nothing)).await
        }
        PauseCause::Quarantined => {
            session.send(Do::FailTimes(4)).await.unwrap();
            until(&session, |status| status.state() == State::Paused).await;
            worker
        }
        PauseCause::Asleep(_) | PauseCause::AlarmRang => unreachable!("see `sleep`"),
        PauseCause::Parent => unreachable!("see `children`"),
    };
    let session = worker.again(&session).await;
    let paused = status(&session).await;
    assert_eq!(paused.pause_cause(), Some(cause), "{paused:?}");
    assert_eq!(paused.activity(), &Activity::Paused { cause });
    (worker, session)
}

const CAUSES: [PauseCause; 5] = [
    PauseCause::Asked,
    PauseCause::Idle,
    PauseCause::Shutdown,
    PauseCause::Interrupted,
    PauseCause::Quarantined,
];

#[tokio::test(start_paused = true)]
async fn the_cause_of_a_pause_says_whether_an_input_wakes_it() {
    for cause in CAUSES {
        let (_worker, session) = pause_for(cause).await;
        let receipt = session.send(Do::Add(1)).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        let woken = state(&session).await == State::Active;
        assert_eq!(woken, cause == PauseCause::Idle, "{cause}");
        let consumed = status(&session).await.record().inbox.consumed;
        assert_eq!(consumed == receipt.sequence, woken, "{cause}");
        consistent(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_wakes_every_pause() {
    for cause in CAUSES {
        let (_worker, session) = pause_for(cause).await;
        session.resume().await.unwrap();
        assert_eq!(state(&session).await, State::Active, "{cause}");
        let before = status(&session).await.record().failures.clone();
        if cause == PauseCause::Quarantined {
            assert_eq!(before, sessionkeeper::Failures::default(), "cleared");
        }
        session.send(Do::Add(1)).await.unwrap();
        drained(&session).await;
        let last = moves(&session).await.last().copied();
        assert_eq!(last, Some((State::Paused, State::Active, Cause::Asked)), "{cause}");
    }
}

/// Only what a shutdown or a lost worker paused is woken by the next one.
#[tokio::test(start_paused = true)]
async fn the_next_worker_wakes_what_its_predecessor_paused_and_nothing_else() {
    for cause in CAUSES {
        let (worker, session) = pause_for(cause).await;
        let worker = worker.crash_and_restart().await;
        let session = worker.again(&session).await;
        let woken = matches!(cause, PauseCause::Shutdown | PauseCause::Interrupted);
        assert_eq!(state(&session).await == State::Active, woken, "{cause}");
    }
}

/// A person's word outlasts what the supervisor did by itself.
#[tokio::test(start_paused = true)]
async fn a_pause_of_a_paused_session_makes_its_cause_asked() {
    for cause in CAUSES {
        let (worker, session) = pause_for(cause).await;
        let paused = session.pause().await.unwrap();
        let after = status(&session).await;
        assert_eq!(paused.snapshot, after.record().snapshot().copied());
        let expected = if cause == PauseCause::Quarantined { cause } else { PauseCause::Asked };
        assert_eq!(after.pause_cause(), Some(expected), "{cause}");
        let changes = log(&session).await.into_iter().filter(|event| {
            matches!(event.fact, Fact::Lifecycle(Lifecycle::PauseCauseChanged { from, to })
                if from == cause && to == expected)
        });
        assert_eq!(changes.count(), usize::from(cause != expected), "{cause}");
        let worker = worker.crash_and_restart().await;
        let session = worker.again(&session).await;
        session.send(Do::Add(1)).await.unwrap();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(state(&session).await, State::Paused, "{cause}");
    }
}

/// No wake-up is lost: an input that came while the run was giving way counts as waiting.
#[tokio::test(start_paused = true)]
async fn an_input_that_waits_already_wakes_an_idle_pause() {
    let (worker, session) = pause_for(PauseCause::Idle).await;
    let stall = worker.store.stall();
    let sent = tokio::spawn({
        let session = session.clone();
        async move { session.send(Do::Add(1)).await }
    });
    tokio::time::sleep(SECOND).await;
    drop(stall);
    sent.await.unwrap().unwrap();
    assert_eq!(drained(&session).await.sum, 1);
    assert_eq!(
        moves(&session).await.last(),
        Some(&(State::Paused, State::Active, Cause::InputArrived))
    );
}

/// The input is accepted in the commit in flight while the run yields for being idle.
#[tokio::test(start_paused = true)]
async fn an_input_that_meets_an_idle_pause_half_way_is_worked_off() {
    let policy = policy(|policy| policy.idle_timeout(MINUTE));
    for early in 0..10 {
        let worker = Worker::with_policy(policy.clone()).await;
        let session = worker.session().await;
        idle(&session).await;
        tokio::time::sleep(MINUTE - std::time::Duration::from_millis(7)).await;
        let stall = worker.store.stall();
        tokio::time::sleep(std::time::Duration::from_millis(early)).await;
        let sent = tokio::spawn({
            let session = session.clone();
            async move { session.send(Do::Add(1)).await }
        });
        tokio::time::sleep(SECOND).await;
        drop(stall);
        sent.await.unwrap().unwrap();
        assert_eq!(drained(&session).await.sum, 1, "{early} ms");
        consistent(&session).await;
    }
}

/// The same over a crash: the next worker finds an idle session with an input.
#[tokio::test(start_paused = true)]
async fn an_idle_pause_with_an_input_is_woken_by_the_next_worker() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let session = worker.session().await;
    idle(&session).await;
    tokio::time::sleep(MINUTE * 31).await;
    assert_eq!(status(&session).await.pause_cause(), Some(PauseCause::Idle));
    let holder = worker.session().await;
    idle(&holder).await;
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(state(&session).await, State::Paused, "no place is free");
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    assert_eq!(drained(&session).await.sum, 1);
}

/// G1: `paused` is reported when the workload is at rest and its snapshot durable.
#[tokio::test(start_paused = true)]
async fn a_session_is_pausing_until_its_run_is_at_rest_and_its_snapshot_durable() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Add(1)).await.unwrap();
    session.send(Do::Deaf(SECOND * 9)).await.unwrap();
    in_hand(&session, 2).await;
    let pausing = tokio::spawn({
        let session = session.clone();
        async move { session.pause().await }
    });
    tokio::time::sleep(SECOND * 5).await;
    let midway = status(&session).await;
    assert_eq!(midway.activity(), &Activity::Pausing);
    assert_eq!(midway.state(), State::Active);
    assert!(!pausing.is_finished());
    let stall = worker.store.stall();
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(status(&session).await.activity(), &Activity::Pausing);
    assert!(!pausing.is_finished(), "its snapshot is not durable");
    drop(stall);
    let paused = pausing.await.unwrap().unwrap();
    let after = status(&session).await;
    assert_eq!(worker.workload.probe.live(), 0);
    assert_eq!(paused.snapshot, after.record().snapshot().copied());
    assert_eq!(paused.snapshot.unwrap().consumed, 2);
    let worker = worker.crash_and_restart().await;
    assert_eq!(state(&worker.again(&session).await).await, State::Paused);
}

/// G4: a run that does not yield in time is cancelled, and its turn begins again.
#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_yield_within_the_grace_is_cancelled() {
    let worker = Worker::with_policy(policy(|policy| policy.pause_grace(SECOND * 3))).await;
    let session = worker.session().await;
    session.send(Do::Silent(MINUTE)).await.unwrap();
    in_hand(&session, 1).await;
    let began = tokio::time::Instant::now();
    session.pause().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
    assert_eq!(ends(&session).await, [RunEnd::Cancelled]);
    let record = std::sync::Arc::clone(status(&session).await.record());
    assert_eq!((record.inbox.consumed, record.inbox.waiting()), (0, 1));
    assert_eq!(record.failures.in_a_row, 0, "it is not the session's failure");
    session.resume().await.unwrap();
    let again = in_hand(&session, 1).await;
    assert_eq!(again.record().inbox.in_hand.unwrap().attempt, 2);
    assert_eq!(drained(&session).await.seen, [1]);
}

/// A workload that returns though nobody asked is idle, and what it did is kept.
#[tokio::test(start_paused = true)]
async fn a_run_that_returns_unasked_is_paused_as_idle() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Add(2))).await;
    drained(&session).await;
    session.send(Do::Yield).await.unwrap();
    until(&session, |status| status.state() == State::Paused).await;
    assert_eq!(
        moves(&session).await.iter().find(|(_, to, _)| *to == State::Paused),
        Some(&(State::Active, State::Paused, Cause::Returned))
    );
}

/// One that returns again and again with the same input in hand is a failure, not a loop.
#[tokio::test(start_paused = true)]
async fn a_run_that_always_returns_with_its_input_in_hand_is_quarantined() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Yield)).await;
    let settled = tokio::time::timeout(HANGS, session.settled()).await;
    let settled = settled.unwrap().unwrap();
    assert!(matches!(settled, sessionkeeper::Settled::Quarantined(_)), "{settled:?}");
    assert_eq!(settled.status().record().inbox.waiting(), 1, "the input is kept");
    let runs = settled.status().record().runs.count;
    tokio::time::sleep(MINUTE * 60).await;
    assert_eq!(status(&session).await.record().runs.count, runs);
}

#[tokio::test(start_paused = true)]
async fn a_pending_session_can_be_paused_and_resumed() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let first = worker.session().await;
    let second = worker.session_with(|start| start.input(Do::Add(1))).await;
    assert_eq!(state(&second).await, State::Pending);
    assert_eq!(status(&second).await.activity(), &Activity::WaitingForPlace);
    let paused = second.pause().await.unwrap();
    assert_eq!(paused.snapshot.unwrap().sequence, 1);
    first.complete().await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(state(&second).await, State::Paused, "a free place does not wake it");
    second.resume().await.unwrap();
    assert_eq!(drained(&second).await.sum, 1);
    consistent(&second).await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_of_a_quarantined_session_clears_what_was_counted() {
    let restart = RestartPolicy { max_restarts: 1, ..RestartPolicy::default() };
    let worker = Worker::with_policy(policy(|policy| policy.restart(restart))).await;
    let session = worker.session_with(|start| start.input(Do::FailTimes(3))).await;
    until(&session, |status| status.pause_cause() == Some(PauseCause::Quarantined)).await;
    let record = std::sync::Arc::clone(status(&session).await.record());
    assert_eq!((record.failures.in_a_row, record.runs.count), (2, 2));
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 1, "two more attempts were enough");
    assert_eq!(status(&session).await.record().runs.count, 4);
}
