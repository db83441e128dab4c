//! Rollovers, where inputs overtake and turns are interrupted.

use sessionkeeper::{
    Fact, Interruption, Lifecycle, OnInterrupt, Rollover, RunEnd, SessionHandle, State,
};
use tokio::{task::JoinHandle, time::Instant};

use super::{Diarist, Stage, Tell};
use crate::verbs::{MINUTE, SECOND, ends, log, soon};

/// A rollover to an empty diary, under way; it waits for the end of the turn as long as that takes.
async fn rolling(session: &SessionHandle<Diarist>) -> JoinHandle<SessionHandle<Diarist>> {
    let session = session.clone();
    let rolling = tokio::spawn(async move {
        let next = Rollover::new(Vec::new()).within(20 * MINUTE);
        session.rollover(next).await.unwrap().into_handle()
    });
    tokio::time::sleep(SECOND / 10).await;
    rolling
}

/// Rolls the session over once it has come to rest, or while its run has a turn.
async fn rolled(session: &SessionHandle<Diarist>, pause: bool) -> SessionHandle<Diarist> {
    if pause {
        soon(session.pause()).await.unwrap();
    }
    soon(rolling(session).await).await.unwrap()
}

/// How many inputs moved, as both of them say.
async fn moved(session: &SessionHandle<Diarist>, next: &SessionHandle<Diarist>) -> u64 {
    let unread = log(session).await.into_iter().find_map(|event| match event.fact {
        Fact::Lifecycle(Lifecycle::TransitionedTo { unread, .. }) => Some(unread),
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
    });
    let inputs = log(next).await.into_iter().find_map(|event| match event.fact {
        Fact::Lifecycle(Lifecycle::TransitionedFrom { inputs, .. }) => Some(inputs),
        Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
    });
    assert_eq!(unread, inputs);
    inputs.unwrap()
}

/// The diary of a session that was rolled over.
async fn left(session: &SessionHandle<Diarist>) -> Vec<String> {
    assert_eq!(session.status().await.unwrap().state(), State::Completed);
    session.snapshot().await.unwrap().state
}

#[tokio::test(start_paused = true)]
async fn an_urgent_input_that_waits_moves_with_a_rollover_and_still_overtakes() {
    for pause in [false, true] {
        let mut stage = Stage::new().await;
        let session = stage.told(&[Tell::Deaf(SECOND), Tell::Note, Tell::Note]).await;
        let next = tokio::spawn({
            let session = session.clone();
            async move { rolled(&session, pause).await }
        });
        tokio::time::sleep(SECOND / 2).await;
        session.send_urgent(Tell::Note).await.unwrap();
        let next = soon(next).await.unwrap();
        assert_eq!(stage.diary(&next).await, ["3", "1", "2"], "paused before: {pause}");
        assert_eq!(
            (moved(&session, &next).await, left(&session).await.as_slice()),
            (3, ["1".to_owned()].as_slice())
        );
        let next = stage.crash(&next).await;
        assert_eq!(stage.diary(&next).await, ["3", "1", "2"], "once each");
    }
}

/// G4: what is over had its effect on the session before, though inputs before it are unread.
#[tokio::test(start_paused = true)]
async fn g4_an_input_that_was_taken_early_does_not_move() {
    for pause in [false, true] {
        let stage = Stage::new().await;
        let session = stage.told(&[Tell::Deaf(SECOND), Tell::Note, Tell::Note]).await;
        session.send_urgent(Tell::Deaf(SECOND)).await.unwrap();
        tokio::time::sleep(SECOND * 3 / 2).await;
        let next = rolled(&session, pause).await;
        assert_eq!(left(&session).await, ["1", "4"]);
        assert_eq!(moved(&session, &next).await, 2, "paused before: {pause}");
        assert_eq!(stage.diary(&next).await, ["1", "2"], "what was 2 and 3");
    }
}

/// G4: nor does the one that asks for it, which is over in the same commit.
#[tokio::test(start_paused = true)]
async fn g4_an_urgent_input_can_ask_for_the_rollover() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND), Tell::Note, Tell::Note]).await;
    session.send_urgent(Tell::Clear).await.unwrap();
    soon(session.wait_for(&[State::Completed])).await.unwrap();
    assert_eq!(left(&session).await, ["1", "4"]);
    let next = session.latest().await.unwrap();
    assert_eq!(stage.diary(&next).await, ["1", "2"]);
    assert_eq!(moved(&session, &next).await, 2);
}

/// G2: a drop is for good, though the turn was not even ended.
#[tokio::test(start_paused = true)]
async fn g2_what_was_dropped_does_not_move() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Note, Tell::Deaf(MINUTE), Tell::Note]).await;
    session.interrupt(OnInterrupt::Drop).await.unwrap();
    let next = Rollover::new(Vec::new()).within(SECOND);
    let next = soon(session.rollover(next)).await.unwrap().into_handle();
    assert_eq!(
        (ends(&session).await, left(&session).await),
        (vec![RunEnd::Cancelled], vec!["1".to_owned()])
    );
    assert_eq!(stage.diary(&next).await, ["1"]);
    assert_eq!(moved(&session, &next).await, 1);
}

/// The end of the turn is the safe point that the rollover waits for. What is to be redelivered, the successor is given.
#[tokio::test(start_paused = true)]
async fn a_rollover_that_waits_takes_place_when_the_turn_is_interrupted() {
    let gives_up = Tell::BusyOrReturn(10 * MINUTE);
    for (turn, then, before, after) in [
        (Tell::Busy(10 * MINUTE), OnInterrupt::Drop, vec!["1", "cut"], vec!["1"]),
        (
            Tell::Busy(10 * MINUTE),
            OnInterrupt::Redeliver,
            vec!["1", "cut"],
            vec!["1@2", "done", "2"],
        ),
        (gives_up, OnInterrupt::Drop, vec![], vec!["1"]),
        (gives_up, OnInterrupt::Redeliver, vec![], vec!["1@2", "2"]),
    ] {
        let stage = Stage::new().await;
        let session = stage.told(&[turn, Tell::Note]).await;
        let next = rolling(&session).await;
        assert!(!next.is_finished(), "a turn is under way");
        let began = Instant::now();
        soon(session.interrupt(then)).await.unwrap();
        let next = soon(next).await.unwrap();
        assert!(began.elapsed() < SECOND, "{turn:?}, {then:?}: {:?}", began.elapsed());
        assert_eq!(left(&session).await, before, "{turn:?}, {then:?}");
        assert_eq!(ends(&session).await, [RunEnd::Yielded]);
        assert_eq!(stage.diary(&next).await, after, "{turn:?}, {then:?}");
        let again = session.interrupt(then).await.unwrap();
        assert_eq!(again, Interruption::Nothing, "it has ended");
    }
}
