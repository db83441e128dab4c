//! Hooks: one task reads the log, and calls what is owed to each session, one after the other.
//!
//! There is no queue in the store. What is owed follows from the log behind the place of this reader, and from
//! the note at that place, which names the hooks of events before it that are not done.

use std::{
    collections::{BTreeMap, HashSet},
    future::pending,
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::Instant;

use self::line::{Line, Note, Owed, ends_run, hooks_of};
use super::{
    core::Core,
    reader::{self, Call, Called, Finish, Left, Reader},
    tail::Newer,
};
use crate::{
    faults::{self, Bug},
    hooks::{AnyHooks, FailingHook, Hook, HookCall, HookOptions, HooksStatus},
    model::{
        event::EventRecord,
        ids::{ReaderName, SessionId},
        log_cursor::LogCursor,
        record::SessionRecord,
    },
    policy::Backoff,
    store::{LogItem, Logged, StoreError},
    telemetry,
};

mod line;

/// How many sessions may have hooks that are not done.
const MOST: usize = 1024;
/// How long what was done may be unknown to the store.
const KEPT_WITHIN: Duration = Duration::from_millis(100);
/// How often it is looked whether the run of a session that has ended is still there.
const RECHECK: Duration = Duration::from_secs(1);
/// Under which name its place is kept.
const READER: &str = "hooks";

/// The hooks of a worker.
pub(crate) struct Hooks {
    hooks: Arc<dyn AnyHooks>,
    options: HookOptions,
    reader: ReaderName,
    /// Who is owed hooks, of what was read; none before that is known.
    owed: Mutex<Option<HashSet<SessionId>>>,
    status: Mutex<HooksStatus>,
    finish: Finish,
}

impl Hooks {
    pub(crate) fn new(hooks: Arc<dyn AnyHooks>, options: HookOptions) -> Self {
        Self {
            hooks,
            options,
            reader: ReaderName::new(READER).expect("a name"),
            owed: Mutex::default(),
            status: Mutex::default(),
            finish: Finish::default(),
        }
    }

    /// Begins to call them. On return it is durable from where on, so that nothing is missed that happens from now on.
    pub(crate) async fn begin(core: &Arc<Core>) -> Result<(), StoreError> {
        let Some(hooks) = &core.hooks else { return Ok(()) };
        let mut task = Task {
            hooks: Arc::clone(hooks),
            reader: Reader::new(Arc::clone(core), hooks.reader.clone()),
            place: LogCursor::new(0, 0),
            end: 0,
            owed: BTreeMap::new(),
            is_kept: false,
        };
        task.begin().await?;
        task.keep().await?;
        core.keep_engine(core.runtime.spawn(task.run()).abort_handle());
        Ok(())
    }

    /// Calls what is owed, but for what fails. Cancel safe.
    pub(crate) async fn finish(&self) {
        self.finish.finish().await;
    }

    /// Under which name their place is kept.
    pub(crate) const fn reader(&self) -> &ReaderName {
        &self.reader
    }

    /// The sessions that are owed hooks for what was read of the log, once that is known.
    pub(crate) fn owed(&self) -> Option<HashSet<SessionId>> {
        self.lock_owed().clone()
    }

    fn lock_owed(&self) -> MutexGuard<'_, Option<HashSet<SessionId>>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How they do.
    pub(crate) fn status(&self) -> HooksStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HooksStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a call.
type Done = (SessionId, Called<()>);

struct Task {
    hooks: Arc<Hooks>,
    reader: Reader,
    /// Everything up to it was read.
    place: LogCursor,
    /// Where the log ended when it was read last.
    end: u64,
    owed: BTreeMap<SessionId, Line>,
    /// Whether the store knows all this.
    is_kept: bool,
}

impl Task {
    async fn run(mut self) {
        // It ends early where the store is closed, and then nothing can be done any more.
        let _ = self.serve().await;
        self.hooks.finish.is_over();
    }

    /// Works until it is to finish, or the store is closed.
    async fn serve(&mut self) -> Result<(), StoreError> {
        let follower = self.reader.follow();
        let mut finish = self.hooks.finish.asked();
        let mut calls = FuturesUnordered::<BoxFuture<'static, Done>>::new();
        let mut keep_at = Instant::now();
        loop {
            let is_last = *finish.borrow_and_update();
            if is_last {
                while !self.read().await? {}
            }
            self.look_further().await?;
            calls.extend(self.calls());
            if is_last && self.owed.values().all(|line| line.failures > 0) {
                return self.keep().await;
            }
            let has_room = self.owed.len() < MOST;
            let done =
                async { if calls.is_empty() { pending().await } else { calls.next().await } };
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(keep_at), if !self.is_kept => {
                    while let Err(error) = self.keep().await {
                        reader::wait_for_store(error).await?;
                    }
                    keep_at = Instant::now() + KEPT_WITHIN;
                }
                _ = finish.changed() => {}
                done = done => {
                    if let Some((session, done)) = done {
                        self.done(session, done);
                    }
                }
                newer = follower.newer(self.place.position() + 1), if has_room => {
                    if matches!(newer, Newer::Over) {
                        return Ok(());
                    }
                    self.read().await?;
                }
            }
        }
    }

    /// Takes up what the worker before was to call. New hooks begin with what comes next.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let Left { place, note, unread, .. } = self.reader.begin(true).await?;
        self.place = place;
        self.hooks.lock_owed().get_or_insert_default();
        if faults::planted(Bug::ForgetOwedHooks) {
            return Ok(());
        }
        let Note { owed, rest } = self.reader.read_note(&note);
        for (session, sequence, hook) in owed {
            let (events, _) = self.reader.events(session, sequence, sequence).await?;
            for event in events.into_iter().map(Arc::new) {
                let hooks = match faults::planted(Bug::CallWholeEvent) {
                    true => hooks_of(&event),
                    false => slice::from_ref(&hook),
                };
                let owed = hooks.iter().map(|hook| Owed { hook: *hook, event: Arc::clone(&event) });
                self.line(session).owed.extend(owed);
            }
        }
        let unread = unread.into_iter().map(|unread| (unread.session, unread.first, unread.last));
        for (session, first, last) in rest.into_iter().chain(unread) {
            self.line(session).leave(first, last);
        }
        Ok(())
    }

    /// Looks what else those are owed of whom everything is done that is known.
    async fn look_further(&mut self) -> Result<(), StoreError> {
        let mut done = Vec::new();
        for (session, line) in &mut self.owed {
            while let Some((first, last)) = line.rest_to_look_at() {
                let read = self.reader.events_patiently(*session, first, last);
                let (events, next) = read.await?;
                line.looked(events, next);
            }
            if line.is_done() {
                done.push(*session);
            }
        }
        done.into_iter().for_each(|session| self.forget(session));
        Ok(())
    }

    /// Nothing more is owed to a session.
    fn forget(&mut self, session: SessionId) {
        self.owed.remove(&session);
        self.hooks.lock_owed().get_or_insert_default().remove(&session);
        self.is_kept = false;
        self.count();
    }

    /// Reads on, and says whether that was all.
    async fn read(&mut self) -> Result<bool, StoreError> {
        let page = self.reader.after_patiently(self.place).await?;
        let is_all = page.next > page.end.last;
        let mut items = page.items;
        // What ended a session is in the same commit as the end of its run, and may be on the next page.
        if !is_all && items.len() > 1 && items.last().is_some_and(is_end_of_run) {
            items.pop();
        }
        for item in items {
            let position = match item {
                LogItem::Event(Logged { position, session, event }) => {
                    self.owe(session, &event);
                    position
                }
                LogItem::Gap { to, .. } => to,
            };
            self.place = LogCursor::new(self.place.log(), position);
            self.is_kept = false;
        }
        self.end = page.end.last;
        self.count();
        Ok(is_all)
    }

    /// Takes down which hooks an event calls for.
    fn owe(&mut self, session: SessionId, event: &Arc<EventRecord>) {
        if !hooks_of(event).is_empty() {
            self.line(session).take(event);
        }
    }

    /// What a session is owed, for something to be added.
    fn line(&mut self, session: SessionId) -> &mut Line {
        self.hooks.lock_owed().get_or_insert_default().insert(session);
        self.owed.entry(session).or_default()
    }

    /// The calls that can be made now.
    fn calls(&mut self) -> Vec<BoxFuture<'static, Done>> {
        let mut calls: Vec<BoxFuture<'static, Done>> = Vec::new();
        for (session, line) in &mut self.owed {
            if line.is_called {
                continue;
            }
            let Some(owed) = line.owed.front().cloned() else { continue };
            line.is_called = true;
            let core = Arc::clone(&self.reader.core);
            let hooks = Arc::clone(&self.hooks);
            let (session, failures, before) = (*session, line.failures, line.call.take());
            calls.push(Box::pin(async move {
                (session, call(&core, &hooks, session, owed, failures, before).await)
            }));
        }
        calls
    }

    /// Takes note of what came of a call.
    fn done(&mut self, session: SessionId, done: Called<()>) {
        let Some(line) = self.owed.get_mut(&session) else { return };
        line.is_called = false;
        let Some(owed) = line.owed.front() else { return };
        let mut status = self.hooks.lock();
        status.failing.retain(|failing| failing.session != session);
        let is_done = match done {
            Ok(()) => true,
            Err(_) if faults::planted(Bug::PassOverFailedHook) => true,
            Err((what, call)) => {
                line.call = call;
                line.failures += 1;
                let is_given_up = line.failures >= self.hooks.options.attempts;
                telemetry::hook_failed(session, owed.hook, &what, line.failures, is_given_up);
                if is_given_up {
                    status.given_up += 1;
                } else {
                    status.failing.push(FailingHook {
                        session,
                        hook: owed.hook,
                        failures: line.failures,
                        trouble: what.into(),
                    });
                }
                is_given_up
            }
        };
        if is_done {
            line.failures = 0;
            line.owed.pop_front();
            self.is_kept = false;
            drop(status);
            if self.owed.get(&session).is_some_and(Line::is_done) {
                self.forget(session);
            } else {
                self.count();
            }
        }
    }

    fn count(&self) {
        let owed: u64 = self.owed.values().map(Line::behind).sum();
        let unread = self.end.saturating_sub(self.place.position());
        self.hooks.lock().behind = unread + owed;
    }

    /// Keeps the place, and what is not done of what is before it.
    async fn keep(&mut self) -> Result<(), StoreError> {
        let note = match self.owed.is_empty() {
            true => Vec::new(),
            false => {
                let note = Note::of(&self.owed);
                serde_json::to_vec(&note).expect("it holds nothing JSON cannot say")
            }
        };
        self.reader.keep(self.place, note.into()).await?;
        self.is_kept = true;
        Ok(())
    }
}

/// The record of a session; none of a worker that is over.
async fn load(core: &Core, session: SessionId) -> Option<SessionRecord> {
    reader::load_patiently(core, session).await.unwrap_or_default()
}

/// The same, once its run records nothing any more. An end that was asked for does not wait until the run is closed.
async fn once_its_run_has_ended(core: &Core, session: SessionId) -> Option<SessionRecord> {
    let mut watch = core.hub.watch(session);
    loop {
        let record = load(core, session).await?;
        let has_ended = record.state().is_terminal() && record.runs.since.is_some();
        if !has_ended || !core.has_actor(session) || faults::planted(Bug::EndBeforeClose) {
            return Some(record);
        }
        // An actor that is lost tells nobody.
        let _ = tokio::time::timeout(RECHECK, watch.changed()).await;
    }
}

/// Calls a hook, after a while where it has failed.
async fn call(
    core: &Arc<Core>,
    hooks: &Hooks,
    session: SessionId,
    owed: Owed,
    failures: u32,
    before: Option<Call>,
) -> Called<()> {
    if failures > 0 {
        tokio::time::sleep(Backoff::default().wait(failures, core.random())).await;
    }
    let record = match owed.hook {
        Hook::SessionEnd => once_its_run_has_ended(core, session).await,
        Hook::SessionStart | Hook::StateChanged | Hook::AfterRun => load(core, session).await,
    };
    let call = HookCall {
        hook: owed.hook,
        session,
        event: owed.event,
        record: record.map(Arc::new),
        attempt: failures + 1,
    };
    let work = Arc::clone(&hooks.hooks).call(call);
    reader::call(core, hooks.options.timeout, before, work).await
}

fn is_end_of_run(item: &LogItem) -> bool {
    match item {
        LogItem::Event(logged) => ends_run(&logged.event),
        LogItem::Gap { .. } => false,
    }
}
