//! What hooks hear of sessions that are deleted.

use serde_json::json;
use sessionkeeper::{
    Delete, EventRecord, Fact, Lifecycle, SessionRecord,
    sink::{self, SinkBatch, SinkItem},
    store::Store,
};

use super::*;
use crate::verbs::labels;

/// Hooks of which the end of a session fails, for as long as they are down.
fn hooks_that_may_be_down(is_down: &Arc<AtomicBool>) -> Memory {
    let is_down = Arc::clone(is_down);
    Memory::that(move |call| {
        let fails = call.hook == Hook::SessionEnd && is_down.load(Ordering::Relaxed);
        if fails { Say::Fails } else { Say::Done }
    })
}

/// What is in the store of the log of a session that is gone for everybody else.
async fn stored(worker: &Worker, session: SessionId) -> Vec<EventRecord> {
    worker.store.events(session, 1..=u64::MAX, usize::MAX).await.unwrap()
}

/// The end of a session has to say of which, though it is deleted before anybody hears of it.
#[tokio::test(start_paused = true)]
async fn of_who_was_deleted_meanwhile_hooks_and_sinks_are_told_what_it_was_called() {
    let is_down = Arc::new(AtomicBool::new(true));
    let hooks = hooks_that_may_be_down(&is_down);
    let told: Arc<Mutex<Vec<Arc<SessionRecord>>>> = Arc::default();
    let taken = Arc::clone(&told);
    let sink_is_down = Arc::clone(&is_down);
    let late = move || {
        let (is_down, taken) = (Arc::clone(&sink_is_down), Arc::clone(&taken));
        sink::from_fn(move |batch: SinkBatch| {
            let is_down = is_down.load(Ordering::Relaxed);
            let records = batch.items().iter().filter_map(|item| match item {
                SinkItem::Record { record, .. } => Some(Arc::clone(record)),
                _ => None,
            });
            taken.lock().unwrap().extend(records.filter(|_| !is_down));
            async move { if is_down { Err(std::io::Error::other("it is down")) } else { Ok(()) } }
        })
    };
    let configure = |builder: Builder| builder.hooks(hooks.clone()).sink("late", late());
    let worker = Worker::start_with(configure).await;
    let metadata = serde_json::Map::from_iter([("worktree".to_owned(), json!("/trees/7"))]);
    let starts = |start: sessionkeeper::Start<Scripted>| {
        let start = start.name("fix".parse().unwrap()).external_id("agent-7".parse().unwrap());
        start.labels(labels(&[("job", "7")])).metadata(metadata.clone())
    };
    let session = worker.session_with(starts).await;
    stopped(&session).await;
    session.delete(Delete::IfAtRest).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    assert_eq!(hooks.count(session.id(), Hook::SessionEnd), 0);
    // Its name is free all the same.
    worker.session_with(starts).await;
    let worker = worker.crash_and_restart_with(configure).await;
    is_down.store(false, Ordering::Relaxed);
    caught_up(&worker.supervisor).await;
    let ends = hooks.done().into_iter();
    let ends = ends.filter(|call| call.session == session.id() && call.hook == Hook::SessionEnd);
    let ends: Vec<_> = ends.map(|call| call.record.unwrap()).collect();
    assert_eq!(ends.len(), 1);
    tokio::time::sleep(MINUTE * 5).await;
    let last = told.lock().unwrap().iter().rfind(|record| record.id == session.id()).cloned();
    for record in [&ends[0], &last.unwrap()] {
        assert!(record.is_deleted());
        assert_eq!(record.state(), State::Stopped);
        assert_eq!(record.name, Some("fix".parse().unwrap()));
        assert_eq!(record.external_id, Some("agent-7".parse().unwrap()));
        assert_eq!(record.labels, labels(&[("job", "7")]));
        assert_eq!(record.metadata, metadata);
        assert_eq!(record.runs.count, 1);
    }
    // When everybody was told, nothing of that is kept.
    assert_eq!(stored(&worker, session.id()).await, []);
    let kept = worker.store.load(session.id()).await.unwrap().unwrap();
    assert!(kept.name.is_none() && kept.external_id.is_none());
    assert!(kept.labels.is_empty() && kept.metadata.is_empty());
}

/// What its start has made outside has to be undone by somebody.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_while_it_is_paused_has_its_end() {
    let is_down = Arc::new(AtomicBool::new(true));
    let hooks = hooks_that_may_be_down(&is_down);
    let configure = |builder: Builder| builder.max_active(1).hooks(hooks.clone());
    let worker = Worker::start_with(configure).await;
    let paused = worker.session().await;
    paused.pause().await.unwrap();
    let stops = worker.session().await;
    let never_ran = worker.session().await;
    never_ran.pause().await.unwrap();
    stopped(&stops).await;
    let resumed = worker.session().await;
    stopped(&resumed).await;
    resumed.resume().await.unwrap();
    resumed.pause().await.unwrap();
    let all = [(&paused, 1), (&stops, 1), (&never_ran, 0), (&resumed, 2)];
    for (session, _) in all {
        session.delete(Delete::IfAtRest).await.unwrap();
    }
    let mut logs = Vec::new();
    for (session, _) in all {
        logs.push(stored(&worker, session.id()).await);
    }
    tokio::time::sleep(MINUTE).await;
    let worker = worker.crash_and_restart_with(configure).await;
    is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(MINUTE * 10).await;
    assert_eq!(caught_up(&worker.supervisor).await, HooksStatus::default());
    for ((session, ends), log) in all.into_iter().zip(logs) {
        let last = log.last().map(|event| &event.fact);
        assert!(matches!(last, Some(Fact::Lifecycle(Lifecycle::Deleted { .. }))), "{last:?}");
        assert_eq!(hooks.of(session.id()), owed_hooks(&log));
        assert_eq!(hooks.count(session.id(), Hook::SessionEnd), ends);
        let starts = hooks.count(session.id(), Hook::SessionStart);
        assert!(starts == ends || starts == 0, "{starts} starts");
    }
}
