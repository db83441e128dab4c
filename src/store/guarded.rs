//! A store whose panics are errors: they fail one call, and take nobody with them.

use std::{future::Future, ops::RangeInclusive, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;

use super::{
    AcceptedInput, Batch, Bookmark, Damage, Due, Key, LogPage, LogQuery, Opened, Page, Purge,
    Purged, Query, Refusal, Store, StoreError, StoreFuture, StoredRun, Trim,
};
use crate::model::{
    counts::{Scope, StateCounts},
    event::EventRecord,
    footprint::StateBytes,
    ids::{InputId, RunId, SessionId, WorkerGeneration},
    record::{Lane, SessionRecord, StoredInput},
    step::{StoredStep, Turn},
    time::LaneTime,
};

/// What a worker makes of the store that it is given.
pub(crate) struct Guarded(pub(crate) Arc<dyn Store>);

/// A store that panics has failed, and may heal.
fn guard<'a, T: 'a>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> StoreFuture<'a, T> {
    Box::pin(AssertUnwindSafe(work).catch_unwind().map(|done| {
        done.unwrap_or_else(|_| {
            Err(StoreError::Unavailable { what: "it panicked".to_owned(), source: None })
        })
    }))
}

impl Store for Guarded {
    fn begin(&self, generation: WorkerGeneration) -> StoreFuture<'_, Opened> {
        guard(async move { self.0.begin(generation).await })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Vec<Result<(), Refusal>>> {
        guard(async move { self.0.commit(batch).await })
    }

    fn load(&self, session: SessionId) -> StoreFuture<'_, Option<SessionRecord>> {
        guard(async move { self.0.load(session).await })
    }

    fn find(&self, key: Key) -> StoreFuture<'_, Option<SessionId>> {
        guard(async move { self.0.find(key).await })
    }

    fn run(&self, run: RunId) -> StoreFuture<'_, Option<StoredRun>> {
        guard(async move { self.0.run(run).await })
    }

    fn list(&self, query: Query) -> StoreFuture<'_, Page> {
        guard(async move { self.0.list(query).await })
    }

    fn count(&self, scope: Scope) -> StoreFuture<'_, StateCounts> {
        guard(async move { self.0.count(scope).await })
    }

    fn held(&self) -> StoreFuture<'_, StateBytes> {
        guard(async move { self.0.held().await })
    }

    fn due(&self, lane: Lane, until: LaneTime, limit: usize) -> StoreFuture<'_, Vec<Due>> {
        guard(async move { self.0.due(lane, until, limit).await })
    }

    fn snapshot(&self, session: SessionId, sequence: u64) -> StoreFuture<'_, Option<Arc<[u8]>>> {
        guard(async move { self.0.snapshot(session, sequence).await })
    }

    fn inputs(
        &self,
        session: SessionId,
        after: u64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<StoredInput>> {
        guard(async move { self.0.inputs(session, after, limit).await })
    }

    fn steps(&self, session: SessionId, after: Turn) -> StoreFuture<'_, Vec<StoredStep>> {
        guard(async move { self.0.steps(session, after).await })
    }

    fn accepted(&self, session: SessionId, id: InputId) -> StoreFuture<'_, Option<AcceptedInput>> {
        guard(async move { self.0.accepted(session, id).await })
    }

    fn events(
        &self,
        session: SessionId,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> StoreFuture<'_, Vec<EventRecord>> {
        guard(async move { self.0.events(session, range, limit).await })
    }

    fn log(&self, query: LogQuery) -> StoreFuture<'_, LogPage> {
        guard(async move { self.0.log(query).await })
    }

    fn bookmarks(&self) -> StoreFuture<'_, Vec<Bookmark>> {
        guard(async move { self.0.bookmarks().await })
    }

    fn purge(&self, purge: Purge) -> StoreFuture<'_, Result<Purged, Refusal>> {
        guard(async move { self.0.purge(purge).await })
    }

    fn trim(&self, trim: Trim) -> StoreFuture<'_, Result<Purged, Refusal>> {
        guard(async move { self.0.trim(trim).await })
    }

    fn damaged(&self) -> StoreFuture<'_, Vec<Damage>> {
        guard(async move { self.0.damaged().await })
    }

    fn heal(&self) -> StoreFuture<'_, ()> {
        guard(async move { self.0.heal().await })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        guard(async move { self.0.close().await })
    }
}
