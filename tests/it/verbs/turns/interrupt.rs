//! Interrupts: they end the turn, and not the session.

use std::{sync::atomic::Ordering, time::Duration};

use sessionkeeper::{
    Fact, Interruption, Lifecycle, OnInterrupt, SessionError, SessionHandle, SessionId, State,
    store::Part,
};

use super::{Diarist, Stage, Tell};
use crate::verbs::{HANGS, MINUTE, SECOND, log, soon};

async fn interrupt(session: &SessionHandle<Diarist>, then: OnInterrupt) -> Option<u64> {
    match soon(session.interrupt(then)).await.unwrap() {
        Interruption::Turn { input, then: does, .. } => {
            assert_eq!(does, then);
            Some(input)
        }
        Interruption::Nothing => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_that_drops_ends_the_turn_and_not_the_session() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Busy(HANGS), Tell::Note]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(1));
    assert_eq!(stage.diary(&session).await, ["1", "cut", "2"]);
    let record = session.status().await.unwrap().record().clone();
    assert_eq!((record.state(), record.runs.count), (State::Active, 1));
    let dropped = Fact::Lifecycle(Lifecycle::TurnInterrupted { then: OnInterrupt::Drop });
    let told = log(&session).await.into_iter().find(|event| event.fact == dropped).unwrap();
    assert_eq!((told.input, told.run.is_some()), (Some(1), true));
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_that_redelivers_gives_the_same_input_again_before_all_others() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Busy(MINUTE), Tell::Note]).await;
    session.send_urgent(Tell::Note).await.unwrap();
    assert_eq!(interrupt(&session, OnInterrupt::Redeliver).await, Some(1));
    let diary = stage.diary(&session).await;
    assert_eq!(diary, ["1", "cut", "1@2", "done", "3", "2"], "its state is as it left it");
}

#[tokio::test(start_paused = true)]
async fn without_an_input_in_hand_there_is_nothing_to_interrupt() {
    let stage = Stage::new().await;
    let session = stage.told(&[]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, None);
    session.pause().await.unwrap();
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, None);
    session.complete().await.unwrap();
    assert_eq!(interrupt(&session, OnInterrupt::Redeliver).await, None);
    let events = log(&session).await;
    let interrupted =
        |fact: &Fact| matches!(fact, Fact::Lifecycle(Lifecycle::TurnInterrupted { .. }));
    assert!(!events.iter().any(|event| interrupted(&event.fact)), "nothing was done");
    let nobody = SessionId::from_uuid(uuid::Uuid::nil());
    let error = stage.harness.supervisor().session(nobody).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_heeds_no_interrupt_goes_on_to_its_end() {
    for (then, diary) in
        [(OnInterrupt::Drop, ["1", "2"].as_slice()), (OnInterrupt::Redeliver, &["1", "1@2", "2"])]
    {
        let stage = Stage::new().await;
        let session = stage.told(&[Tell::Deaf(MINUTE), Tell::Note]).await;
        assert_eq!(interrupt(&session, then).await, Some(1));
        tokio::time::sleep(SECOND).await;
        assert_eq!(session.snapshot().await.unwrap().state, [""; 0], "nothing is forced");
        assert_eq!(stage.diary(&session).await, diary, "{then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_never_reaches_the_next_turn() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND), Tell::Busy(MINUTE)]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(1));
    assert_eq!(stage.diary(&session).await, ["1", "2", "done"]);
}

/// A workload that returns the error gives up its turn, which is no failure of its own.
#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_up_goes_back_to_the_last_commit_and_counts_as_no_failure() {
    for (then, diary) in
        [(OnInterrupt::Drop, ["1", "3"].as_slice()), (OnInterrupt::Redeliver, &["1", "2@2", "3"])]
    {
        let stage = Stage::new().await;
        let session = stage.told(&[Tell::Note, Tell::BusyOrReturn(MINUTE), Tell::Note]).await;
        assert_eq!(interrupt(&session, then).await, Some(2));
        assert_eq!(stage.diary(&session).await, diary, "{then:?}");
        let record = session.status().await.unwrap().record().clone();
        assert_eq!((record.runs.count, record.runs.restarts), (2, 0));
        assert_eq!(record.failures, Default::default());
    }
}

/// G2: on return the drop is durable, though the turn goes on.
#[tokio::test(start_paused = true)]
async fn g2_what_was_dropped_is_not_given_again_after_a_crash() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Note, Tell::Deaf(MINUTE), Tell::Note]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(2));
    let session = stage.crash(&session).await;
    assert_eq!(stage.diary(&session).await, ["1", "3"]);
}

/// G2: nor by the older snapshot, though that is from before.
#[tokio::test(start_paused = true)]
async fn g2_what_was_dropped_is_not_given_again_by_a_fallback() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Note, Tell::Deaf(SECOND), Tell::Deaf(SECOND)]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(2));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let snapshot = session.snapshot().await.unwrap();
    assert_eq!(snapshot.state, ["1", "2"], "what it left is in its state");
    stage.store().damage(session.id(), Part::Snapshot(snapshot.at.sequence));
    let session = stage.crash(&session).await;
    assert_eq!(stage.diary(&session).await, ["1", "3"]);
}

/// G1: nobody hears of it before it is durable.
#[tokio::test(start_paused = true)]
async fn g1_a_turn_hears_of_an_interrupt_that_is_durable() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Busy(MINUTE)]).await;
    let stall = stage.store().stall();
    let asked = tokio::spawn({
        let session = session.clone();
        async move { session.interrupt(OnInterrupt::Drop).await }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!asked.is_finished());
    asked.abort();
    stage.harness.crash().await;
    drop(stall);
    stage.harness.reopen().await;
    let session = stage.harness.again(&session).await;
    assert_eq!(stage.diary(&session).await, ["1@2", "done"], "it was answered to nobody");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_redelivered_knows_the_steps_that_it_took() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::StepThenBusy(MINUTE)]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Redeliver).await, Some(1));
    assert_eq!(stage.diary(&session).await, ["1", "cut", "1@2", "done"]);
    assert_eq!(stage.diarist.steps.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_has_taken_goes_the_way_of_its_input() {
    for (then, diary) in [
        (OnInterrupt::Drop, ["1", "took 3", "cut", "2"].as_slice()),
        (OnInterrupt::Redeliver, &["1", "took 3", "cut", "1@2", "took 3@2", "done", "2"]),
    ] {
        let mut stage = Stage::new().await;
        let session = stage.told(&[Tell::AskThenBusy(MINUTE), Tell::Note]).await;
        session.send_urgent(Tell::Answer).await.unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(interrupt(&session, then).await, Some(1));
        assert_eq!(stage.diary(&session).await, diary, "{then:?}");
        let session = stage.crash(&session).await;
        assert_eq!(stage.diary(&session).await, diary, "{then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_an_answer_is_interrupted() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Ask, Tell::Note]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(1));
    assert_eq!(stage.diary(&session).await, ["1", "cut", "2"]);
}

/// What was dropped stays so, and who comes later is told.
#[tokio::test(start_paused = true)]
async fn of_two_interrupts_a_drop_stays() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND)]).await;
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(1));
    let later = session.interrupt(OnInterrupt::Redeliver).await.unwrap();
    assert!(matches!(later, Interruption::Turn { then: OnInterrupt::Drop, .. }), "{later:?}");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(stage.diary(&session).await, ["1"]);
    session.send(Tell::Deaf(SECOND)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(interrupt(&session, OnInterrupt::Redeliver).await, Some(2));
    assert_eq!(interrupt(&session, OnInterrupt::Drop).await, Some(2));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(stage.diary(&session).await, ["1", "2"]);
}
