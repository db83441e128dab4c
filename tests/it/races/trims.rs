//! The removal of older events against those who read them, and against what the session is asked meanwhile.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use futures::StreamExt;
use sessionkeeper::{
    Builder, ExternalId, Retention, SessionError, SessionHandle, State, Supervisor, Update,
    store::Store,
};

use super::{MS, Race, SECOND, on_paused_time, quiet, racer::Racer, soon, turn};

const NEWEST: u64 = 20;
/// How long events stay that are to go.
const SHOWN: Duration = Duration::from_secs(10);

fn keep(builder: Builder) -> Builder {
    let newest = NonZeroU64::new(NEWEST).unwrap();
    builder.policy(quiet(|policy| policy)).retention(Retention::default().events(newest))
}

/// Has events recorded until some of them are to go.
async fn fill(session: &SessionHandle<Racer>) {
    for number in 0..99 {
        let status = soon(session.status()).await.unwrap();
        if status.record().trimmed.is_some() {
            return;
        }
        let id = ExternalId::new(format!("{number}")).unwrap();
        soon(session.set_external_id(id)).await.unwrap();
    }
    panic!("nothing is to go");
}

/// A session that is paused, and of which events are to go.
async fn paused_and_filled(race: &Race) -> (Supervisor, SessionHandle<Racer>) {
    let worker = race.worker(keep).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    soon(session.pause()).await.unwrap();
    fill(&session).await;
    (worker, session)
}

/// What a subscriber is given up to an event: how much of it is gone.
async fn follow(session: &SessionHandle<Racer>, to: u64) -> u64 {
    let mut updates = soon(session.subscribe(1)).await.unwrap();
    let (mut due, mut gone) = (1, 0);
    while due <= to {
        match soon(updates.next()).await.unwrap().unwrap() {
            Update::Event(event) => {
                assert_eq!(event.sequence, due, "none twice, and none left out");
                due += 1;
            }
            Update::Gap { from, to } => {
                assert_eq!((from, gone), (due, 0), "it is one gap");
                gone = to;
                due = to + 1;
            }
        }
    }
    gone
}

/// Somebody begins to read, or is about it, when events go.
async fn subscribe_against_trim(race: Arc<Race>) -> &'static str {
    let worker = race.worker(keep).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    fill(&session).await;
    let reader = session.clone();
    let last = soon(session.status()).await.unwrap().record().last_event;
    race.about(SHOWN).await;
    let gone = soon(tokio::spawn(async move { follow(&reader, last).await })).await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    let record = soon(session.status()).await.unwrap().record().clone();
    let trimmed = record.trimmed.clone().unwrap();
    assert_eq!(trimmed.since, None, "it is done");
    assert!(gone <= trimmed.to && trimmed.to + NEWEST <= last, "{gone}, {record:?}");
    let left = race.store.events(session.id(), 1..=u64::MAX, 999).await.unwrap();
    assert_eq!(left.first().map(|first| first.sequence), Some(trimmed.to + 1));
    match gone {
        0 => "whole",
        gone if gone == trimmed.to => "gap",
        _ => panic!("a part of one portion is gone: {gone}"),
    }
}

#[test]
fn a_subscription_against_a_trim() {
    on_paused_time(&["whole", "gap"], subscribe_against_trim);
}

/// A paused session is resumed, or sent to, when events of it go: both are done.
async fn resume_against_trim(race: Arc<Race>) -> &'static str {
    let (_worker, session) = paused_and_filled(&race).await;
    race.about(SHOWN).await;
    let is_sent = race.choose(2) == 0;
    if is_sent {
        soon(session.send(turn(MS))).await.unwrap();
    }
    soon(session.resume()).await.unwrap();
    soon(session.send(turn(MS))).await.unwrap();
    let since = async || {
        let status = soon(session.status()).await.unwrap();
        status.record().trimmed.as_ref().unwrap().since
    };
    let is_first = since().await.is_none();
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(since().await, None, "it is done");
    let status = soon(session.status()).await.unwrap();
    assert_eq!(status.state(), State::Active);
    let inputs = if is_sent { 2 } else { 1 };
    assert_eq!(session.snapshot().await.unwrap().state.len(), inputs);
    if is_first { "trimmed first" } else { "resumed first" }
}

#[test]
fn a_resume_against_a_trim() {
    on_paused_time(&["trimmed first", "resumed first"], resume_against_trim);
}

/// A stopped session is resumed when room is needed: it is deleted, or it goes on and nothing of it is gone.
async fn resume_against_room(race: Arc<Race>) -> &'static str {
    let limit = NonZeroU64::new(1_500).unwrap();
    let retention = Retention::default().stopped(SHOWN * 9_999).bytes(limit);
    let set = |builder: Builder| builder.policy(quiet(|policy| policy)).retention(retention);
    let worker = race.worker(set).await;
    let session = race.session(&worker, |start| start).await;
    race.idle(&session).await;
    soon(soon(session.stop()).await.unwrap().ended()).await.unwrap();
    let paused = race.session(&worker, |start| start).await;
    soon(paused.pause()).await.unwrap();
    tokio::time::sleep(SECOND * 3).await;
    let held = soon(worker.space()).await.unwrap();
    assert_eq!(held.excess(), 0, "{held}");
    let fills = tokio::spawn(async move {
        tokio::time::sleep(MS * 10).await;
        for _ in 0..60 {
            soon(paused.send(turn(MS))).await.unwrap();
        }
        paused
    });
    // With the first of them it is looked at how much there is, and again after a second.
    race.about(MS * 10 + SECOND).await;
    let resumed = soon(session.resume()).await;
    let paused = soon(fills).await.unwrap();
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(soon(paused.status()).await.unwrap().state(), State::Paused, "it is kept");
    match (&resumed, soon(session.status()).await) {
        (Ok(()), Ok(status)) => {
            assert_eq!(status.state(), State::Active);
            assert!(soon(worker.space()).await.unwrap().excess() > 0, "and said to be too much");
            "resumed"
        }
        (Err(_), Err(SessionError::NotFound { .. })) => "deleted",
        answers => panic!("{answers:?}"),
    }
}

#[test]
fn a_resume_against_the_need_of_room() {
    on_paused_time(&["resumed", "deleted"], resume_against_room);
}

/// A session is deleted when events of it go: nothing of it is left, and nothing brings it back.
async fn delete_against_trim(race: Arc<Race>) -> &'static str {
    let (_worker, session) = paused_and_filled(&race).await;
    race.about(SHOWN).await;
    soon(session.delete(sessionkeeper::Delete::IfAtRest)).await.unwrap();
    let left = race.store.events(session.id(), 1..=1, 1).await.unwrap();
    tokio::time::sleep(SECOND * 30).await;
    let all = race.store.events(session.id(), 1..=u64::MAX, 999).await.unwrap();
    assert_eq!(all, []);
    if left.is_empty() { "trimmed first" } else { "deleted first" }
}

#[test]
fn a_delete_against_a_trim() {
    on_paused_time(&["trimmed first", "deleted first"], delete_against_trim);
}
