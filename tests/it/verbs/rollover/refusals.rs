//! Bad input: typed errors that name the session, and nothing is done.

use super::*;
use sessionkeeper::{SessionError, WhileAbandoned};

/// The session goes on as before, and there is no other.
async fn goes_on(worker: &Worker, session: &SessionHandle<Scripted>, sessions: usize) {
    session.send(Do::Add(1)).await.unwrap();
    idle(session).await;
    assert_eq!(links(session).await, Links::default());
    assert_eq!(count(worker).await, sessions);
    consistent(session).await;
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_or_is_stopped_is_not_rolled_over() {
    let worker = Worker::start().await;
    for wanted in [State::Stopped, State::Completed, State::Failed] {
        let session = worker.session().await;
        match wanted {
            State::Stopped => {
                soon(session.stop()).await.unwrap().ended().await.unwrap();
            }
            State::Completed => session.complete().await.unwrap(),
            _ => session.fail("told to").await.unwrap(),
        }
        let before = status(&session).await.record().clone();
        let error = soon(session.rollover(fresh(0))).await.unwrap_err();
        let said = error.to_string();
        match error {
            RolloverError::Refused { session: of, state } => {
                assert_eq!((of, state), (session.id(), wanted));
            }
            other => panic!("{other:?}"),
        }
        assert!(said.contains(&session.id().to_string()) && said.contains(wanted.as_str()));
        assert_eq!(*status(&session).await.record(), before);
    }
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_of_another_session_is_refused_and_the_session_goes_on() {
    let worker = Worker::start().await;
    let holder = worker.session_with(|start| start.name(name("taken"))).await;
    let session = worker.session_with(|start| start.name(name("mine"))).await;
    let error = soon(session.rollover(fresh(0).name(name("taken")))).await.unwrap_err();
    match error {
        RolloverError::Start(StartError::NameTaken { name: of, holder: by, .. }) => {
            assert_eq!((of, by), (name("taken"), holder.id()));
        }
        other => panic!("{other:?}"),
    }
    goes_on(&worker, &session, 2).await;
    sound(worker).await;
}

/// Its own name is its successor's by then: that is told, and not that the name is taken.
#[tokio::test(start_paused = true)]
async fn a_session_that_was_rolled_over_names_its_successor_whatever_name_is_asked_for() {
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.name(name("mine"))).await;
    let next = roll(&session, 0).await;
    let error = soon(session.rollover(fresh(1).name(name("mine")))).await.unwrap_err();
    match error {
        RolloverError::Session(SessionError::RolledOver { successor, .. }) => {
            assert_eq!(successor, next.id());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&worker).await, 2);
    sound(worker).await;
}

/// The name is taken while the rollover waits for its turn: the run has ended by then, and another one goes on.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_meanwhile_is_refused_and_the_session_goes_on() {
    for paused in [false, true] {
        let worker = Worker::start().await;
        let session = worker.session().await;
        session.send(Do::Deaf(SECOND * 5)).await.unwrap();
        in_hand(&session, 1).await;
        let (rolled, _, _) = soon(async {
            tokio::join!(
                session.rollover(fresh(0).name(name("taken"))),
                async {
                    tokio::time::sleep(SECOND).await;
                    worker.session_with(|start| start.name(name("taken"))).await
                },
                async {
                    tokio::time::sleep(SECOND * 2).await;
                    if paused { Some(session.pause().await.unwrap()) } else { None }
                }
            )
        })
        .await;
        let error = rolled.unwrap_err();
        assert!(matches!(&error, RolloverError::Start(StartError::NameTaken { .. })), "{error:?}");
        if paused {
            assert_eq!(state(&session).await, State::Paused);
            session.resume().await.unwrap();
        }
        goes_on(&worker, &session, 2).await;
        sound(worker).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_not_of_the_kind_is_refused_before_a_turn_is_disturbed() {
    let small = policy(|policy| policy.max_snapshot_bytes(200_u64).max_input_bytes(150_u64));
    let worker = Worker::start().await;
    let session = worker.session_with(|start| start.policy(small)).await;
    let large = Rollover::new(Done { sum: 0, seen: vec![1_000_000; 100] });
    let error = soon(session.rollover(large)).await.unwrap_err();
    assert!(
        matches!(error, RolloverError::Start(StartError::SnapshotTooLarge { limit: 200, .. })),
        "{error:?}"
    );
    let deep = (0..200).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let metadata = serde_json::Map::from_iter([("deep".to_owned(), deep)]);
    let error = soon(session.rollover(fresh(0).metadata(metadata))).await.unwrap_err();
    assert!(
        matches!(error, RolloverError::Session(SessionError::MetadataTooDeep { .. })),
        "{error:?}"
    );
    for (state, input) in [("a text", None), ("", Some("a text"))] {
        let sound = serde_json::to_value(Done::default()).unwrap();
        let state = if state.is_empty() { sound } else { state.into() };
        let mut asked = Rollover::json(&state);
        if let Some(input) = input {
            asked = asked.input_json(&input.into());
        }
        let error = soon(session.rollover_json(asked)).await.unwrap_err();
        assert!(matches!(error, RolloverError::Start(_)), "{error:?}");
    }
    goes_on(&worker, &session, 1).await;
    assert_eq!(worker.workload.probe.runs(), 1, "its run was not disturbed");

    let state = serde_json::to_value(Done { sum: 4, ..Done::default() }).unwrap();
    let input = serde_json::to_value(Do::Add(3)).unwrap();
    let asked = Rollover::json(&state).input_json(&input);
    let (next, origin) = soon(session.rollover_json(asked)).await.unwrap();
    assert_eq!(origin, Origin::New);
    assert_eq!(drained(&next.typed().unwrap()).await.sum, 7);
    sound(worker).await;
}

/// G5: a run that blocks its thread has no successor beside it, unless the policy says so.
#[test]
fn a_run_that_had_to_be_abandoned_has_a_successor_only_by_policy() {
    for while_abandoned in [WhileAbandoned::RefuseResume, WhileAbandoned::AllowResume] {
        let workloads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        sessionkeeper::testing::block_on(async {
            let own = policy(|policy| policy.while_abandoned(while_abandoned));
            let handle = workloads.handle().clone();
            let worker =
                Worker::start_with(|builder| builder.policy(own).workload_runtime(handle)).await;
            let session = worker.session().await;
            let gate = worker.workload.probe.close_gate();
            session.send(Do::Block).await.unwrap();
            while !worker.workload.probe.is_at_gate() {
                tokio::task::yield_now().await;
            }
            let rolled = soon(session.rollover(fresh(0).within(SECOND))).await;
            match while_abandoned {
                WhileAbandoned::RefuseResume => {
                    let error = rolled.unwrap_err();
                    let still =
                        matches!(error, RolloverError::Session(SessionError::RunStillAlive { .. }));
                    assert!(still, "{error:?}");
                    assert_eq!(state(&session).await, State::Paused);
                }
                WhileAbandoned::AllowResume => {
                    let next = rolled.unwrap();
                    assert_eq!(to(&session).await, Some((next.id(), 1)));
                }
            }
            drop(gate);
        });
    }
}
