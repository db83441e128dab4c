//! Urgent inputs: they overtake, have a room of their own, and can be taken in a turn.

use std::time::Duration;

use sessionkeeper::{
    Context, Fork, InputId, Outcome, PauseCause, SendError, Start, State, Workload, WorkloadError,
    store::{MemoryStore, Part},
    testing::{Call, Interference},
};

use super::{Stage, Tell};
use crate::guarantees::kit::start_on;
use crate::verbs::{MINUTE, SECOND, soon};

#[tokio::test(start_paused = true)]
async fn an_urgent_input_overtakes_those_that_wait() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND), Tell::Note, Tell::Note]).await;
    assert_eq!(session.send_urgent(Tell::Note).await.unwrap().sequence, 4);
    session.send_urgent_json(&serde_json::json!("Note")).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1", "4", "5", "2", "3"]);
    session.send(Tell::Note).await.unwrap();
    session.send(Tell::Note).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1", "4", "5", "2", "3", "6", "7"]);
    let inbox = session.status().await.unwrap().record().inbox.clone();
    assert_eq!((inbox.consumed, inbox.out_of_order), (7, None), "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn urgent_inputs_have_a_room_of_their_own() {
    let stage = Stage::with(|policy| policy.max_inputs(2u32).max_urgent_inputs(2u32)).await;
    let session = stage.told(&[Tell::Deaf(MINUTE), Tell::Note]).await;
    let full = session.send(Tell::Note).await.unwrap_err();
    assert!(matches!(full, SendError::Full { inputs: 2, .. }), "{full}");
    let id = InputId::new("cancel").unwrap();
    session.send_urgent_with_id(id.clone(), Tell::Note).await.unwrap();
    session.send_urgent(Tell::Note).await.unwrap();
    let full = session.send_urgent(Tell::Note).await.unwrap_err();
    assert!(matches!(full, SendError::UrgentFull { inputs: 2, .. }), "{full}");
    let again = session.send_urgent_with_id(id, Tell::Note).await.unwrap();
    assert!(again.repeated, "a repetition needs no room");
    assert_eq!(stage.diary(&session).await, ["1", "3", "4", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_input_that_is_large_is_refused() {
    let worker = start_on(MemoryStore::new(), Large, |b| b).await;
    let start = Start::<Large>::new(());
    let session = worker.start(start).await.unwrap().into_handle();
    let large = "x".repeat(64 << 10);
    let refused = session.send_urgent(large.clone()).await.unwrap_err();
    assert!(matches!(refused, SendError::UrgentTooLarge { limit: 65_536, .. }), "{refused}");
    session.send(large).await.unwrap();
}

/// Takes long texts.
struct Large;

impl Workload for Large {
    const KIND: &'static str = "large";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = String;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_takes_is_over_with_its_next_commit() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Ask, Tell::Note]).await;
    session.send_urgent(Tell::Answer).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1", "took 3", "2"]);
    let session = stage.crash(&session).await;
    session.send(Tell::Note).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1", "took 3", "2", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_takes_only_what_fits() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Ask]).await;
    session.send_urgent(Tell::Note).await.unwrap();
    session.send(Tell::Answer).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(session.snapshot().await.unwrap().state, [""; 0], "what is not urgent is not taken");
    session.send_urgent(Tell::Answer).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1", "took 4", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_finds_the_turn_that_asked_for_it_after_a_crash() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Ask, Tell::Note]).await;
    stage.harness.crash().await;
    stage.harness.reopen().await;
    let session = stage.harness.again(&session).await;
    session.send_urgent(Tell::Answer).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1@2", "took 3", "2"]);
    // It was accepted, and not taken, when the worker was lost.
    let session = stage.told(&[Tell::Deaf(MINUTE), Tell::Note]).await;
    session.send_urgent(Tell::Answer).await.unwrap();
    let session = stage.crash(&session).await;
    assert_eq!(stage.diary(&session).await, ["1@2", "3", "2"], "what was begun comes first");
}

#[tokio::test(start_paused = true)]
async fn g4_what_was_taken_is_given_again_unless_a_commit_covers_it() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::AskThenPanic]).await;
    session.send_urgent(Tell::Answer).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1@2", "took 2@2"]);
    let session = stage.told(&[Tell::AskThenSaveAndPanic]).await;
    session.send_urgent(Tell::Answer).await.unwrap();
    let diary = stage.diary(&session).await;
    assert_eq!(diary, ["1", "took 2", "1@2"], "it was saved in the middle of the turn");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_an_urgent_input_that_is_dropped_loses_nothing() {
    for seed in 0..10 {
        let stage = Stage::new().await;
        let mut rng = fastrand::Rng::with_seed(seed);
        stage.harness.store().inject(move |call| match call {
            Call::Commit => Interference::Delay {
                before: Duration::from_micros(rng.u64(0..5_000)),
                after: Duration::from_micros(rng.u64(0..5_000)),
            },
            _ => Interference::None,
        });
        let session = stage.told(&[Tell::AskInAHurry, Tell::Note]).await;
        session.send_urgent(Tell::Answer).await.unwrap();
        assert_eq!(stage.diary(&session).await, ["1", "took 3", "2"], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_an_answer_can_be_paused() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Ask]).await;
    soon(session.pause()).await.unwrap();
    session.send_urgent(Tell::Answer).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let status = session.status().await.unwrap();
    assert_eq!(status.pause_cause(), Some(PauseCause::Asked), "urgent or not, it stays paused");
    session.resume().await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1@2", "took 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_input_wakes_an_idle_session() {
    let stage = Stage::with(|policy| policy.idle_timeout(SECOND)).await;
    let session = stage.told(&[]).await;
    session.wait_for(&[State::Paused]).await.unwrap();
    session.send_urgent(Tell::Note).await.unwrap();
    assert_eq!(stage.diary(&session).await, ["1"]);
}

/// G4: the older snapshot does not cover what overtook others before the newer one was taken.
#[tokio::test(start_paused = true)]
async fn g4_a_fallback_gives_urgent_inputs_again() {
    let mut stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND), Tell::Deaf(20 * MINUTE), Tell::Note]).await;
    session.send_urgent(Tell::Note).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let snapshot = session.snapshot().await.unwrap();
    assert_eq!(snapshot.state, ["1", "4"]);
    let record = session.status().await.unwrap().record().clone();
    assert_eq!(record.inbox.waiting(), 2, "{record:?}");
    stage.store().damage(session.id(), Part::Snapshot(snapshot.at.sequence));
    let session = stage.crash(&session).await;
    assert_eq!(stage.diary(&session).await, ["1", "4", "2", "3"]);
}

/// What is urgent stays so in a fork, and what its snapshot covers is not copied.
#[tokio::test(start_paused = true)]
async fn a_fork_copies_urgent_inputs_as_such() {
    let stage = Stage::new().await;
    let session = stage.told(&[Tell::Deaf(SECOND), Tell::Deaf(20 * MINUTE), Tell::Note]).await;
    session.send_urgent(Tell::Note).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    session.send_urgent(Tell::Note).await.unwrap();
    let fork = session.fork(Fork::new().copy_inputs()).await.unwrap();
    let fork = fork.into_handle();
    // Of 2, 3 and 5 the last is the first.
    assert_eq!(stage.harness.drained(&fork).await, ["1", "4", "3", "1", "2"]);
    let _ = session.kill().await.unwrap();
}
