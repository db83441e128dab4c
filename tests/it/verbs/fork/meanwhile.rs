//! Forks of a session that goes on meanwhile.

use sessionkeeper::{
    Supervisor,
    testing::{Call, FaultyStore, Interference},
};

use super::*;

/// G4: what is read of a session that commits all the time belongs together.
#[tokio::test(start_paused = true)]
async fn a_run_that_checkpoints_meanwhile_is_forked_from_a_state_that_it_had() {
    let store = FaultyStore::new(MemoryStore::new());
    let mut rng = fastrand::Rng::with_seed(5);
    store.inject(move |call| match call {
        Call::Load | Call::Snapshot | Call::Inputs => Interference::Delay {
            before: SECOND.mul_f64(rng.f64() / 50.0),
            after: SECOND.mul_f64(rng.f64() / 50.0),
        },
        _ => Interference::None,
    });
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let parent = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    let sender = {
        let parent = parent.clone();
        tokio::spawn(async move {
            for _ in 0..400 {
                parent.send(Do::Add(1)).await.unwrap();
                tokio::time::sleep(SECOND / 100).await;
            }
        })
    };
    for round in 0..40 {
        let mut fork = Fork::new().name(name(&format!("fork {round}")));
        if round % 2 == 0 {
            fork = fork.copy_inputs();
        }
        let fork = soon(parent.fork(fork)).await.unwrap().into_handle();
        let told = forked(&fork).await;
        assert_eq!(told.fell_back, None, "nothing is damaged");
        idle(&fork).await;
        let done = fork.snapshot().await.unwrap().state;
        let copied = usize::try_from(told.inputs).unwrap();
        let inherited = done.seen.len() - copied;
        let expected: Vec<u64> = (1..=inherited as u64).chain(1..=told.inputs).collect();
        assert_eq!((done.sum, &done.seen), (done.seen.len() as i64, &expected));
        consistent(&fork).await;
    }
    sender.await.unwrap();
    until(&parent, |status| status.record().inbox.waiting() == 0).await;
    assert_eq!(parent.snapshot().await.unwrap().state.sum, 400);
    assert_eq!(status(&parent).await.record().runs.count, 1, "its run was not disturbed");
}

#[tokio::test(start_paused = true)]
async fn many_forks_at_once_are_many_sessions() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    add(&parent, &[1]).await;
    let forks = (0..50).map(|number| parent.fork(Fork::new().input(Do::Add(number))));
    let forks = soon(futures::future::join_all(forks)).await;
    let mut ids = BTreeSet::new();
    for (fork, number) in forks.into_iter().zip(0..) {
        let fork = fork.unwrap().into_handle();
        assert_eq!(drained(&fork).await.sum, 1 + number);
        assert!(ids.insert(fork.id()));
    }
    let related = Some(Related::all_of(parent.id()));
    let forks = worker.supervisor.list(Query { related, ..Query::default() }).await.unwrap();
    assert_eq!(forks.records.len(), 50);
}

/// Dropping the question withdraws nothing.
#[tokio::test(start_paused = true)]
async fn a_fork_whose_caller_goes_away_is_made_all_the_same() {
    let worker = Worker::start().await;
    let parent = worker.session().await;
    let stall = worker.store.stall();
    let asked = tokio::time::timeout(SECOND, parent.fork(Fork::new().key(key("one")))).await;
    assert!(asked.is_err());
    drop(stall);
    tokio::time::sleep(SECOND).await;
    let again = soon(parent.fork(Fork::new().key(key("one")))).await.unwrap();
    assert_eq!(again.origin(), Origin::Repeated);
    assert_eq!(count(&worker.store).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_refuses_the_fork_and_a_repetition_makes_it() {
    let store = FaultyStore::new(MemoryStore::new());
    let builder = Supervisor::builder(store.clone()).workload(Scripted::default());
    let supervisor = builder.start().await.unwrap();
    let parent = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    idle(&parent).await;
    for call in [Call::Find, Call::Load, Call::Snapshot] {
        store.next(call, Interference::Fail);
        let error = soon(parent.fork(Fork::new().key(key("one")))).await.unwrap_err();
        assert!(error.to_string().contains("the store failed"), "{call:?}: {error}");
    }
    store.next(Call::Commit, Interference::Fail);
    let error = soon(parent.fork(Fork::new().key(key("one")))).await.unwrap_err();
    assert!(error.to_string().contains("may take effect"), "{error}");
    tokio::time::sleep(SECOND * 9).await;
    let made = soon(parent.fork(Fork::new().key(key("one")))).await.unwrap();
    assert_eq!(made.origin(), Origin::Repeated);
    let all = supervisor.list(Query::default()).await.unwrap();
    assert_eq!(all.records.len(), 2);
}
