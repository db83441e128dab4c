//! A fork that is asked for twice, and workloads that copy what is outside.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use sessionkeeper::{Context, Outcome, SessionError, Start, StartError, Supervisor, WorkloadError};

use super::*;
use crate::{support::BUDGET, verbs::HANGS};

/// What `on_fork` is to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Copying {
    #[default]
    Copy,
    Refuse,
    Panic,
    Hang,
    /// For so many seconds.
    Slow(u64),
}

/// Has a folder outside, one for each session: how often each was copied.
#[derive(Clone, Default)]
pub(super) struct Tree {
    pub(super) folders: Arc<Mutex<BTreeMap<SessionId, SessionId>>>,
    pub(super) copying: Arc<Mutex<Copying>>,
}

impl Workload for Tree {
    const KIND: &'static str = "tree";
    const STATE_VERSION: u32 = 1;
    /// The session whose folder it is.
    type State = Option<SessionId>;
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }

    async fn on_fork(
        &self,
        parent: SessionId,
        fork: SessionId,
        state: &mut Option<SessionId>,
    ) -> Result<(), WorkloadError> {
        let copying = *self.copying.lock().unwrap();
        match copying {
            Copying::Copy => {}
            Copying::Refuse => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(full.into());
            }
            Copying::Panic => panic!("told to panic"),
            Copying::Hang => std::future::pending().await,
            Copying::Slow(seconds) => tokio::time::sleep(SECOND * seconds as u32).await,
        }
        *state = Some(fork);
        self.folders.lock().unwrap().insert(fork, parent);
        Ok(())
    }
}

pub(super) struct Forest {
    pub(super) store: MemoryStore,
    pub(super) tree: Tree,
    pub(super) supervisor: Supervisor,
    pub(super) parent: SessionHandle<Tree>,
}

pub(super) async fn forest() -> Forest {
    let (store, tree) = (MemoryStore::new(), Tree::default());
    let supervisor =
        Supervisor::builder(store.clone()).workload(tree.clone()).start().await.unwrap();
    let parent = supervisor.start(Start::new(None)).await.unwrap().into_handle();
    Forest { store, tree, supervisor, parent }
}

#[tokio::test(start_paused = true)]
async fn a_workload_copies_what_is_outside_before_its_fork_exists() {
    let Forest { tree, parent, supervisor: _running, .. } = forest().await;
    let fork = soon(parent.fork(Fork::new())).await.unwrap();
    assert_eq!(fork.snapshot().await.unwrap().state, Some(fork.id()), "as it was changed");
    assert_eq!(parent.snapshot().await.unwrap().state, None);
    assert_eq!(*tree.folders.lock().unwrap(), BTreeMap::from([(fork.id(), parent.id())]));
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_refuses_panics_or_hangs_makes_no_fork() {
    let Forest { store, tree, supervisor, parent } = forest().await;
    idle(&parent).await;
    let before = kept(&store, parent.id()).await;
    for copying in [Copying::Refuse, Copying::Panic, Copying::Hang] {
        *tree.copying.lock().unwrap() = copying;
        let began = tokio::time::Instant::now();
        let fork = Fork::new().key(key("one")).within(SECOND * 5);
        let error = soon(parent.fork(fork)).await.unwrap_err();
        let (session, said) = match error.clone() {
            ForkError::Refused { session, reason, .. } => (session, reason),
            ForkError::Panicked { session, message, .. } => (session, message),
            ForkError::TookTooLong { session, limit, .. } => {
                assert_eq!(began.elapsed(), SECOND * 5);
                (session, format!("{limit:?}"))
            }
            other => panic!("{other:?}"),
        };
        let expected = match copying {
            Copying::Refuse => "no storage space",
            Copying::Panic => "told to panic",
            _ => "5s",
        };
        assert!(said.contains(expected), "{said}");
        assert!(error.to_string().contains(&session.to_string()), "{error}");
        assert_eq!(session, parent.id());
    }
    assert_eq!((count(&store).await, kept(&store, parent.id()).await), (1, before));
    // The key is free.
    *tree.copying.lock().unwrap() = Copying::Slow(4);
    let fork = Fork::new().key(key("one")).within(SECOND * 5);
    let fork = soon(parent.fork(fork)).await.unwrap();
    assert_eq!(fork.origin(), Origin::New);
    assert_eq!(supervisor.list(Query::default()).await.unwrap().records.len(), 2);
}

/// G5, G10: whoever copies for ever holds nobody up.
#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_copy() {
    let Forest { store, tree, supervisor, parent } = forest().await;
    *tree.copying.lock().unwrap() = Copying::Hang;
    let asked = tokio::spawn({
        let parent = parent.clone();
        async move { parent.fork(Fork::new().within(HANGS)).await.map(|fork| fork.id()) }
    });
    tokio::time::sleep(SECOND).await;
    parent.pause().await.unwrap();
    let began = tokio::time::Instant::now();
    supervisor.shutdown(BUDGET).await;
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    let error = soon(asked).await.unwrap().unwrap_err();
    assert!(matches!(error, ForkError::Session(SessionError::ShuttingDown { .. })), "{error:?}");
    let late = parent.fork(Fork::new()).await.unwrap_err();
    assert!(matches!(late, ForkError::Session(SessionError::ShuttingDown { .. })), "{late:?}");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    store.begin(sessionkeeper::WorkerGeneration::from_uuid(uuid::Uuid::max())).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_fifty_forks_with_one_key_one_makes_the_session() {
    let Forest { store, parent, supervisor: _running, .. } = forest().await;
    let again = || parent.fork(Fork::new().key(key("one")));
    let forks = soon(futures::future::join_all((0..50).map(|_| again()))).await;
    let forks: Vec<_> = forks.into_iter().map(Result::unwrap).collect();
    let new = forks.iter().filter(|fork| fork.origin() == Origin::New).count();
    let ids: BTreeSet<_> = forks.iter().map(|fork| fork.id()).collect();
    assert_eq!((new, ids.len()), (1, 1));
    assert_eq!(count(&store).await, 2);
    // It begins with what was copied for it, and not for one of those that were not made.
    let made: &StartedSession<Tree> = &forks[0];
    assert_eq!(made.snapshot().await.unwrap().state, Some(made.id()));
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_is_repeated_under_its_key_calls_nobody_again() {
    let Forest { tree, parent, supervisor, .. } = forest().await;
    let again = || Fork::new().key(key("one"));
    let first = soon(parent.fork(again())).await.unwrap().into_handle();
    // Both have gone on since, and the snapshot that served is gone.
    for _ in 0..3 {
        parent.send(()).await.unwrap();
        idle(&parent).await;
    }
    first.complete().await.unwrap();
    parent.complete().await.unwrap();
    *tree.copying.lock().unwrap() = Copying::Refuse;
    let second = soon(supervisor.fork(parent.id(), again())).await.unwrap();
    assert_eq!((second.id(), second.origin()), (first.id(), Origin::Repeated));
    assert_eq!(tree.folders.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_with_another_request_is_refused_before_anything_is_copied() {
    let Forest { tree, parent, supervisor, .. } = forest().await;
    let with = || Fork::new().key(key("one"));
    let first = soon(parent.fork(with())).await.unwrap().into_handle();
    let others = [
        with().at(1),
        with().copy_inputs(),
        with().copy_usage(),
        with().copy_alarm(),
        with().input(()),
        with().name(name("other")),
        with().labels(labels(&[("a", "b")])),
        with().labels(labels(&[])),
        with().policy(policy(|policy| policy)),
    ];
    for other in others {
        let error = soon(parent.fork(other)).await.unwrap_err();
        let known = match &error {
            ForkError::Start(StartError::KeyReused { session, .. }) => *session,
            other => panic!("{other:?}"),
        };
        assert_eq!(known, first.id());
    }
    // Another session to be forked is another request too, and so is a start.
    let error = soon(first.fork(with())).await.unwrap_err();
    assert!(matches!(error, ForkError::Start(StartError::KeyReused { .. })), "{error:?}");
    let error = soon(supervisor.start(Start::<Tree>::new(None).key(key("one")))).await.unwrap_err();
    assert!(matches!(error, StartError::KeyReused { .. }), "{error:?}");
    assert_eq!(tree.folders.lock().unwrap().len(), 1);
    // How long it may take is no part of it.
    let again = soon(parent.fork(with().within(SECOND))).await.unwrap();
    assert_eq!(again.origin(), Origin::Repeated);
}

#[tokio::test(start_paused = true)]
async fn a_name_and_an_id_that_are_taken_are_refused_before_anything_is_copied() {
    let Forest { tree, parent, supervisor, .. } = forest().await;
    let holder = supervisor.start(Start::<Tree>::new(None).name(name("one"))).await.unwrap();
    let error = soon(parent.fork(Fork::new().name(name("one")))).await.unwrap_err();
    match error {
        ForkError::Start(StartError::NameTaken { holder: known, .. }) => {
            assert_eq!(known, holder.id());
        }
        other => panic!("{other:?}"),
    }
    let error = soon(parent.fork(Fork::new().id(holder.id()))).await.unwrap_err();
    assert!(matches!(error, ForkError::Start(StartError::Exists { .. })), "{error:?}");
    assert!(tree.folders.lock().unwrap().is_empty());
    holder.complete().await.unwrap();
    soon(parent.fork(Fork::new().name(name("one")))).await.unwrap();
}
