//! What is copied where that is asked for.

use super::*;

/// G4: in the fork each has its effect once, and in the parent too.
#[tokio::test(start_paused = true)]
async fn inputs_that_are_copied_have_their_effect_once_in_each_of_the_two() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1, 2]).await;
    parent.pause().await.unwrap();
    for (number, id) in [(10, Some("ten")), (20, None), (40, Some("forty"))] {
        match id {
            Some(id) => parent.send_with_id(super::super::input_id(id), Do::Add(number)).await,
            None => parent.send(Do::Add(number)).await,
        }
        .unwrap();
    }
    let before = kept(&worker.store, parent.id()).await;
    let fork = Fork::new().copy_inputs().input(Do::Add(100));
    let fork = soon(parent.fork(fork)).await.unwrap().into_handle();
    assert_eq!(kept(&worker.store, parent.id()).await, before);
    idle(&fork).await;
    let done = drained(&fork).await;
    assert_eq!((done.sum, &*done.seen), (173, &[1, 2, 1, 2, 3, 4][..]), "its own one comes last");
    assert_eq!(forked(&fork).await.inputs, 3);
    let inbox = status(&fork).await.record().inbox.clone();
    assert_eq!((inbox.accepted, inbox.waiting_bytes), (4, 0));
    // The ids came with them.
    let again = fork.send_with_id(super::super::input_id("forty"), Do::Add(40)).await.unwrap();
    assert_eq!((again.sequence, again.repeated), (3, true));
    parent.resume().await.unwrap();
    assert_eq!(drained(&parent).await.sum, 73);
    consistent(&fork).await;
    drop(worker.supervisor);
    assert_eq!(audit(&worker.store).await, []);
}

#[tokio::test(start_paused = true)]
async fn inputs_are_not_copied_unless_that_is_asked_for() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    parent.pause().await.unwrap();
    parent.send(Do::Add(1)).await.unwrap();
    let fork = fork(&parent).await;
    idle(&fork).await;
    assert_eq!(drained(&fork).await.sum, 0);
    assert_eq!(status(&fork).await.record().inbox.accepted, 0);
}

/// Of an earlier snapshot, those too that had their effect since.
#[tokio::test(start_paused = true)]
async fn inputs_are_copied_from_where_the_snapshot_stands() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1, 2, 4]).await;
    let record = status(&parent).await.record().clone();
    let older = record.snapshots[1];
    assert_eq!((older.consumed, record.inbox.consumed), (2, 3));
    let fork = Fork::new().at(older.sequence).copy_inputs();
    let fork = soon(parent.fork(fork)).await.unwrap().into_handle();
    idle(&fork).await;
    let done = drained(&fork).await;
    assert_eq!((done.sum, done.seen), (7, vec![1, 2, 1]));
}

/// What a run has in hand is covered by no snapshot.
#[tokio::test(start_paused = true)]
async fn the_input_in_hand_is_copied_as_one_that_waits() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1]).await;
    parent.send(Do::Deaf(SECOND * 9)).await.unwrap();
    in_hand(&parent, 2).await;
    parent.send(Do::Add(2)).await.unwrap();
    let fork = soon(parent.fork(Fork::new().copy_inputs())).await.unwrap().into_handle();
    idle(&fork).await;
    assert_eq!(drained(&fork).await.seen, [1, 1, 2]);
    assert_eq!(drained(&parent).await.seen, [1, 2, 3]);
}

/// They were accepted once, and its own first input cannot wait until they are worked off.
#[tokio::test(start_paused = true)]
async fn the_limits_of_the_inbox_do_not_hold_for_what_a_fork_begins_with() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    parent.pause().await.unwrap();
    for _ in 0..5 {
        parent.send(Do::Add(1)).await.unwrap();
    }
    let small = policy(|policy| policy.max_inputs(2_u32).max_input_bytes(50_u64));
    let small = || Fork::new().copy_inputs().policy(small.clone());
    let large = Do::Busy { limit: SECOND, takes: SECOND };
    let refused = soon(parent.fork(small().input(large))).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ForkError::Start(StartError::Input(SendError::TooLarge { limit: 50, .. }))
        ),
        "{refused:?}"
    );
    let fork = soon(parent.fork(small().input(Do::Add(10)))).await.unwrap().into_handle();
    idle(&fork).await;
    assert_eq!(drained(&fork).await.sum, 15);
}

#[tokio::test(start_paused = true)]
async fn more_inputs_than_are_read_at_once_are_copied() {
    let much = policy(|policy| policy.max_inputs(2_000_u32));
    let worker = Worker::with_policy(much).await;
    let parent = worker.session().await;
    parent.pause().await.unwrap();
    for _ in 0..700 {
        parent.send(Do::Add(1)).await.unwrap();
    }
    let fork = soon(parent.fork(Fork::new().copy_inputs())).await.unwrap().into_handle();
    assert_eq!(drained(&fork).await.sum, 700);
}

#[tokio::test(start_paused = true)]
async fn usage_goes_on_from_that_of_the_parent_where_it_is_copied() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    parent.send(Do::Spend(7)).await.unwrap();
    idle(&parent).await;
    let fork = soon(parent.fork(Fork::new().copy_usage())).await.unwrap().into_handle();
    fork.send(Do::Spend(3)).await.unwrap();
    idle(&fork).await;
    assert_eq!(status(&fork).await.record().usage, Usage::tokens(10, 0));
    assert_eq!(forked(&fork).await.usage, Some(Usage::tokens(7, 0)));
    consistent(&fork).await;
}
