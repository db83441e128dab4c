//! What the checkpointer does on a store that a test interferes with.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Call, FaultyStore, Interference};
use crate::{
    clock::{Clock, wall::Wall},
    model::{
        ids::{SessionId, WorkerGeneration},
        time::SupervisedTime,
    },
    runtime::{
        checkpointer::{Answer, Checkpointer},
        store_cell::StoreCell,
    },
    store::{Commit, MemoryStore, Store},
    telemetry::Meters,
};

const AT: &str = "2026-01-01T00:00:00Z";

fn generation() -> WorkerGeneration {
    WorkerGeneration::from_uuid(Uuid::from_u128(1))
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

/// The first commit of a session.
fn first(session: SessionId) -> Commit {
    let record = json!({
        "id": session, "kind": "coder", "version": 1, "writer": generation(), "created_at": AT,
        "updated_at": AT, "phase": { "state": "stopped" }, "last_event": 0,
    });
    Commit {
        record: serde_json::from_value(record).expect("a record"),
        events: Vec::new(),
        inputs: Vec::new(),
        steps: Vec::new(),
        snapshot: None,
        successor: None,
    }
}

type Answered = mpsc::UnboundedReceiver<(u128, Answer)>;

/// A checkpointer at work, and what it answers.
struct Scene {
    store: FaultyStore<MemoryStore>,
    checkpointer: Checkpointer,
    answers: mpsc::UnboundedSender<(u128, Answer)>,
}

impl Scene {
    async fn new() -> (Self, Answered) {
        let store = FaultyStore::new(MemoryStore::new());
        store.begin(generation()).await.expect("a new store");
        let cell = StoreCell::new(Arc::new(store.clone()));
        let clock = Clock::new(SupervisedTime::default(), Wall::default());
        let (checkpointer, serve) = Checkpointer::new(cell, generation(), clock, Meters::begin());
        tokio::spawn(serve);
        let (answers, answered) = mpsc::unbounded_channel();
        (Self { store, checkpointer, answers }, answered)
    }

    fn submit(&self, number: u128) {
        let answers = self.answers.clone();
        let on_answer = move |answer| answers.send((number, answer)).expect("somebody listens");
        self.checkpointer.submit(Arc::new(first(session(number))), Box::new(on_answer));
    }

    /// Waits until the store was given so many batches.
    async fn given(&self, batches: u64) {
        while self.store.commits() < batches {
            tokio::task::yield_now().await;
        }
    }

    fn flush(&self) -> tokio::task::JoinHandle<()> {
        let checkpointer = self.checkpointer.clone();
        tokio::spawn(async move { checkpointer.flush().await })
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_has_the_next_batch_before_it_answers_the_last() {
    let (scene, mut answered) = Scene::new().await;
    let held = scene.store.hold_answers(Call::Commit);
    scene.submit(1);
    scene.given(1).await;
    scene.submit(2);
    scene.given(2).await;
    assert!(answered.is_empty(), "nothing is answered before the store answers");
    drop(held);
    for expected in [1, 2] {
        let (number, answer) = answered.recv().await.expect("it is answered");
        assert_eq!(number, expected);
        assert!(matches!(answer, Answer::Done), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_has_a_limit() {
    const MANY: u128 = 100;
    let (scene, mut answered) = Scene::new().await;
    let held = scene.store.hold_answers(Call::Commit);
    for number in 1..=MANY {
        scene.submit(number);
        // Whatever can be given to the store is given to it by then.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let given = scene.store.commits();
    assert!((2..50).contains(&given), "{given} batches are under way");
    drop(held);
    for expected in 1..=MANY {
        let (number, answer) = answered.recv().await.expect("all are answered");
        assert!(number == expected && matches!(answer, Answer::Done), "{number} {answer:?}");
    }
    assert!(scene.store.commits() < 50, "the rest went out together");
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_in_even_shares() {
    const MANY: u128 = 401;
    let (scene, mut answered) = Scene::new().await;
    let held = scene.store.hold_answers(Call::Commit);
    (1..=MANY).for_each(|number| scene.submit(number));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(scene.store.commits(), 4, "none of the batches has most of them");
    drop(held);
    for expected in 1..=MANY {
        let (number, answer) = answered.recv().await.expect("all are answered");
        assert!(number == expected && matches!(answer, Answer::Done), "{number} {answer:?}");
    }
    assert!(scene.store.commits() < 10, "nor are they small");
}

/// The first batch fails, and the second, which was under way by then, fails or not.
#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_and_a_flush_waits_for_all_before_it() {
    for second in [Interference::None, Interference::LoseAnswer, Interference::Fail] {
        let (scene, mut answered) = Scene::new().await;
        scene.store.next(Call::Commit, Interference::Fail);
        scene.store.next(Call::Commit, second);
        let held = scene.store.hold_answers(Call::Commit);
        scene.submit(1);
        scene.given(1).await;
        scene.submit(2);
        let flush = scene.flush();
        scene.given(2).await;
        drop(held);

        let (number, answer) = answered.recv().await.expect("it is answered");
        assert!(number == 1 && matches!(answer, Answer::Delayed(_)), "{number} {answer:?}");
        assert!(!flush.is_finished(), "the first is not in yet");
        let mut done = Vec::new();
        while done.len() < 2 {
            match answered.recv().await.expect("both are answered") {
                (number, Answer::Done) => done.push(number),
                (number, answer) => {
                    assert!(number == 2 && second != Interference::None, "{answer:?}");
                }
            }
        }
        flush.await.expect("the flush ends");
        let expected = if second == Interference::None { [2, 1] } else { [1, 2] };
        assert_eq!(done, expected, "{second:?}");
        assert!(scene.checkpointer.health().error().is_none(), "the store is well again");
        for number in [1, 2] {
            let record = scene.store.load(session(number)).await.expect("the store is well");
            assert!(record.is_some(), "session {number} after {second:?}");
        }
    }
}
