//! What is special about the store in memory: the faults it can play.

use std::time::Duration;

use sessionkeeper::{
    store::{Fault, MemoryStore, Part, Refusal, Store, StoreError},
    testing::conformance,
};
use tokio_test::{assert_pending, assert_ready, task};

use super::fixture::{
    answer, batch, next, only, opened, put, record, session, with_events, with_inputs,
    with_snapshot, worker,
};

conformance!(MemoryStore, damage);

#[tokio::test]
async fn a_clone_begins_again_after_a_close() {
    let (_, store) = opened::<MemoryStore>().await;
    let other = store.clone();
    put(&store, only(record(1))).await;
    store.close().await.expect("close");
    let error = other.load(session(1)).await.expect_err("closed");
    assert!(matches!(error, StoreError::Closed), "{error}");

    other.begin(worker(2)).await.expect("begin");
    assert_eq!(other.load(session(1)).await.expect("load"), Some(record(1)));
    assert_eq!(answer(&store, only(record(2))).await, Err(Refusal::GenerationEnded));
}

#[tokio::test]
async fn a_full_disk_takes_nothing_until_it_is_mended_and_healed() {
    let (_, store) = opened::<MemoryStore>().await;
    store.fail(Fault::NothingDone);
    store.commit(batch(1, [only(record(1))])).await.expect_err("full");
    store.heal().await.expect_err("still full");
    store.mend();
    store.commit(batch(1, [only(record(1))])).await.expect_err("not healed");
    assert_eq!(store.load(session(1)).await.expect("load"), None);

    store.heal().await.expect("heal");
    assert_eq!(answer(&store, only(record(1))).await, Ok(()));
}

#[tokio::test]
async fn a_lost_answer_is_given_when_the_commit_is_repeated() {
    let (_, store) = opened::<MemoryStore>().await;
    store.fail_next(1, Fault::AnswerLost);
    let commit = with_events(record(1), ["once"]);
    store.commit(batch(1, [commit.clone()])).await.expect_err("lost");
    store.heal().await.expect("heal");

    assert_eq!(answer(&store, commit).await, Ok(()));
    let events = store.events(session(1), 1..=9, 9).await.expect("events");
    assert_eq!(events.len(), 1);
}

#[tokio::test]
async fn a_count_of_faults_runs_out() {
    let (_, store) = opened::<MemoryStore>().await;
    store.fail_next(2, Fault::NothingDone);
    for _ in 0..2 {
        store.commit(batch(1, [only(record(1))])).await.expect_err("told to");
        store.heal().await.expect("heal");
    }
    assert_eq!(answer(&store, only(record(1))).await, Ok(()));
}

#[tokio::test]
async fn a_stall_holds_commits_and_lets_reads_pass() {
    let (_, store) = opened::<MemoryStore>().await;
    put(&store, only(record(1))).await;
    let stall = store.stall();
    let mut commit = task::spawn(store.commit(batch(1, [only(record(2))])));
    assert_pending!(commit.poll());
    let mut load = task::spawn(store.load(session(1)));
    assert_ready!(load.poll()).expect("load");

    drop(stall);
    assert!(commit.is_woken());
    assert_ready!(commit.poll()).expect("commit");
}

#[tokio::test]
async fn damage_is_reported_and_stays_with_its_session() {
    let (_, store) = opened::<MemoryStore>().await;
    put(&store, only(record(1))).await;
    let second = put(&store, with_snapshot(record(2), 0, b"state")).await;
    store.damage(session(1), Part::Record);
    store.damage(session(2), Part::Snapshot(1));
    store.damage(session(2), Part::Snapshot(7));

    let error = store.load(session(1)).await.expect_err("damaged");
    assert!(matches!(error, StoreError::Damaged { what: "record", .. }), "{error}");
    store.snapshot(session(2), 1).await.expect_err("damaged");
    assert_eq!(store.load(session(2)).await.expect("load"), Some(second));
    let damaged = store.damaged().await.expect("damaged");
    let whose: Vec<_> = damaged.iter().map(|damage| damage.session).collect();
    assert_eq!(whose, [Some(session(1)), Some(session(2))]);
}

#[tokio::test]
async fn damage_is_over_when_what_it_struck_is_gone() {
    let (_, store) = opened::<MemoryStore>().await;
    let inputs = [(None, b"one".as_slice()), (None, b"two")];
    let first = put(&store, with_inputs(record(1), &inputs)).await;
    store.damage(session(1), Part::Input(1));
    store.damage(session(1), Part::Input(2));
    let second = put(&store, with_snapshot(next(&first, |_| ()), 1, b"state")).await;
    assert_eq!(store.damaged().await.expect("damaged").len(), 1, "the first is covered");
    store.inputs(session(1), 1, 9).await.expect_err("the second is not");
    let again = with_snapshot(next(&second, |_| ()), 2, b"state");
    store.damage(session(1), Part::Snapshot(1));
    let third = put(&store, again).await;
    assert_eq!(third.inputs_covered(), 1, "the older snapshot still needs the second");
    assert_eq!(store.damaged().await.expect("damaged").len(), 2);
    put(&store, with_snapshot(next(&third, |_| ()), 2, b"state")).await;
    assert_eq!(store.damaged().await.expect("damaged"), [], "all of it is gone");
}

#[tokio::test]
async fn a_damaged_record_refuses_its_commits_only() {
    let (_, store) = opened::<MemoryStore>().await;
    put(&store, only(record(1))).await;
    store.damage(session(1), Part::Record);
    let commits = [with_inputs(record(1), &[(None, b"x")]), only(record(2))];
    let answers = store.commit(batch(1, commits)).await.expect("answers");
    assert!(matches!(answers[0], Err(Refusal::Damaged { .. })), "{answers:?}");
    assert_eq!(answers[1], Ok(()));
}

#[tokio::test(start_paused = true)]
async fn time_that_is_paused_moves_only_by_itself() {
    let (_, store) = opened::<MemoryStore>().await;
    let before = tokio::time::Instant::now();
    put(&store, only(record(1))).await;
    store.load(session(1)).await.expect("load");
    assert_eq!(before.elapsed(), Duration::ZERO);
}
