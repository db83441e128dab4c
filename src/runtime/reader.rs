//! A reader of the log of all sessions that goes on in the next worker: its place is kept in the store.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use super::{
    core::Core,
    tail::{Follower, PAGE},
};
use crate::{
    faults::{self, Bug},
    model::{
        event::EventRecord,
        ids::{ReaderName, SessionId},
        log_cursor::LogCursor,
        record::SessionRecord,
    },
    store::{
        Batch, Bookmark, BoxError, LogPage, LogQuery, Order, StoreError, Unread, with_sources,
    },
    telemetry,
    workload::panics,
};

/// How long a failing store is left alone.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Who reads, and the place that the store knows.
pub(super) struct Reader {
    pub(super) core: Arc<Core>,
    name: ReaderName,
    kept: Option<Bookmark>,
    /// Where the log ended when it began.
    end: u64,
}

/// How the worker before left a reader of the log.
pub(super) struct Left {
    /// Everything up to it was read, but for what is unread.
    pub(super) place: LogCursor,
    /// Everything up to it was read.
    pub(super) from: LogCursor,
    /// What it noted.
    pub(super) note: Arc<[u8]>,
    /// What it had not read of a store from which this one was made: there its place is not one in the order of events here.
    pub(super) unread: Vec<Unread>,
}

impl Left {
    const fn at(place: LogCursor, note: Arc<[u8]>) -> Self {
        Self { place, from: place, note, unread: Vec::new() }
    }
}

impl Reader {
    pub(super) const fn new(core: Arc<Core>, name: ReaderName) -> Self {
        Self { core, name, kept: None, end: 0 }
    }

    /// Where it was left, with what it noted there. One that is new begins with the first event that there is, or with the next. A place
    /// that is not in this log is of no use: there it begins where nothing is missed.
    pub(super) async fn begin(&mut self, with_next: bool) -> Result<Left, StoreError> {
        let store = self.core.store()?;
        let end = store.log(LogQuery { limit: 1, ..LogQuery::default() }).await?.end;
        self.end = end.last;
        let kept = store.bookmarks().await?.into_iter().find(|kept| kept.reader == self.name);
        let lost = |what| telemetry::reader_lost(&self.name, what);
        let position = match kept {
            None if with_next => end.last,
            None => 0,
            Some(kept) => match kept.carried() {
                Ok(Some(carried)) if faults::planted(Bug::ReadCarriedAgain) => {
                    return Ok(Left::at(LogCursor::new(end.log, 0), carried.note));
                }
                Ok(Some(carried)) => {
                    let at = |position: u64| LogCursor::new(end.log, position.min(end.last));
                    let (place, from) = (at(kept.cursor.position()), at(carried.from));
                    return Ok(Left { place, from, note: carried.note, unread: carried.unread });
                }
                Err(_) => {
                    lost(
                        "what it had read of another store is not known: it begins with the first event",
                    );
                    0
                }
                Ok(None) if kept.cursor.log() != end.log => {
                    lost("its place is in another log: it begins with the first event");
                    0
                }
                Ok(None) if kept.cursor.position() > end.last => {
                    lost("its place is behind the end of the log: it goes on from there");
                    end.last
                }
                Ok(None) => {
                    let left = Left::at(kept.cursor, Arc::clone(&kept.note));
                    self.kept = Some(kept);
                    return Ok(left);
                }
            },
        };
        Ok(Left::at(LogCursor::new(end.log, position), Arc::default()))
    }

    /// Some of the events of a session from this one to that one: see [`sound_events`].
    pub(super) async fn events(
        &self,
        session: SessionId,
        first: u64,
        last: u64,
    ) -> Result<(Vec<EventRecord>, u64), StoreError> {
        sound_events(&self.core, session, first, last, PAGE).await
    }

    /// The same, once the store can be read. It fails when that is closed.
    pub(super) async fn events_patiently(
        &self,
        session: SessionId,
        first: u64,
        last: u64,
    ) -> Result<(Vec<EventRecord>, u64), StoreError> {
        loop {
            match self.events(session, first, last).await {
                Ok(events) => return Ok(events),
                Err(error) => wait_for_store(error).await?,
            }
        }
    }

    /// Follows the log from where it ended when this began. What its own place is behind that by, it reads by itself: the others who
    /// follow are not to wait for it.
    pub(super) fn follow(&self) -> Follower {
        Follower::begin(&self.core, self.end)
    }

    /// What a note says; nothing, where there is none. One that cannot be read is not one of ours, and is as good as none.
    pub(super) fn read_note<N: Default + DeserializeOwned>(&self, note: &[u8]) -> N {
        if note.is_empty() {
            return N::default();
        }
        serde_json::from_slice(note).unwrap_or_else(|_| {
            telemetry::reader_lost(&self.name, "what it noted cannot be read: it goes on without");
            N::default()
        })
    }

    /// Keeps its place in the store, if that is not there.
    pub(super) async fn keep(
        &mut self,
        cursor: LogCursor,
        note: Arc<[u8]>,
    ) -> Result<(), StoreError> {
        let bookmark = Bookmark { reader: self.name.clone(), cursor, note };
        if self.kept.as_ref() == Some(&bookmark) {
            return Ok(());
        }
        let batch = Batch {
            generation: self.core.generation,
            supervised: self.core.clock.supervised(),
            commits: Vec::new(),
            bookmarks: vec![bookmark.clone()],
        };
        self.core.store()?.commit(batch).await?;
        self.kept = Some(bookmark);
        Ok(())
    }

    /// What follows a place.
    pub(super) async fn after(&self, place: LogCursor) -> Result<LogPage, StoreError> {
        let from = place.position() + 1;
        let query =
            LogQuery { from, order: Order::OldestFirst, limit: PAGE, ..LogQuery::default() };
        self.core.store()?.log(query).await
    }

    /// What follows a place, once the store can be read. It fails when that is closed.
    pub(super) async fn after_patiently(&self, place: LogCursor) -> Result<LogPage, StoreError> {
        loop {
            match self.after(place).await {
                Ok(page) => return Ok(page),
                Err(error) => wait_for_store(error).await?,
            }
        }
    }
}

/// Leaves a failing store alone for a while. It fails when that is closed.
pub(super) async fn wait_for_store(error: StoreError) -> Result<(), StoreError> {
    if matches!(error, StoreError::Closed) {
        return Err(error);
    }
    tokio::time::sleep(RETRY).await;
    Ok(())
}

/// The record of a session, once the store can be read: also that of a deleted one, none of a damaged one. It fails when
/// the store is closed.
pub(super) async fn load_patiently(
    core: &Core,
    session: SessionId,
) -> Result<Option<SessionRecord>, StoreError> {
    loop {
        let error = match core.store()?.load(session).await {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        if matches!(error, StoreError::Damaged { .. }) {
            return Ok(None);
        }
        wait_for_store(error).await?;
    }
}

/// How a task that reads to the end of its worker is asked to come to its end, and waited for.
#[derive(Default)]
pub(super) struct Finish {
    asked: watch::Sender<bool>,
    over: watch::Sender<bool>,
}

impl Finish {
    /// Asks the task to do what it can do at once, and waits until it has. Cancel safe.
    pub(super) async fn finish(&self) {
        self.asked.send_replace(true);
        // Its sender lives as long as this.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// For the task: whether it is asked to finish.
    pub(super) fn asked(&self) -> watch::Receiver<bool> {
        self.asked.subscribe()
    }

    /// For the task: nothing more will happen.
    pub(super) fn is_over(&self) {
        self.over.send_replace(true);
    }
}

/// The events of a session from this one to that one, at most so many, with the number to go on at. What cannot be read is left out.
pub(crate) async fn sound_events(
    core: &Core,
    session: SessionId,
    first: u64,
    last: u64,
    most: usize,
) -> Result<(Vec<EventRecord>, u64), StoreError> {
    let mut limit = most;
    loop {
        match core.store()?.events(session, first..=last, limit).await {
            Ok(events) => {
                let is_all = events.len() < limit && limit == most;
                let after = events.last().map_or(first, |event| event.sequence);
                let next = if is_all { last } else { after };
                return Ok((events, next.saturating_add(1)));
            }
            Err(StoreError::Damaged { .. }) if limit == 1 => {
                return Ok((Vec::new(), first.saturating_add(1)));
            }
            // One of them it is.
            Err(StoreError::Damaged { .. }) => limit = 1,
            Err(error) => return Err(error),
        }
    }
}

/// A call of the code of a user's. It ends when this is dropped, unless it blocks its thread.
pub(super) struct Call(JoinHandle<()>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came of a call: its answer, or in words what went wrong; and the call itself, if it is not over then.
pub(super) type Called<T> = Result<T, (String, Option<Call>)>;

/// Makes a call, which may take so long; unless the one before it took too long and has not come back yet.
pub(super) async fn call<T: Send + 'static>(
    core: &Core,
    timeout: Duration,
    before: Option<Call>,
    work: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> Called<T> {
    if before.as_ref().is_some_and(|before| !before.0.is_finished()) {
        let what = "it has not come back from an earlier call, which took too long".to_owned();
        return Err((what, before));
    }
    let (answer, answered) = oneshot::channel();
    let call = Call(core.workloads.spawn(async move {
        // Whoever asked may have given up.
        let _ = answer.send(panics::guard_future(work).await);
    }));
    match tokio::time::timeout(timeout, answered).await {
        Ok(Ok(Ok(Ok(answer)))) => Ok(answer),
        Ok(Ok(Ok(Err(error)))) => Err((with_sources(error.to_string(), &*error), None)),
        Ok(Ok(Err(panic))) => Err((format!("it panicked: {panic}"), None)),
        Ok(Err(_)) => Err(("its runtime is shutting down".to_owned(), None)),
        Err(_) => {
            call.0.abort();
            let limit = humantime::format_duration(timeout);
            Err((format!("it did not answer within {limit}"), Some(call)))
        }
    }
}
