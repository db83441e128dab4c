//! Sending inputs: durable on return, in order, once, and refused by name.

use std::time::Duration;

use futures::future::join_all;
use sessionkeeper::{PauseCause, Receipt, SendError, SessionHandle, State, store::Fault};

use super::{
    MINUTE, SECOND, consistent, idle, in_hand, input_id, policy, soon, state, status, until,
};
use crate::support::{BUDGET, Do, Scripted, Worker, drained};

type Handle = SessionHandle<Scripted>;

/// G1, G2: whatever was acknowledged is there after a crash at that very moment.
#[tokio::test(start_paused = true)]
async fn an_input_is_durable_when_its_receipt_is_given() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    for number in 1..=5 {
        assert_eq!(session.send(Do::Add(1)).await.unwrap().sequence, number);
    }
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    let done = drained(&session).await;
    assert_eq!((done.sum, done.seen), (5, vec![1, 2, 3, 4, 5]));
}

/// G1: while the store has not answered, nobody sees the input.
#[tokio::test(start_paused = true)]
async fn an_input_is_not_acknowledged_before_it_is_durable() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    idle(&session).await;
    let stall = worker.store.stall();
    let sending = tokio::spawn({
        let session = session.clone();
        async move { session.send(Do::Add(1)).await }
    });
    tokio::time::sleep(MINUTE).await;
    assert!(!sending.is_finished());
    assert_eq!(status(&session).await.record().inbox.accepted, 0);
    drop(stall);
    assert_eq!(sending.await.unwrap().unwrap().sequence, 1);
}

#[tokio::test(start_paused = true)]
async fn inputs_are_worked_off_in_the_order_of_their_numbers() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let sends = (0..40).map(|number| session.send(Do::Add(number)));
    let receipts = join_all(sends).await;
    let numbers: Vec<u64> = receipts.into_iter().map(|r| r.unwrap().sequence).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=40).collect::<Vec<_>>());
    assert_eq!(numbers, sorted, "they were sent in this order");
    assert_eq!(drained(&session).await.seen, sorted);
}

/// What an input with a known id is answered with, wherever the session is.
async fn check_repeats(session: &Handle) {
    let same = session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
    assert_eq!((same.sequence, same.repeated), (1, true));
    let other = session.send_with_id(input_id("a"), Do::Add(2)).await;
    let other = other.unwrap_err();
    assert!(
        matches!(&other, SendError::InputIdReused { id, sequence: 1, .. } if *id == input_id("a")),
        "{other:?}"
    );
}

/// G4: a repeated input is one input: live, paused, consumed, and after a restart.
#[tokio::test(start_paused = true)]
async fn an_input_that_is_repeated_under_its_id_counts_once() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let first = session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
    assert_eq!((first.sequence, first.repeated), (1, false));
    check_repeats(&session).await;
    drained(&session).await;
    check_repeats(&session).await;
    session.pause().await.unwrap();
    check_repeats(&session).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    check_repeats(&session).await;
    session.resume().await.unwrap();
    for _ in 0..5 {
        session.send(Do::Add(10)).await.unwrap();
    }
    drained(&session).await;
    check_repeats(&session).await;
    assert_eq!(drained(&session).await.sum, 51);
}

#[tokio::test(start_paused = true)]
async fn of_twenty_sends_with_one_id_one_is_accepted() {
    for paused in [false, true] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        idle(&session).await;
        if paused {
            session.pause().await.unwrap();
        }
        let tasks = (0..20).map(|task| {
            let session = session.clone();
            tokio::spawn(async move {
                let other = Do::Add(i64::from(task % 2));
                session.send_with_id(input_id("x"), other).await
            })
        });
        let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        let new = |answer: &&Result<Receipt, _>| answer.as_ref().is_ok_and(|r| !r.repeated);
        assert_eq!(answers.iter().filter(new).count(), 1);
        let repeated = |answer: &&Result<Receipt, _>| answer.as_ref().is_ok_and(|r| r.repeated);
        assert_eq!(answers.iter().filter(repeated).count(), 9, "the same content");
        let reused =
            |answer: &&Result<_, _>| matches!(answer, Err(SendError::InputIdReused { .. }));
        assert_eq!(answers.iter().filter(reused).count(), 10, "another content");
        assert_eq!(status(&session).await.record().inbox.accepted, 1);
        consistent(&session).await;
    }
}

/// The rest of a commit that a repeated id turned back is not lost.
#[tokio::test(start_paused = true)]
async fn a_repeated_id_does_not_spoil_what_came_with_it() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
    drained(&session).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    idle(&session).await;
    let stall = worker.store.stall();
    let tasks: Vec<_> = [Some("b"), Some("a"), None, Some("c"), Some("a")]
        .into_iter()
        .map(|id| {
            let session = session.clone();
            tokio::spawn(async move {
                match id {
                    Some(id) => session.send_with_id(input_id(id), Do::Add(1)).await,
                    None => session.send(Do::Add(1)).await,
                }
            })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    drop(stall);
    let mut answers = Vec::new();
    for task in tasks {
        let receipt = soon(task).await.unwrap().unwrap();
        answers.push((receipt.sequence, receipt.repeated));
    }
    assert_eq!(answers, [(2, false), (1, true), (3, false), (4, false), (1, true)]);
    assert_eq!(drained(&session).await.sum, 4);
}

async fn full(session: &Handle) -> (u64, u64) {
    let refused = session.send(Do::Add(1)).await.unwrap_err();
    let SendError::Full { inputs, bytes, .. } = refused else {
        panic!("{refused:?}");
    };
    (inputs, bytes)
}

/// 64 inputs may wait; the one in hand counts, until a checkpoint covers it.
#[tokio::test(start_paused = true)]
async fn an_inbox_is_full_by_number_and_has_room_again() {
    let worker = Worker::start().await;
    for paused in [true, false] {
        let session = worker.session().await;
        idle(&session).await;
        let first = if paused {
            session.pause().await.unwrap();
            Do::Add(1)
        } else {
            Do::Silent(MINUTE)
        };
        session.send(first).await.unwrap();
        let sends = (1..64).map(|_| session.send(Do::Add(1)));
        assert!(join_all(sends).await.iter().all(Result::is_ok));
        assert_eq!(full(&session).await.0, 64);
        if paused {
            session.resume().await.unwrap();
        }
        drained(&session).await;
        session.send(Do::Add(1)).await.unwrap();
        assert_eq!(drained(&session).await.seen.len(), 65);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_is_full_by_bytes_and_one_input_may_be_too_large() {
    // {"Add":1} has nine bytes.
    let worker = Worker::with_policy(policy(|policy| policy.max_input_bytes(30_u64))).await;
    let session = worker.session().await;
    idle(&session).await;
    session.pause().await.unwrap();
    for _ in 0..3 {
        session.send(Do::Add(1)).await.unwrap();
    }
    assert_eq!(full(&session).await, (3, 27));
    let large = Do::FailAndRetryAfter(MINUTE);
    let refused = session.send(large).await.unwrap_err();
    assert!(
        matches!(refused, SendError::TooLarge { bytes, limit: 30, .. } if bytes > 30),
        "{refused:?}"
    );
    session.resume().await.unwrap();
    drained(&session).await;
    assert_eq!(status(&session).await.record().inbox.waiting_bytes, 0);
    session.send(Do::Add(1)).await.unwrap();
    assert_eq!(drained(&session).await.sum, 4);
}

#[tokio::test(start_paused = true)]
async fn inputs_are_accepted_while_pending_active_and_paused_and_refused_after() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let holder = worker.session().await;
    let session = worker.session().await;
    assert_eq!(state(&session).await, State::Pending);
    session.send(Do::Add(1)).await.unwrap();
    session.pause().await.unwrap();
    session.send(Do::Add(1)).await.unwrap();
    holder.complete().await.unwrap();
    session.resume().await.unwrap();
    assert_eq!(drained(&session).await.sum, 2);
    session.send(Do::Deaf(SECOND * 5)).await.unwrap();
    in_hand(&session, 3).await;
    let refused = |answer: Result<Receipt, SendError>, was: State| match answer {
        Err(SendError::NotAccepting { state, .. }) => assert_eq!(state, was),
        other => panic!("{other:?}"),
    };
    let ticket = session.stop().await.unwrap();
    refused(session.send(Do::Add(1)).await, State::Stopping);
    ticket.ended().await.unwrap();
    refused(session.send(Do::Add(1)).await, State::Stopped);
    session.complete().await.unwrap();
    refused(session.send(Do::Add(1)).await, State::Completed);
    let failed = worker.session().await;
    failed.fail("enough").await.unwrap();
    refused(failed.send(Do::Add(1)).await, State::Failed);
    let expired = worker
        .session_with(|start| start.policy(policy(|policy| policy.heartbeat_timeout(SECOND))))
        .await;
    expired.send(Do::Silent(MINUTE)).await.unwrap();
    until(&expired, |status| status.state() == State::Expired).await;
    refused(expired.send(Do::Add(1)).await, State::Expired);
}

/// G4: an input is given out until a checkpoint covers it, each time with the next number.
#[tokio::test(start_paused = true)]
async fn each_delivery_of_an_input_has_the_next_attempt_number() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.input(Do::Silent(MINUTE * 10))).await;
    let attempt = |status: &sessionkeeper::Status| {
        let in_hand = status.record().inbox.in_hand;
        in_hand.unwrap_or_else(|| panic!("{status:?}")).attempt
    };
    let first = in_hand(&session, 1).await;
    assert_eq!(attempt(&first), 1);
    session.kill().await.unwrap().ended().await.unwrap();
    session.resume().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(attempt(&status(&session).await), 2, "after a kill");
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(attempt(&status(&session).await), 3, "after a crash");
    worker.supervisor.shutdown(BUDGET).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(attempt(&status(&session).await), 4, "after a shutdown");
    assert_eq!(drained(&session).await.seen, [1], "its effect came once");
    let next = session.send(Do::Silent(MINUTE * 10)).await.unwrap();
    let status = in_hand(&session, next.sequence).await;
    assert_eq!(attempt(&status), 1, "the next one begins anew");
}

/// An input that a run was to be given, but never got, does not count as an attempt; not even
/// where the commit that says so is turned back because of another input.
#[tokio::test(start_paused = true)]
async fn an_input_that_never_reached_a_run_is_no_attempt() {
    for turned_back in [false, true] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
        drained(&session).await;
        let worker = worker.crash_and_restart().await;
        let session = worker.again(&session).await;
        idle(&session).await;
        let stall = worker.store.stall();
        let send = |id: Option<&'static str>, what: Do| {
            let session = session.clone();
            tokio::spawn(async move {
                match id {
                    Some(id) => session.send_with_id(input_id(id), what).await,
                    None => session.send(what).await,
                }
            })
        };
        let sending = send(None, Do::FailTimes(1));
        tokio::time::sleep(SECOND).await;
        let pausing = tokio::spawn({
            let session = session.clone();
            async move { session.pause().await }
        });
        let repeating = turned_back.then(|| send(Some("a"), Do::Add(1)));
        tokio::time::sleep(SECOND).await;
        drop(stall);
        sending.await.unwrap().unwrap();
        if let Some(repeating) = repeating {
            assert!(repeating.await.unwrap().unwrap().repeated);
        }
        soon(pausing).await.unwrap().unwrap();
        let paused = status(&session).await;
        assert_eq!(paused.pause_cause(), Some(PauseCause::Asked));
        assert_eq!(paused.record().inbox.in_hand, None, "turned back: {turned_back}");
        session.resume().await.unwrap();
        drained(&session).await;
        assert_eq!(status(&session).await.record().runs.restarts, 1, "attempt 1 failed");
    }
}

/// G2: whoever repeats a send, because the first answer was lost, is not told that it was refused
/// when it was accepted.
#[tokio::test(start_paused = true)]
async fn a_repeated_input_is_recognised_where_no_new_one_is_accepted() {
    for then in ["full", "stopped", "completed"] {
        let worker = Worker::with_policy(policy(|policy| policy.max_inputs(2_u32))).await;
        let session = worker.session().await;
        session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
        drained(&session).await;
        session.pause().await.unwrap();
        session.send_with_id(input_id("b"), Do::Add(1)).await.unwrap();
        session.send(Do::Add(1)).await.unwrap();
        match then {
            "stopped" => drop(session.stop().await.unwrap()),
            "completed" => session.complete().await.unwrap(),
            _ => assert_eq!(full(&session).await.0, 2),
        }
        for (id, sequence) in [("a", 1), ("b", 2)] {
            let answer = session.send_with_id(input_id(id), Do::Add(1)).await;
            let receipt = answer.unwrap_or_else(|error| panic!("{then}, {id}: {error}"));
            assert_eq!((receipt.sequence, receipt.repeated), (sequence, true));
        }
    }
}

/// A send whose answer the store lost may be repeated: the id tells that it is the same.
#[tokio::test(start_paused = true)]
async fn a_send_that_met_a_failing_store_can_be_repeated_under_its_id() {
    for fault in [Fault::NothingDone, Fault::AnswerLost] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        idle(&session).await;
        worker.store.fail_next(1, fault);
        let answer = session.send_with_id(input_id("a"), Do::Add(1)).await;
        assert!(matches!(answer, Err(SendError::Session(_))), "{fault:?}: {answer:?}");
        tokio::time::sleep(MINUTE).await;
        let again = session.send_with_id(input_id("a"), Do::Add(1)).await.unwrap();
        assert_eq!((again.sequence, again.repeated), (1, true), "{fault:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(drained(&session).await.sum, 1, "{fault:?}");
    }
}
