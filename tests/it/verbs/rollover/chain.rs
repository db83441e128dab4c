//! Chains of sessions, and who follows them.

use super::*;

/// Each is asked of the last one, at once.
#[tokio::test(start_paused = true)]
async fn rollovers_in_quick_succession_make_one_chain_in_order() {
    for places in [1, 8] {
        let worker = Worker::start_with(|builder| builder.max_active(places)).await;
        let first = worker.session_with(|start| start.name(name("chat"))).await;
        first.send(Do::Add(1)).await.unwrap();
        let mut made = vec![first.id()];
        let mut last = first.clone();
        for sum in 0..5 {
            last = roll(&last, sum).await;
            made.push(last.id());
        }
        assert_eq!(chain(&worker, &last).await, made);
        assert_eq!(first.latest().await.unwrap().id(), last.id());
        assert_eq!(last.latest().await.unwrap().id(), last.id());
        let done = drained(&last).await;
        assert!(done.sum == 4 || done.sum == 5, "the input moved along, or was worked off");
        let active = Query { states: vec![State::Active], ..Query::default() };
        let active = worker.supervisor.list(active).await.unwrap().records;
        assert_eq!(active.iter().map(|record| record.id).collect::<Vec<_>>(), [last.id()]);
        assert_eq!(active[0].name, Some(name("chat")));
        sound(worker).await;
    }
}

/// Asked of one session at once, without a key: one is done, the others are told which it is.
#[tokio::test(start_paused = true)]
async fn of_many_rollovers_of_one_session_one_is_done() {
    for busy in [false, true] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        if busy {
            session.send(Do::Deaf(SECOND * 3)).await.unwrap();
            in_hand(&session, 1).await;
        }
        let asked = (0..20).map(|sum| session.rollover(fresh(sum)));
        let answers = soon(futures::future::join_all(asked)).await;
        let made: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(made.len(), 1, "busy: {busy}");
        let next = made[0].id();
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            match refused {
                RolloverError::Session(SessionError::RolledOver { session: of, successor }) => {
                    assert_eq!((*of, *successor), (session.id(), next));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(count(&worker).await, 2);
        sound(worker).await;
    }
}

/// The same request is the same rollover, whenever it is repeated, and by whichever worker.
#[tokio::test(start_paused = true)]
async fn a_rollover_that_is_repeated_under_its_key_is_the_same() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * 3)).await.unwrap();
    in_hand(&session, 1).await;
    let asked = || fresh(5).key(key("clear"));
    let answers = soon(futures::future::join_all((0..10).map(|_| session.rollover(asked())))).await;
    let made: Vec<_> = answers.into_iter().map(|answer| answer.unwrap()).collect();
    let next = made[0].id();
    assert!(made.iter().all(|one| one.id() == next));
    let new = made.iter().filter(|one| one.origin() == Origin::New).count();
    assert_eq!((new, count(&worker).await), (1, 2));
    // Also after the successor was rolled over itself, and by the next worker.
    roll(&made[0].clone(), 6).await;
    let worker = worker.crash_and_restart().await;
    let session = worker.again(&session).await;
    let again = soon(session.rollover(asked())).await.unwrap();
    assert_eq!((again.id(), again.origin()), (next, Origin::Repeated));
    // The same key with another request is a mistake.
    let other = soon(session.rollover(fresh(6).key(key("clear")))).await.unwrap_err();
    match other {
        RolloverError::Start(StartError::KeyReused { session, .. }) => assert_eq!(session, next),
        other => panic!("{other:?}"),
    }
    sound(worker).await;
}

/// Nobody is told that a successor is there which was deleted.
#[tokio::test(start_paused = true)]
async fn a_rollover_whose_successor_was_deleted_is_not_the_same_again() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    let asked = || fresh(5).key(key("clear"));
    let next = soon(session.rollover(asked())).await.unwrap();
    next.delete(Delete::StopFirst).await.unwrap();
    let again = soon(session.rollover(asked())).await.unwrap_err();
    match again {
        RolloverError::Start(StartError::Deleted { session }) => assert_eq!(session, next.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&worker).await, 1);
    sound(worker).await;
}

/// Whoever knows only the first of a chain reaches the last.
#[tokio::test(start_paused = true)]
async fn inputs_go_along_by_choice() {
    let worker = Worker::start().await;
    let first = worker.session().await;
    let before = first.send_with_id(input_id("early"), Do::Add(1)).await.unwrap();
    idle(&first).await;
    let mut last = first.clone();
    for _ in 0..3 {
        last = roll(&last, 0).await;
    }
    let refused = first.send(Do::Add(2)).await.unwrap_err();
    let second = links(&first).await.transitioned_to.unwrap();
    let said = refused.to_string();
    match refused {
        SendError::RolledOver { session, successor } => {
            assert_eq!((session, successor), (first.id(), second));
        }
        other => panic!("{other:?}"),
    }
    assert!(said.contains(&second.to_string()), "{said}");
    let following = first.following();
    let receipt = soon(following.send(Do::Add(4))).await.unwrap();
    assert_eq!((receipt.session, receipt.sequence), (last.id(), 1));
    let once = soon(following.send_with_id(input_id("late"), Do::Add(8))).await.unwrap();
    let again = soon(following.send_with_id(input_id("late"), Do::Add(8))).await.unwrap();
    assert_eq!((again.session, again.sequence, again.repeated), (last.id(), once.sequence, true));
    // What had been accepted before is not sent again.
    let early = soon(following.send_with_id(input_id("early"), Do::Add(1))).await.unwrap();
    assert_eq!((early.session, early.sequence), (first.id(), before.sequence));
    let json = serde_json::to_value(Do::Add(16)).unwrap();
    let receipt = soon(following.send_json(&json)).await.unwrap();
    assert_eq!(receipt.session, last.id());
    assert_eq!(drained(&last).await.sum, 28);
    // The other verbs are for the one session.
    let refused = following.pause().await.unwrap_err();
    assert!(matches!(refused, SessionError::RolledOver { .. }), "{refused:?}");
    sound(worker).await;
}

/// Nothing is lost of what is sent while a chain grows, and nothing comes twice.
#[tokio::test(start_paused = true)]
async fn what_is_sent_while_a_chain_grows_takes_effect_once() {
    let worker = Worker::start().await;
    let first = worker.session().await;
    let following = first.following();
    let sending = async {
        for number in 0..50_u32 {
            following.send_with_id(input_id(&number.to_string()), Do::Add(1)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(u64::from(number % 7))).await;
        }
    };
    let rolling = async {
        let mut all = vec![first.clone()];
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(9)).await;
            all.push(roll(all.last().unwrap(), 0).await);
        }
        all
    };
    let ((), all) = soon(async { tokio::join!(sending, rolling) }).await;
    drained(all.last().unwrap()).await;
    let mut sum = 0;
    for session in &all {
        sum += session.snapshot().await.unwrap().state.sum;
    }
    assert_eq!(sum, 50);
    sound(worker).await;
}

/// Who follows may be deleted as any other: what is left of the chain is sound.
#[tokio::test(start_paused = true)]
async fn a_chain_goes_on_without_a_successor_that_was_deleted() {
    let worker = Worker::start().await;
    let first = worker.session().await;
    let next = roll(&first, 0).await;
    soon(next.delete(Delete::StopFirst)).await.unwrap();
    assert_eq!(links(&first).await.transitioned_to, Some(next.id()), "it is named all the same");
    let gone = first.latest().await.unwrap_err();
    assert!(matches!(gone, SessionError::NotFound { session } if session == next.id()), "{gone:?}");
    sound(worker).await;
}
