//! Verbs for many sessions at once.

use sessionkeeper::{
    GroupReport, PauseCause, SessionHandle, SessionId, Start, State, Supervisor,
    store::{MemoryStore, Query},
    testing::{Call, FaultyStore, Interference},
};

use super::{HANGS, SECOND, in_hand, labels, policy, state, status, until};
use crate::support::{Do, Done, Scripted, Worker};

/// The sessions of one user.
fn of(user: &str) -> Query {
    // A limit of its own does not cut it short.
    Query { labels: vec![("user".to_owned(), user.to_owned())], limit: 1, ..Query::default() }
}

async fn session_of(worker: &Worker, user: &str) -> SessionHandle<Scripted> {
    worker.session_with(|start| start.labels(labels(&[("user", user)]))).await
}

fn ids<T>(report: &GroupReport<T>) -> Vec<SessionId> {
    report.lines.iter().map(|(session, _)| *session).collect()
}

#[tokio::test(start_paused = true)]
async fn a_group_is_paused_resumed_and_stopped_and_nobody_else_is() {
    let worker = Worker::start().await;
    let ada = [session_of(&worker, "ada").await, session_of(&worker, "ada").await];
    let bob = session_of(&worker, "bob").await;
    let mut newest_first = ada.each_ref().map(|session| session.id());
    newest_first.reverse();

    let paused = worker.supervisor.pause_all(of("ada")).await.unwrap();
    assert_eq!(ids(&paused), newest_first);
    assert_eq!(paused.failures().count(), 0, "{paused}");
    assert!(paused.done().all(|(_, paused)| paused.snapshot.is_some()));
    for session in &ada {
        assert_eq!(status(session).await.pause_cause(), Some(PauseCause::Asked));
    }
    assert_eq!(state(&bob).await, State::Active);

    let resumed = worker.supervisor.resume_all(of("ada")).await.unwrap();
    assert_eq!(ids(&resumed), newest_first);
    assert_eq!(state(&ada[0]).await, State::Active);

    let stopped = worker.supervisor.stop_all(of("ada")).await.unwrap();
    let ended = stopped.ended().await;
    assert_eq!(ids(&ended), newest_first);
    assert!(ended.done().all(|(_, report)| report.end.is_some()), "{ended}");
    for session in &ada {
        assert_eq!(state(session).await, State::Stopped);
    }
    assert_eq!(state(&bob).await, State::Active);
}

#[tokio::test(start_paused = true)]
async fn a_verb_takes_those_in_which_it_means_something_unless_it_is_told() {
    let worker = Worker::start().await;
    let (active, stopped) = (session_of(&worker, "ada").await, session_of(&worker, "ada").await);
    stopped.stop().await.unwrap().ended().await.unwrap();
    active.pause().await.unwrap();
    let resumed = worker.supervisor.resume_all(of("ada")).await.unwrap();
    assert_eq!(ids(&resumed), [active.id()], "a person has stopped the other");
    let all_stopped = Query { states: vec![State::Stopped], ..of("ada") };
    let resumed = worker.supervisor.resume_all(all_stopped).await.unwrap();
    assert_eq!(ids(&resumed), [stopped.id()]);
    assert_eq!(state(&stopped).await, State::Active);
    let nobody = worker.supervisor.stop_all(of("eve")).await.unwrap();
    assert_eq!(nobody.to_string(), "0 done, 0 refused or failed");
}

#[tokio::test(start_paused = true)]
async fn one_that_refuses_hinders_no_other() {
    let worker = Worker::with_policy(policy(|policy| policy.pause_grace(HANGS))).await;
    let (well, ends) = (session_of(&worker, "ada").await, session_of(&worker, "ada").await);
    // It completes instead of coming to rest.
    ends.send(Do::Complete).await.unwrap();
    until(&ends, |status| status.state() == State::Completed).await;
    let query = Query { states: vec![State::Active, State::Completed], ..of("ada") };
    let report = worker.supervisor.pause_all(query).await.unwrap();
    assert_eq!(report.done().map(|(session, _)| session).collect::<Vec<_>>(), [well.id()]);
    let refused: Vec<_> = report.failures().map(|(session, _)| session).collect();
    assert_eq!(refused, [ends.id()]);
    let told = report.to_string();
    assert!(told.starts_with(&ends.id().to_string()), "{told}");
    assert!(told.ends_with("1 done, 1 refused or failed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_many_pages_is_asked_as_one() {
    let worker = Worker::start().await;
    let mut sessions = Vec::new();
    for _ in 0..2_100 {
        sessions.push(session_of(&worker, "ada").await);
    }
    let supervisor = worker.supervisor.clone();
    let paused = tokio::spawn(async move { supervisor.pause_all(of("ada")).await });
    let paused = paused.await.unwrap().unwrap();
    assert_eq!(paused.done().count(), sessions.len(), "{paused}");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_stopped_has_ended_when_its_last_run_is_gone() {
    let worker = Worker::with_policy(policy(|policy| policy.stop_grace(SECOND * 5))).await;
    let (quick, slow) = (session_of(&worker, "ada").await, session_of(&worker, "ada").await);
    slow.send(Do::Deaf(SECOND * 60)).await.unwrap();
    in_hand(&slow, 1).await;
    let stopped = worker.supervisor.stop_all(of("ada")).await.unwrap();
    assert_eq!(state(&slow).await, State::Stopping);
    let ended = stopped.ended().await;
    assert_eq!(ended.done().count(), 2);
    assert_eq!((state(&quick).await, state(&slow).await), (State::Stopped, State::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_be_looked_up_is_left_as_it_is() {
    let store = FaultyStore::new(MemoryStore::new());
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let start = Start::<Scripted>::new(Done::default()).labels(labels(&[("user", "ada")]));
    let session = supervisor.start(start).await.unwrap().into_handle();
    store.next(Call::List, Interference::Fail);
    supervisor.pause_all(of("ada")).await.unwrap_err();
    assert_eq!(state(&session).await, State::Active);
}
