//! Finding and listing sessions, and what callers write on them.

use serde_json::json;
use sessionkeeper::{
    Labels, Metadata, SessionId, State,
    store::{Key, Page, Query},
};

use super::{SECOND, external, idle, key, kind, labels, name, status};
use crate::support::{Scripted, Worker};

async fn found(worker: &Worker, key: Key) -> Option<SessionId> {
    let found = worker.supervisor.find(key).await.unwrap();
    found.map(|session| session.id())
}

/// Every page of a listing, newest first.
async fn pages(worker: &Worker, query: Query) -> Vec<Vec<SessionId>> {
    let mut pages = Vec::new();
    let mut query = query;
    loop {
        let Page { records, next, .. } = worker.supervisor.list(query.clone()).await.unwrap();
        pages.push(records.into_iter().map(|record| record.id).collect());
        query.after = next;
        if query.after.is_none() {
            return pages;
        }
    }
}

async fn listed(worker: &Worker, query: Query) -> Vec<SessionId> {
    let query = Query { limit: 100, ..query };
    pages(worker, query).await.concat()
}

#[tokio::test(start_paused = true)]
async fn a_session_is_found_by_its_name_its_external_id_and_its_key() {
    let mut worker = Worker::start().await;
    let session = worker
        .session_with(|start| {
            start.name(name("main")).external_id(external("job/7")).key(key("once"))
        })
        .await;
    let other = worker.session().await;
    assert_ne!(session.id(), other.id());
    for restarted in [false, true] {
        if restarted {
            worker = worker.crash_and_restart().await;
        }
        let keys =
            [Key::Name(name("main")), Key::ExternalId(external("job/7")), Key::Start(key("once"))];
        for key in keys {
            assert_eq!(found(&worker, key.clone()).await, Some(session.id()), "{key:?}");
        }
        let keys =
            [Key::Name(name("job/7")), Key::ExternalId(external("once")), Key::Start(key("main"))];
        for key in keys {
            assert_eq!(found(&worker, key.clone()).await, None, "{key:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_sessions_with_one_external_id_the_newest_is_found() {
    let worker = Worker::start().await;
    let mut newest = None;
    for _ in 0..3 {
        let session = worker.session_with(|start| start.external_id(external("x"))).await;
        newest = Some(session);
    }
    let newest = newest.unwrap();
    assert_eq!(found(&worker, Key::ExternalId(external("x"))).await, Some(newest.id()));
    newest.set_external_id(external("y")).await.unwrap();
    assert_eq!(found(&worker, Key::ExternalId(external("y"))).await, Some(newest.id()));
    let older = found(&worker, Key::ExternalId(external("x"))).await;
    assert!(older.is_some() && older != Some(newest.id()));
}

/// What is written on a session can be changed in every state, and the indexes follow.
#[tokio::test(start_paused = true)]
async fn labels_metadata_and_external_id_can_be_changed_in_every_state() {
    let mut worker = Worker::start().await;
    let mut session = worker.session_with(|start| start.labels(labels(&[("team", "a")]))).await;
    idle(&session).await;
    for (index, to) in ["active", "paused", "stopped", "completed"].into_iter().enumerate() {
        match to {
            "paused" => drop(session.pause().await.unwrap()),
            "stopped" => drop(session.stop().await.unwrap()),
            "completed" => session.complete().await.unwrap(),
            _ => {}
        }
        let value = format!("v{index}");
        let metadata: Metadata = json!({ "n": index }).as_object().unwrap().clone();
        session.set_labels(labels(&[("team", &value)])).await.unwrap();
        session.set_metadata(metadata.clone()).await.unwrap();
        session.set_external_id(external(&value)).await.unwrap();
        worker = worker.crash_and_restart().await;
        session = worker.again(&session).await;
        let record = std::sync::Arc::clone(status(&session).await.record());
        assert_eq!(record.labels, labels(&[("team", &value)]), "{to}");
        assert_eq!(record.metadata, metadata, "{to}");
        assert_eq!(record.external_id, Some(external(&value)), "{to}");
        let by_label = |value: &str| Query {
            labels: vec![("team".to_owned(), value.to_owned())],
            ..Query::default()
        };
        assert_eq!(listed(&worker, by_label(&value)).await, [session.id()]);
        assert_eq!(listed(&worker, by_label("a")).await, []);
        assert_eq!(found(&worker, Key::ExternalId(external(&value))).await, Some(session.id()));
    }
    session.set_labels(Labels::default()).await.unwrap();
    assert!(status(&session).await.record().labels.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_newest_first_page_by_page() {
    let worker = Worker::start().await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(worker.session().await.id());
    }
    ids.reverse();
    for limit in [1, 3, 5, 10, 50] {
        let query = Query { limit, ..Query::default() };
        let pages = pages(&worker, query).await;
        assert_eq!(pages.concat(), ids, "pages of {limit}");
        assert!(pages.iter().all(|page| page.len() <= limit));
    }
}

/// A session that begins between two pages moves nothing in those that follow.
#[tokio::test(start_paused = true)]
async fn a_page_goes_on_where_the_one_before_it_ended() {
    let worker = Worker::start().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(worker.session().await.id());
    }
    let query = Query { limit: 2, ..Query::default() };
    let first = worker.supervisor.list(query.clone()).await.unwrap();
    tokio::time::sleep(SECOND).await;
    worker.session().await;
    let after = first.next;
    let second = worker.supervisor.list(Query { after, ..query }).await.unwrap();
    let listed: Vec<_> = second.records.iter().map(|record| record.id).collect();
    assert_eq!(listed, [ids[1], ids[0]]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_filtered_by_state_kind_and_labels_together() {
    let worker =
        Worker::start_with(|builder| builder.workload_as(kind("other"), Scripted::default())).await;
    let mut all = Vec::new();
    for index in 0..8 {
        let session = worker
            .session_with(|start| {
                let pairs = [("even", if index % 2 == 0 { "yes" } else { "no" }), ("a", "b")];
                let start = start.labels(labels(&pairs));
                if index < 4 { start } else { start.kind(kind("other")) }
            })
            .await;
        if index % 4 < 2 {
            session.pause().await.unwrap();
        }
        all.push(session.id());
    }
    let check =
        async |states: &[State], of: Option<&str>, even: Option<&str>, expected: &[usize]| {
            let query = Query {
                states: states.to_vec(),
                kind: of.map(kind),
                labels: even.map(|even| ("even".to_owned(), even.to_owned())).into_iter().collect(),
                ..Query::default()
            };
            let expected: Vec<_> = expected.iter().rev().map(|index| all[*index]).collect();
            assert_eq!(listed(&worker, query.clone()).await, expected, "{query:?}");
        };
    check(&[], None, None, &[0, 1, 2, 3, 4, 5, 6, 7]).await;
    check(&[State::Paused], None, None, &[0, 1, 4, 5]).await;
    check(&[State::Paused, State::Active], Some("other"), None, &[4, 5, 6, 7]).await;
    check(&[State::Active], Some("scripted"), Some("no"), &[3]).await;
    check(&[], None, Some("yes"), &[0, 2, 4, 6]).await;
    check(&[State::Failed], None, None, &[]).await;
    check(&[], Some("nobody"), None, &[]).await;
}
