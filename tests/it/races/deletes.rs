//! A delete against what would bring the session back, or end it otherwise.

use std::sync::Arc;

use sessionkeeper::{Delete, SessionError, State, store::Query};

use super::{MS, Race, on_paused_time, on_threads, quiet, soon, superseded_by, turn};

/// A paused session is deleted while it is resumed: one of the two is refused, and what was deleted never runs.
async fn delete_against_resume(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|policy| policy))).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    soon(session.pause()).await.unwrap();
    let other = session.clone();
    let resuming = tokio::spawn(async move { soon(other.resume()).await });
    race.about(MS).await;
    let deleted = soon(session.delete(Delete::IfAtRest)).await;
    let resumed = resuming.await.unwrap();
    match (&deleted, &resumed) {
        (Ok(()), Err(_)) => {
            let gone = matches!(resumed, Err(SessionError::NotFound { .. }));
            assert!(gone || superseded_by(&resumed) == Some("delete"), "{resumed:?}");
            assert_eq!(race.racer.alive(), 0);
            let status = session.status().await;
            assert!(matches!(status, Err(SessionError::NotFound { .. })), "{status:?}");
            assert_eq!(worker.list(Query::default()).await.unwrap().records, []);
            "deleted"
        }
        (Err(SessionError::NotAtRest { state, .. }), Ok(())) => {
            assert_eq!(*state, State::Active);
            assert_eq!(session.status().await.unwrap().state(), State::Active);
            "resumed"
        }
        // It was paused, and a resume that comes behind the delete finds nothing.
        _ => panic!("{deleted:?}, {resumed:?}"),
    }
}

#[test]
fn a_delete_against_a_resume() {
    on_paused_time(&["deleted", "resumed"], delete_against_resume);
}

#[test]
fn a_delete_against_a_resume_on_threads() {
    on_threads(delete_against_resume);
}

/// A session is deleted, stopped first, while its run completes.
async fn delete_against_completion(race: Arc<Race>) -> &'static str {
    let worker = race.worker(|builder| builder.policy(quiet(|policy| policy))).await;
    let session = race.session(&worker, |start| start.input(turn(MS * 20))).await;
    // On threads its turn may be over before anybody sees it.
    race.until(&session, |status| status.state() != State::Pending).await;
    let other = session.clone();
    let completing = tokio::spawn(async move { soon(other.complete()).await });
    race.about(MS).await;
    soon(session.delete(Delete::StopFirst)).await.unwrap();
    let completed = completing.await.unwrap();
    assert_eq!(race.racer.alive(), 0, "its run was waited for");
    let status = session.status().await;
    assert!(matches!(status, Err(SessionError::NotFound { .. })), "{status:?}");
    if completed.is_ok() { "completed" } else { "not completed" }
}

#[test]
fn a_delete_against_a_completion() {
    on_paused_time(&["completed"], delete_against_completion);
}

#[test]
fn a_delete_against_a_completion_on_threads() {
    on_threads(delete_against_completion);
}
