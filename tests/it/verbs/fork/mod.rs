//! Forks: what they begin with, and that the session that they are made of is as it was.

use std::collections::BTreeSet;

use sessionkeeper::{
    EventRecord, Fact, Fork, ForkError, Forked, ForkedFrom, Lifecycle, Origin, SendError,
    SessionHandle, SessionId, SessionRecord, StartError, StartedSession, State, StoredInput, Usage,
    Workload,
    store::{MemoryStore, Part, Query, Related, Store},
    testing::{Harness, audit},
};

use super::{
    SECOND, consistent, external, idle, in_hand, key, labels, log, name, policy, soon, state,
    status, until,
};
use crate::support::{Do, Scripted, Worker, drained};

mod copying;
mod keys;
mod lineage;
mod meanwhile;
mod refusals;
mod states;

/// Everything that a store keeps of a session.
type Kept = (SessionRecord, Vec<EventRecord>, Vec<StoredInput>, Vec<Option<Vec<u8>>>);

async fn kept(store: &MemoryStore, session: SessionId) -> Kept {
    let record = store.load(session).await.unwrap().unwrap();
    let log = store.events(session, 1..=u64::MAX, usize::MAX).await.unwrap();
    let inputs = store.inputs(session, 0, usize::MAX).await.unwrap();
    let mut snapshots = Vec::new();
    for kept in &record.snapshots {
        let bytes = store.snapshot(session, kept.sequence).await.ok().flatten();
        snapshots.push(bytes.map(|bytes| bytes.to_vec()));
    }
    (record, log, inputs, snapshots)
}

async fn forked<W: Workload>(session: &SessionHandle<W>) -> Forked {
    let log = log(session).await;
    assert!(matches!(log[0].fact, Fact::Lifecycle(Lifecycle::Created { .. })), "{log:?}");
    match &log[1].fact {
        Fact::Lifecycle(Lifecycle::Forked(forked)) => Forked::clone(forked),
        other => panic!("{other:?}"),
    }
}

fn from(session: SessionId, snapshot: u64) -> ForkedFrom {
    ForkedFrom { session, snapshot }
}

async fn fork(session: &SessionHandle<Scripted>) -> SessionHandle<Scripted> {
    soon(session.fork(Fork::new())).await.unwrap().into_handle()
}

async fn add(session: &SessionHandle<Scripted>, numbers: &[i64]) {
    for number in numbers {
        session.send(Do::Add(*number)).await.unwrap();
        idle(session).await;
    }
}

async fn count(store: &MemoryStore) -> usize {
    store.list(Query::default()).await.unwrap().records.len()
}

#[tokio::test(start_paused = true)]
async fn a_fork_goes_on_from_the_state_and_its_parent_is_as_it_was() {
    let worker = Worker::start().await;
    let parent = worker
        .session_with(|start| {
            start.name(name("nightly")).external_id(external("x-1")).key(key("once"))
        })
        .await;
    add(&parent, &[1, 2]).await;
    parent.send(Do::Spend(7)).await.unwrap();
    idle(&parent).await;
    let before = kept(&worker.store, parent.id()).await;
    let fork = soon(parent.fork(Fork::new().input(Do::Add(10)))).await.unwrap();
    assert_eq!(fork.origin(), Origin::New);
    let fork = fork.into_handle();
    idle(&fork).await;
    assert_eq!(kept(&worker.store, parent.id()).await, before, "nothing of the parent changed");

    let done = drained(&fork).await;
    assert_eq!((done.sum, done.seen), (13, vec![1, 2, 3, 1]), "its own input has number 1");
    assert_eq!(forked(&fork).await, Forked::new(from(parent.id(), before.0.snapshots[0].sequence)));
    let record = kept(&worker.store, fork.id()).await.0;
    assert_eq!(record.links().forked_from, Some(forked(&fork).await.from));
    assert_eq!((record.name, record.external_id, record.start_key), (None, None, None));
    assert_eq!(record.usage, Usage::default());
    consistent(&fork).await;

    // From then on nothing is shared.
    add(&fork, &[100]).await;
    add(&parent, &[1000]).await;
    assert_eq!((drained(&fork).await.sum, drained(&parent).await.sum), (113, 1003));
    consistent(&parent).await;
    drop(worker.supervisor);
    assert_eq!(audit(&worker.store).await, []);
}

#[tokio::test(start_paused = true)]
async fn labels_metadata_and_policy_are_inherited_unless_they_are_given() {
    let worker = Worker::start().await;
    let own = policy(|policy| policy.max_inputs(3_u32));
    let metadata = serde_json::Map::from_iter([("ticket".to_owned(), 7.into())]);
    let parent = worker
        .session_with(|start| {
            start.labels(labels(&[("user", "ada")])).metadata(metadata.clone()).policy(own.clone())
        })
        .await;
    let record = status(&fork(&parent).await).await.record().clone();
    assert_eq!(record.labels, labels(&[("user", "ada")]));
    assert_eq!((&record.metadata, record.policy.as_deref()), (&metadata, Some(&own)));

    let other = policy(|policy| policy.max_inputs(4_u32));
    let fork = Fork::<Scripted>::new()
        .labels(labels(&[]))
        .metadata(serde_json::Map::new())
        .policy(other.clone())
        .name(name("other"))
        .external_id(external("x-2"));
    let fork = soon(worker.supervisor.fork(parent.id(), fork)).await.unwrap();
    let record = status(&fork).await.record().clone();
    assert_eq!((&record.labels, record.metadata.len()), (&labels(&[]), 0));
    assert_eq!(record.policy.as_deref(), Some(&other));
    assert_eq!((&record.name, &record.external_id), (&Some(name("other")), &Some(external("x-2"))));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_snapshot_can_be_forked_as_long_as_it_is_kept() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1, 2, 4]).await;
    let record = status(&parent).await.record().clone();
    let kept: Vec<u64> = record.snapshots.iter().map(|kept| kept.sequence).collect();
    assert_eq!(kept.len(), 2);
    for (sequence, sum) in [(kept[0], 7), (kept[1], 3)] {
        let fork = soon(parent.fork(Fork::new().at(sequence))).await.unwrap().into_handle();
        assert_eq!(drained(&fork).await.sum, sum);
        assert_eq!(forked(&fork).await, Forked::new(from(parent.id(), sequence)));
    }
    for gone in [0, kept[1] - 1, kept[0] + 1] {
        let error = soon(parent.fork(Fork::new().at(gone))).await.unwrap_err();
        let said = error.to_string();
        match error {
            ForkError::NotKept { session, snapshot, kept: named } => {
                assert_eq!((session, snapshot, &named), (parent.id(), gone, &kept));
            }
            other => panic!("{other:?}"),
        }
        assert!(said.contains(&format!("{} or {}", kept[0], kept[1])), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_forked_as_any_session_is() {
    let worker = Worker::start().await;
    let mut last = worker.session().await;
    let first = last.id();
    for generation in 1..=5 {
        add(&last, &[1]).await;
        let next = fork(&last).await;
        assert_eq!(drained(&next).await.sum, generation);
        let parent = status(&next).await.record().links().forked_from.unwrap().session;
        assert_eq!(parent, last.id());
        last = next;
    }
    let related = Some(Related::forks_of(first));
    let forks = worker.supervisor.list(Query { related, ..Query::default() }).await.unwrap();
    assert_eq!(forks.records.len(), 1, "the others are forks of forks");
}

/// G8: where the newest snapshot cannot be read, the older one serves, and the log says so.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_read_falls_back_to_the_older_one() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1, 2]).await;
    parent.pause().await.unwrap();
    let record = status(&parent).await.record().clone();
    let [newest, older] = [0, 1].map(|index| record.snapshots[index].sequence);
    worker.store.damage(parent.id(), Part::Snapshot(newest));
    let fork = fork(&parent).await;
    let told = forked(&fork).await;
    assert_eq!(told.from, from(parent.id(), older));
    assert!(told.fell_back.unwrap().contains("damaged on purpose"));
    consistent(&fork).await;

    // Who asks for the one that is damaged is told so.
    let asked = soon(parent.fork(Fork::new().at(newest))).await.unwrap_err();
    assert!(asked.to_string().contains("damaged on purpose"), "{asked}");
    worker.store.damage(parent.id(), Part::Snapshot(older));
    let none = soon(parent.fork(Fork::new())).await.unwrap_err();
    assert!(none.to_string().contains("cannot be read"), "{none}");
}

#[tokio::test(start_paused = true)]
async fn a_fork_waits_for_its_place_as_any_start_does() {
    let worker = Worker::start_with(|builder| builder.max_active(1)).await;
    let parent = worker.session().await;
    add(&parent, &[1]).await;
    let fork = soon(parent.fork(Fork::new().input(Do::Add(1)))).await.unwrap().into_handle();
    assert_eq!(state(&fork).await, State::Pending);
    // Its state is there before it has ever run.
    assert_eq!(fork.snapshot().await.unwrap().state.sum, 1);
    parent.pause().await.unwrap();
    idle(&fork).await;
    assert_eq!(drained(&fork).await.sum, 2);
    assert_eq!(worker.workload.probe.most_live(), 1);
    fork.pause().await.unwrap();

    let slot = soon(worker.supervisor.slot()).await.unwrap();
    let fork = soon(parent.fork(Fork::new().in_slot(slot))).await.unwrap().into_handle();
    assert_eq!(state(&fork).await, State::Active);
}

/// G1, G2: whatever becomes of the worker, a fork that was acknowledged is there, once, and its parent is whole.
#[test]
fn a_crash_at_every_commit_of_a_fork_loses_nothing_and_makes_nothing_twice() {
    #[derive(Default)]
    struct Told {
        forked: bool,
    }
    fn again() -> Fork<Scripted> {
        Fork::new().key(key("fork")).copy_inputs().input(Do::Add(100))
    }
    let commits = sessionkeeper::testing::crash_at_every_commit(
        |builder| builder.workload(Scripted::default()),
        async |harness: &mut Harness, told: &mut Told| {
            let start = Scripted::start().key(key("parent")).input(Do::Add(1));
            let parent = harness.supervisor().start(start).await?.into_handle();
            harness.drained(&parent).await;
            parent.pause().await?;
            parent.send(Do::Add(10)).await?;
            parent.fork(again()).await?;
            told.forked = true;
            Ok(())
        },
        async |harness, told| {
            let start = Scripted::start().key(key("parent")).input(Do::Add(1));
            let parent = harness.supervisor().start(start).await?.into_handle();
            let forks = Query { related: Some(Related::forks_of(parent.id())), ..Query::default() };
            let before = harness.supervisor().list(forks.clone()).await?.records.len();
            assert!(before == 1 || !told.forked, "{before} forks");
            parent.resume().await?;
            harness.drained(&parent).await;
            let fork = parent.fork(again()).await?.into_handle();
            harness.drained(&fork).await;
            fork.pause().await?;
            let done = fork.snapshot().await?.state;
            let is_whole =
                if told.forked { done.sum == 111 } else { [101, 111].contains(&done.sum) };
            assert!(is_whole, "{done:?}");
            let after = harness.supervisor().list(forks).await?.records.len();
            assert_eq!(after, 1, "the same one");
            Ok(())
        },
    );
    assert!(commits > 4);
}
