//! What comes while a rollover waits for the end of a turn, and which of the two wins.

use super::*;

type Rolling = tokio::task::JoinHandle<Result<SessionId, RolloverError>>;

/// A rollover that waits for a turn of so many seconds.
async fn waiting(worker: &Worker, turn: u64) -> (SessionHandle<Scripted>, Rolling) {
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * u32::try_from(turn).unwrap())).await.unwrap();
    in_hand(&session, 1).await;
    let asked = session.clone();
    let rolling = tokio::spawn(async move { asked.rollover(fresh(3)).await.map(|next| next.id()) });
    tokio::time::sleep(SECOND).await;
    (session, rolling)
}

/// The turn ends by itself, and counts; or it is cancelled after the grace, and its input moves.
#[tokio::test(start_paused = true)]
async fn a_turn_ends_first_or_is_cancelled_after_the_grace() {
    for (turn, grace, ended) in
        [(5, 20, RunEnd::Yielded), (50, 20, RunEnd::Cancelled), (5, 0, RunEnd::Cancelled)]
    {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send(Do::Deaf(SECOND * turn)).await.unwrap();
        session.send(Do::Add(1)).await.unwrap();
        in_hand(&session, 1).await;
        let began = tokio::time::Instant::now();
        let asked = fresh(10).within(SECOND * grace);
        let next = soon(session.rollover(asked)).await.unwrap().into_handle();
        let took = began.elapsed().as_secs();
        assert!(took <= u64::from(turn.min(grace)) + 1, "{took} s");
        assert_eq!(ends(&session).await, std::slice::from_ref(&ended));
        assert_eq!(worker.workload.probe.closed(), 1);
        let (unread, seen) = if ended == RunEnd::Yielded { (1, vec![1]) } else { (2, vec![1, 2]) };
        assert_eq!(to(&session).await, Some((next.id(), unread)));
        let done = drained(&next).await;
        assert_eq!((done.sum, done.seen), (11, seen));
        sound(worker).await;
    }
}

/// A stop that was accepted before the commit wins, and the session keeps what it had.
#[tokio::test(start_paused = true)]
async fn a_stop_wins_over_a_rollover_that_waits() {
    let worker = Worker::start().await;
    let (session, rolling) = waiting(&worker, 5).await;
    soon(soon(session.stop()).await.unwrap().ended()).await.unwrap();
    match soon(rolling).await.unwrap().unwrap_err() {
        RolloverError::Refused { session: of, state } => {
            assert_eq!((of, state), (session.id(), State::Stopped));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&worker).await, 1);
    assert_eq!(links(&session).await, Links::default());
    // A resume takes the stop back, and then it can be rolled over.
    soon(session.resume()).await.unwrap();
    let next = roll(&session, 1).await;
    assert_eq!(chain(&worker, &next).await, [session.id(), next.id()]);
    // After it, a stop by the old id says whom to ask.
    let refused = soon(session.stop()).await.unwrap_err();
    match refused {
        SessionError::RolledOver { session: of, successor } => {
            assert_eq!((of, successor), (session.id(), next.id()));
        }
        other => panic!("{other:?}"),
    }
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_first_refuses_the_rollover() {
    for end in ["complete", "fail", "by itself"] {
        let worker = Worker::start().await;
        let (session, rolling) = if end == "by itself" {
            let session = worker.session().await;
            session.send(Do::CompleteAfter(SECOND * 5)).await.unwrap();
            in_hand(&session, 1).await;
            let asked = session.clone();
            let rolling =
                tokio::spawn(async move { asked.rollover(fresh(3)).await.map(|next| next.id()) });
            (session, rolling)
        } else {
            waiting(&worker, 5).await
        };
        let ended = match end {
            "complete" => soon(session.complete()).await.map(|()| State::Completed).unwrap(),
            "fail" => soon(session.fail("enough")).await.map(|()| State::Failed).unwrap(),
            _ => State::Completed,
        };
        match soon(rolling).await.unwrap().unwrap_err() {
            RolloverError::Refused { session: of, state } => {
                assert_eq!((of, state), (session.id(), ended), "{end}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(count(&worker).await, 1, "{end}");
        sound(worker).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_under_way_is_finished_first_and_a_later_one_names_the_successor() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * 5)).await.unwrap();
    in_hand(&session, 1).await;
    let (paused, rolled) =
        soon(async { tokio::join!(session.pause(), session.rollover(fresh(0))) }).await;
    paused.unwrap();
    let next = rolled.unwrap();
    let last: Vec<_> = moves(&session).await.into_iter().rev().take(2).collect();
    assert_eq!(
        last,
        [
            (State::Paused, State::Completed, Cause::RolledOver),
            (State::Active, State::Paused, Cause::Asked)
        ]
    );
    until(&next, |status| status.state() == State::Active).await;

    let (session, rolling) = waiting(&worker, 5).await;
    let refused = soon(session.pause()).await.unwrap_err();
    let next = soon(rolling).await.unwrap().unwrap();
    assert!(
        matches!(refused, SessionError::RolledOver { successor, .. } if successor == next),
        "{refused:?}"
    );
    // A resume has what it asks for.
    let (session, rolling) = waiting(&worker, 5).await;
    soon(session.resume()).await.unwrap();
    soon(rolling).await.unwrap().unwrap();
    sound(worker).await;
}

/// A rollover waits behind a pause, which a resume withdraws: the run is asked to make room then. Else the rollover would wait for
/// an end that may never come.
#[tokio::test(start_paused = true)]
async fn a_rollover_behind_a_pause_that_is_withdrawn_is_next() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * 5)).await.unwrap();
    in_hand(&session, 1).await;
    let asked = async {
        let resumed = async {
            tokio::time::sleep(SECOND).await;
            session.resume().await
        };
        tokio::join!(session.pause(), session.rollover(fresh(0)), resumed)
    };
    let (paused, rolled, resumed) = soon(asked).await;
    let paused = paused.unwrap_err();
    assert!(matches!(paused, SessionError::Superseded { by: "resume", .. }), "{paused:?}");
    resumed.unwrap();
    let next = rolled.unwrap();
    let last = moves(&session).await.pop();
    assert_eq!(last, Some((State::Active, State::Completed, Cause::RolledOver)));
    until(&next, |status| status.state() == State::Active).await;
    sound(worker).await;
}

/// Whatever becomes of the turn, the session is rolled over; a failure is no reason to begin it anew.
#[tokio::test(start_paused = true)]
async fn a_turn_that_fails_meanwhile_hinders_nothing() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::FailAfter(SECOND * 3)).await.unwrap();
    in_hand(&session, 1).await;
    let next = roll(&session, 5).await;
    assert!(matches!(ends(&session).await.as_slice(), [RunEnd::Failed { .. }]));
    let record = status(&session).await.record().clone();
    assert!(record.failures.last.is_some());
    assert_eq!(to(&session).await, Some((next.id(), 1)), "its input was not worked off");
    sound(worker).await;
}

/// Dropping the future of a caller withdraws nothing.
#[tokio::test(start_paused = true)]
async fn a_rollover_that_nobody_waits_for_is_done() {
    let worker = Worker::start().await;
    let session = worker.session().await;
    session.send(Do::Deaf(SECOND * 3)).await.unwrap();
    in_hand(&session, 1).await;
    let dropped = tokio::time::timeout(SECOND, session.rollover(fresh(1))).await;
    assert!(dropped.is_err());
    until(&session, |status| status.state() == State::Completed).await;
    let next = session.latest().await.unwrap();
    assert_ne!(next.id(), session.id());
    sound(worker).await;
}
