//! What cannot be forked, and states of other versions.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use sessionkeeper::{
    Context, Outcome, SendError, SessionError, Start, StartError, Supervisor, WorkloadError,
};

use super::{
    keys::{Forest, forest},
    *,
};

/// The same kind, in a version of its states.
struct Aged<const V: u32>;

impl<const V: u32> Workload for Aged<V> {
    const KIND: &'static str = "aged";
    const STATE_VERSION: u32 = V;
    type State = Vec<u32>;
    type Input = u32;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            cx.state_mut().push(*number);
        }
        Ok(Outcome::Yielded)
    }

    fn migrate(&self, from: u32, state: serde_json::Value) -> Result<Vec<u32>, WorkloadError> {
        let mut state: Vec<u32> = serde_json::from_value(state)?;
        if state.contains(&13) {
            return Err("it cannot be brought over".into());
        }
        state.push(1000 * from);
        Ok(state)
    }

    fn migrate_input(&self, _: u32, input: serde_json::Value) -> Result<u32, WorkloadError> {
        Ok(serde_json::from_value::<u32>(input)? + 500)
    }
}

/// Numbers of which one cannot be read again.
#[derive(Debug, Default, Serialize)]
struct Unlucky(Vec<u32>);

impl<'de> Deserialize<'de> for Unlucky {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let numbers = Vec::deserialize(from)?;
        if numbers.contains(&13) {
            return Err(serde::de::Error::custom("there is a 13 in it"));
        }
        Ok(Self(numbers))
    }
}

struct Counter;

impl Workload for Counter {
    const KIND: &'static str = "counter";
    const STATE_VERSION: u32 = 1;
    type State = Unlucky;
    type Input = u32;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(number) = cx.next_input().await? {
            cx.state_mut().0.push(*number);
        }
        Ok(Outcome::Yielded)
    }
}

/// As for a run, the older snapshot serves where the newest does not decode.
#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_decode_falls_back_to_the_older_one() {
    let store = MemoryStore::new();
    let supervisor = worker_of(&store, Counter).await;
    let start = Start::<Counter>::new(Unlucky(vec![1]));
    let parent = supervisor.start(start).await.unwrap().into_handle();
    for number in [2, 13] {
        parent.send(number).await.unwrap();
        idle(&parent).await;
    }
    let kept = status(&parent).await.record().snapshots.clone();
    let fork = soon(parent.fork(Fork::new().copy_inputs())).await.unwrap();
    let told = forked(&fork).await;
    assert_eq!((told.from, told.inputs), (from(parent.id(), kept[1].sequence), 1));
    let reason = told.fell_back.unwrap();
    assert!(reason.contains("cannot be decoded") && reason.contains("a 13"), "{reason}");
    let error = soon(parent.fork(Fork::new().at(kept[0].sequence))).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::Undecodable { .. })), "{error:?}");
}

async fn worker_of<W: Workload>(store: &MemoryStore, workload: W) -> Supervisor {
    let builder = Supervisor::builder(store.clone()).workload(workload);
    let supervisor = builder.start().await.unwrap();
    supervisor.recovered().await.unwrap();
    supervisor
}

#[tokio::test(start_paused = true)]
async fn a_state_of_an_older_version_is_brought_over_and_one_of_a_newer_is_refused() {
    let store = MemoryStore::new();
    let first = worker_of(&store, Aged::<1>).await;
    let parent = first.start(Start::<Aged<1>>::new(vec![7])).await.unwrap().into_handle();
    let unlucky = first.start(Start::<Aged<1>>::new(vec![13])).await.unwrap().into_handle();
    for session in [&parent, &unlucky] {
        session.pause().await.unwrap();
        session.send(3).await.unwrap();
    }
    first.shutdown(SECOND * 9).await;

    let second = worker_of(&store, Aged::<2>).await;
    let before = kept(&store, parent.id()).await;
    let fork = Fork::<Aged<2>>::new().copy_inputs();
    let fork = soon(second.fork(parent.id(), fork)).await.unwrap().into_handle();
    idle(&fork).await;
    assert_eq!(fork.snapshot().await.unwrap().state, [7, 1000, 503]);
    assert_eq!(kept(&store, parent.id()).await, before, "what is stored stays as it is");
    let error = soon(second.fork(unlucky.id(), Fork::<Aged<2>>::new())).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::Undecodable { .. })), "{error:?}");
    fork.pause().await.unwrap();
    second.shutdown(SECOND * 9).await;

    let first = worker_of(&store, Aged::<1>).await;
    let error = soon(first.fork(fork.id(), Fork::<Aged<1>>::new())).await.unwrap_err();
    assert!(
        matches!(
            error,
            ForkError::Session(SessionError::NewerState { found: 2, supported: 1, .. })
        ),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_forked_is_refused_and_named() {
    let Forest { store, supervisor, parent, .. } = forest().await;
    let nobody: SessionId = format!("{:032x}", 99).parse().unwrap();
    let error = soon(supervisor.fork_json(nobody, Fork::json())).await.unwrap_err();
    assert!(
        matches!(error, ForkError::Session(SessionError::NotFound { session }) if session == nobody),
        "{error:?}"
    );
    let error = soon(supervisor.fork(parent.id(), Fork::<Scripted>::new())).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::WrongKind { .. })), "{error:?}");
    let mut deep = json!(0);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let deep = serde_json::Map::from_iter([("deep".to_owned(), deep)]);
    let error = soon(parent.fork(Fork::new().metadata(deep))).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::MetadataTooDeep { .. })), "{error:?}");
    let tiny = policy(|policy| policy.max_snapshot_bytes(3_u64));
    let error = soon(parent.fork(Fork::new().policy(tiny))).await.unwrap_err();
    assert!(matches!(error, ForkError::Start(StartError::SnapshotTooLarge { .. })), "{error:?}");
    parent.pause().await.unwrap();
    supervisor.shutdown(SECOND * 9).await;

    let supervisor = worker_of(&store, Scripted::default()).await;
    let error = soon(supervisor.fork_json(parent.id(), Fork::json())).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::NoWorkload { .. })), "{error:?}");
    store.damage(parent.id(), Part::Record);
    let error = soon(supervisor.fork_json(parent.id(), Fork::json())).await.unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::Store { .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_that_know_no_types_fork_too() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[5]).await;
    let fork = Fork::json().input_json(&json!({ "Add": 6 })).key(key("one"));
    let (fork, origin) = soon(parent.fork_json(fork)).await.unwrap();
    assert_eq!(origin, Origin::New);
    assert_eq!(drained(&fork.typed().unwrap()).await.sum, 11);
    // The last cannot be encoded, and so not be known for another request under the key.
    let deep = (0..200).fold(json!({}), |deep, _| json!([deep]));
    let bad = Fork::json().input_json(&json!({ "Dance": 6 }));
    for bad in [bad, Fork::json().input_json(&deep), Fork::json().input_json(&deep).key(key("one"))]
    {
        let error = soon(parent.fork_json(bad)).await.unwrap_err();
        assert!(
            matches!(error, ForkError::Start(StartError::Input(SendError::Invalid { .. }))),
            "{error:?}"
        );
    }
    assert_eq!(count(&worker.store).await, 2);
}
