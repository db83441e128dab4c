//! Hooks: each is owed from the commit of what it is about, called once, and waits for no other session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sessionkeeper::{
    BuildError, Builder, SessionHandle, SessionId, State, Supervisor,
    hooks::{Hook, HookCall, HookOptions, HooksStatus, SessionHooks},
    store::{BoxError, MemoryStore, Store},
    testing::{Call, FaultyStore, Interference},
};

use super::{HANGS, MINUTE, SECOND, idle, log, soon, until};
use crate::support::{BUDGET, Do, Scripted, Worker, owed_hooks};

/// What a hook does when it is called.
type Act = Arc<dyn Fn(&HookCall) -> Say + Send + Sync>;

enum Say {
    Done,
    Fails,
    Panics,
    Hangs,
}

/// Hooks that remember which calls they did.
#[derive(Clone)]
struct Memory {
    done: Arc<Mutex<Vec<HookCall>>>,
    act: Act,
}

impl Memory {
    fn new() -> Self {
        Self::that(|_| Say::Done)
    }

    fn that(act: impl Fn(&HookCall) -> Say + Send + Sync + 'static) -> Self {
        Self { done: Arc::default(), act: Arc::new(act) }
    }

    async fn call(&self, call: HookCall) -> Result<(), BoxError> {
        match (self.act)(&call) {
            Say::Done => {}
            Say::Fails => return Err("it was told to".into()),
            Say::Panics => panic!("it was told to"),
            Say::Hangs => std::future::pending().await,
        }
        self.done.lock().unwrap().push(call);
        Ok(())
    }

    fn done(&self) -> Vec<HookCall> {
        self.done.lock().unwrap().clone()
    }

    /// What was called for a session, in order.
    fn of(&self, session: SessionId) -> Vec<(Hook, u64)> {
        let calls = self.done().into_iter().filter(|call| call.session == session);
        calls.map(|call| (call.hook, call.event.sequence)).collect()
    }

    /// How often each was called.
    fn count(&self, session: SessionId, hook: Hook) -> usize {
        self.of(session).iter().filter(|(called, _)| *called == hook).count()
    }
}

impl SessionHooks for Memory {
    async fn on_session_start(&self, call: HookCall) -> Result<(), BoxError> {
        assert_eq!(call.hook, Hook::SessionStart);
        self.call(call).await
    }

    async fn on_session_end(&self, call: HookCall) -> Result<(), BoxError> {
        assert_eq!(call.hook, Hook::SessionEnd);
        self.call(call).await
    }

    async fn after_run(&self, call: HookCall) -> Result<(), BoxError> {
        assert_eq!(call.hook, Hook::AfterRun);
        self.call(call).await
    }

    async fn on_state_changed(&self, call: HookCall) -> Result<(), BoxError> {
        assert_eq!(call.hook, Hook::StateChanged);
        self.call(call).await
    }
}

/// Waits until everything is done.
async fn caught_up(supervisor: &Supervisor) -> HooksStatus {
    soon(async {
        loop {
            // What was committed is read first.
            tokio::time::sleep(SECOND).await;
            let status = supervisor.hooks().unwrap();
            if status.behind == 0 {
                return status;
            }
        }
    })
    .await
}

async fn stopped(session: &SessionHandle<Scripted>) {
    session.stop().await.unwrap().ended().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn start_and_end_are_told_once_each_and_in_order() {
    let hooks = Memory::new();
    let worker = Worker::start_with(|builder| builder.hooks(hooks.clone())).await;
    let session = worker.session().await;
    session.send(Do::FailTimes(2)).await.unwrap();
    session.send(Do::Emit(400)).await.unwrap();
    idle(&session).await;
    session.pause().await.unwrap();
    session.resume().await.unwrap();
    stopped(&session).await;
    session.resume().await.unwrap();
    session.send(Do::Complete).await.unwrap();
    let ended = until(&session, |status| status.state() == State::Completed).await;
    assert_eq!(caught_up(&worker.supervisor).await, HooksStatus::default());

    let called = hooks.of(session.id());
    assert_eq!(called, owed_hooks(&log(&session).await));
    assert_eq!(hooks.count(session.id(), Hook::SessionStart), 2);
    assert_eq!(hooks.count(session.id(), Hook::SessionEnd), 2);
    let runs = ended.record().runs.count as usize;
    assert_eq!(hooks.count(session.id(), Hook::AfterRun), runs);
    assert_eq!(called.first().unwrap().0, Hook::SessionStart);
    let last: Vec<_> = called.iter().rev().take(3).map(|(hook, _)| *hook).collect();
    assert_eq!(last, [Hook::AfterRun, Hook::SessionEnd, Hook::StateChanged]);
    let ids: BTreeSet<_> = hooks.done().iter().map(HookCall::id).collect();
    assert_eq!(ids.len(), called.len());
    assert!(hooks.done().iter().all(|call| call.record.is_some() && call.attempt == 1));
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_its_first_run_whatever_came_before() {
    let hooks = Memory::new();
    let worker = Worker::start_with(|builder| builder.max_active(1).hooks(hooks.clone())).await;
    let first = worker.session().await;
    let waits = worker.session().await;
    waits.pause().await.unwrap();
    let resuming = tokio::spawn({
        let waits = waits.clone();
        async move { waits.resume().await }
    });
    caught_up(&worker.supervisor).await;
    assert_eq!(hooks.count(waits.id(), Hook::SessionStart), 0);
    stopped(&first).await;
    resuming.await.unwrap().unwrap();
    stopped(&waits).await;
    caught_up(&worker.supervisor).await;
    for session in [&first, &waits] {
        assert_eq!(hooks.of(session.id()), owed_hooks(&log(session).await));
        assert_eq!(hooks.count(session.id(), Hook::SessionStart), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_is_called_again_and_delays_no_other_session() {
    let bad: Arc<Mutex<Option<SessionId>>> = Arc::default();
    let hooks = Memory::that({
        let bad = Arc::clone(&bad);
        move |call| {
            let is_bad = *bad.lock().unwrap().get_or_insert(call.session) == call.session;
            match call.attempt {
                _ if !is_bad || call.hook != Hook::SessionStart => Say::Done,
                1 => Say::Fails,
                2 => Say::Panics,
                3 => Say::Hangs,
                _ => Say::Done,
            }
        }
    });
    let worker = Worker::start_with(|builder| builder.hooks(hooks.clone())).await;
    let troubled = worker.session().await;
    stopped(&troubled).await;
    let others: Vec<_> = futures::future::join_all((0..50).map(|_| worker.session())).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    for other in &others {
        assert_eq!(hooks.of(other.id()), owed_hooks(&log(other).await));
    }
    assert_eq!(hooks.of(troubled.id()), []);
    let failing = worker.supervisor.hooks().unwrap().failing;
    assert_eq!(failing.len(), 1);
    assert_eq!((failing[0].session, failing[0].hook), (troubled.id(), Hook::SessionStart));
    assert_eq!((failing[0].failures, &*failing[0].trouble), (1, "it was told to"));
    let status = caught_up(&worker.supervisor).await;
    assert_eq!(status.failing, []);
    assert_eq!(hooks.of(troubled.id()), owed_hooks(&log(&troubled).await), "in order, behind it");
    let start = hooks.done().into_iter().find(|call| call.session == troubled.id()).unwrap();
    assert_eq!(start.attempt, 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_always_fails_is_given_up() {
    let hooks = Memory::that(|call| match call.hook {
        Hook::SessionStart => Say::Fails,
        _ => Say::Done,
    });
    let options = HookOptions::default().attempts(3);
    let worker = Worker::start_with(|builder| builder.hooks_with(hooks.clone(), options)).await;
    let session = worker.session().await;
    stopped(&session).await;
    let status = caught_up(&worker.supervisor).await;
    assert_eq!((status.given_up, status.failing), (1, vec![]));
    let called = hooks.of(session.id());
    let rest: Vec<_> = owed_hooks(&log(&session).await).into_iter().skip(1).collect();
    assert_eq!(called, rest);
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_called_by_the_next_worker() {
    for graceful in [false, true] {
        let broken = Memory::that(|call| match call.hook {
            Hook::SessionStart => Say::Fails,
            _ => Say::Done,
        });
        let mut worker = Worker::start_with(|builder| builder.hooks(broken.clone())).await;
        let sessions = [worker.session().await, worker.session().await];
        // So that its place is kept behind them.
        tokio::time::sleep(MINUTE).await;
        assert!(sessions.iter().all(|session| broken.of(session.id()).is_empty()));
        let hooks = Memory::new();
        let with = |builder: Builder| builder.hooks(hooks.clone());
        worker = match graceful {
            false => worker.crash_and_restart_with(with).await,
            true => {
                let report = worker.supervisor.shutdown(BUDGET).await;
                assert!(report.took < SECOND, "nobody waits for what fails: {report}");
                worker.crash_and_restart_with(with).await
            }
        };
        caught_up(&worker.supervisor).await;
        for session in &sessions {
            let session = worker.again(session).await;
            assert_eq!(hooks.of(session.id()), owed_hooks(&log(&session).await), "{graceful}");
        }
    }
}

/// Of two hooks for one event the second may fail for long after the first is done. The next worker calls what is owed, not the event.
#[tokio::test(start_paused = true)]
async fn what_is_done_is_not_called_again_by_the_next_worker_where_what_follows_it_fails() {
    for graceful in [false, true] {
        for (fails, goes_on) in [(Hook::StateChanged, true), (Hook::SessionEnd, false)] {
            let is_broken = Arc::new(AtomicBool::new(true));
            let hooks = Memory::that({
                let is_broken = Arc::clone(&is_broken);
                move |call| match is_broken.load(Ordering::Relaxed) && call.hook == fails {
                    true => Say::Fails,
                    false => Say::Done,
                }
            });
            let with = |builder: Builder| builder.hooks(hooks.clone());
            let mut worker = Worker::start_with(with).await;
            let session = worker.session().await;
            if !goes_on {
                stopped(&session).await;
            }
            tokio::time::sleep(MINUTE).await;
            let first = if goes_on { Hook::SessionStart } else { Hook::StateChanged };
            assert_eq!(hooks.of(session.id()).last().map(|(hook, _)| *hook), Some(first));
            if graceful {
                worker.supervisor.shutdown(BUDGET).await;
            }
            is_broken.store(false, Ordering::Relaxed);
            worker = worker.crash_and_restart_with(with).await;
            caught_up(&worker.supervisor).await;
            let session = worker.again(&session).await;
            let owed = owed_hooks(&log(&session).await);
            assert_eq!(hooks.of(session.id()), owed, "{fails:?}, {graceful}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_hook_is_missed_through_crashes_and_those_that_come_again_have_their_id() {
    let hooks = Memory::that(|call| {
        // Whether one fails follows from what it is called for.
        let fails = call.event.sequence % 3 == 0 && call.attempt == 1;
        if fails { Say::Fails } else { Say::Done }
    });
    let with = |builder: Builder| builder.hooks(hooks.clone());
    let mut worker = Worker::start_with(with).await;
    let mut sessions = Vec::new();
    for round in 0..20_u64 {
        for session in &mut sessions {
            *session = worker.again(session).await;
        }
        sessions.push(worker.session().await);
        for session in &sessions {
            session.send(Do::FailTimes(1)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(round * 97)).await;
        worker = worker.crash_and_restart_with(with).await;
    }
    caught_up(&worker.supervisor).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for call in hooks.done() {
        *counts.entry(call.id()).or_default() += 1;
    }
    for session in &sessions {
        let session = worker.again(session).await;
        let owed = owed_hooks(&log(&session).await);
        let called: BTreeSet<_> = hooks.of(session.id()).into_iter().collect();
        assert_eq!(called, owed.iter().copied().collect::<BTreeSet<_>>());
        // Those that came again aside, they came in order.
        let mut first = Vec::new();
        for call in hooks.of(session.id()) {
            if !first.contains(&call) {
                first.push(call);
            }
        }
        assert_eq!(first, owed);
    }
    let twice = counts.values().filter(|count| **count > 1).count();
    assert!(twice < counts.len() / 2, "{twice} of {} came again", counts.len());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_calls_what_is_owed_and_waits_for_nobody_who_hangs() {
    let hooks = Memory::new();
    let worker = Worker::start_with(|builder| builder.hooks(hooks.clone())).await;
    let session = worker.session().await;
    worker.supervisor.shutdown(BUDGET).await;
    let called: Vec<_> = hooks.of(session.id()).into_iter().map(|(hook, _)| hook).collect();
    assert_eq!(
        called,
        [Hook::SessionStart, Hook::StateChanged, Hook::AfterRun, Hook::StateChanged]
    );

    let hooks = Memory::that(|_| Say::Hangs);
    let options = HookOptions::default().timeout(HANGS);
    let worker = Worker::start_with(|builder| builder.hooks_with(hooks, options)).await;
    worker.session().await;
    let report = worker.supervisor.shutdown(BUDGET).await;
    assert!(report.took <= BUDGET, "{report}");
}

#[tokio::test(start_paused = true)]
async fn hooks_that_are_new_are_not_told_of_the_past() {
    let disk = MemoryStore::new();
    let start = || Supervisor::builder(disk.clone()).workload(Scripted::default());
    let supervisor = start().start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().into_handle();
    supervisor.shutdown(BUDGET).await;
    let hooks = Memory::new();
    let supervisor = start().hooks(hooks.clone()).start().await.unwrap();
    caught_up(&supervisor).await;
    assert_eq!(hooks.count(session.id(), Hook::SessionStart), 0);
    assert!(hooks.count(session.id(), Hook::StateChanged) > 0, "it was resumed");
}

#[tokio::test(start_paused = true)]
async fn hooks_that_cannot_be_are_refused() {
    for options in
        [HookOptions::default().timeout(Duration::ZERO), HookOptions::default().attempts(0)]
    {
        let builder = Supervisor::builder(MemoryStore::new()).workload(Scripted::default());
        let refused = builder.hooks_with(Memory::new(), options).start().await;
        assert!(matches!(refused, Err(BuildError::Invalid { .. })));
    }
}

/// What happens as soon as the worker is there is told, though the store is slow and the worker is lost at once.
#[tokio::test(start_paused = true)]
async fn new_hooks_miss_nothing_from_the_moment_their_worker_is_there() {
    let disk = MemoryStore::new();
    let store = FaultyStore::new(disk.clone());
    store.inject(|call| match call {
        Call::Bookmarks | Call::Log => Interference::Delay { before: MINUTE, after: MINUTE },
        _ => Interference::None,
    });
    let hooks = Memory::new();
    let builder = Supervisor::builder(store).workload(Scripted::default()).hooks(hooks.clone());
    let supervisor = builder.start().await.unwrap();
    let session = supervisor.start(Scripted::start()).await.unwrap().id();
    drop(supervisor);
    let builder = Supervisor::builder(disk).workload(Scripted::default()).hooks(hooks.clone());
    let supervisor = builder.start().await.unwrap();
    caught_up(&supervisor).await;
    assert_eq!(hooks.count(session, Hook::SessionStart), 1);
}

/// What is owed to a session grows while its first hook hangs; what is kept of that does not, and all of it is called.
#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_fills_neither_memory_nor_the_store() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let hooks = Memory::that({
        let is_broken = Arc::clone(&is_broken);
        move |call| match is_broken.load(Ordering::Relaxed) && call.hook == Hook::SessionStart {
            true => Say::Hangs,
            false => Say::Done,
        }
    });
    let with = |builder: Builder| builder.hooks(hooks.clone());
    let mut worker = Worker::start_with(with).await;
    let mut session = worker.session().await;
    for round in 0..2 {
        for _ in 0..50 {
            session.pause().await.unwrap();
            session.resume().await.unwrap();
        }
        tokio::time::sleep(SECOND).await;
        let status = worker.supervisor.hooks().unwrap();
        assert!(status.behind > 100, "{status:?}");
        let kept = worker.store.bookmarks().await.unwrap().remove(0);
        assert!(kept.note.len() < 2_000, "{} bytes", kept.note.len());
        is_broken.store(round == 0, Ordering::Relaxed);
        worker = worker.crash_and_restart_with(with).await;
        session = worker.again(&session).await;
    }
    stopped(&session).await;
    caught_up(&worker.supervisor).await;
    assert_eq!(hooks.of(session.id()), owed_hooks(&log(&session).await));
}

mod chains;
mod deleted;
mod ends;
