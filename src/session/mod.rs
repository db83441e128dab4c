//! Handles: how callers speak to one session.

mod answers;
mod deletion;
mod inputs;
mod queries;
mod subscription;
mod typed;

pub use self::{
    answers::{NotRunning, Paused, Receipt, Snapshot, StopReport, StopTicket},
    deletion::Delete,
    queries::{EventPage, EventQuery},
    subscription::{SubscribeError, Update},
    typed::SessionHandle,
};

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use tokio::sync::oneshot;

use crate::{
    model::{
        event::EventRecord,
        ids::{ExternalId, Kind, RunId, SessionId},
        labels::{Labels, Metadata, is_too_deep},
        record::{SessionRecord, SnapshotRef},
        snapshot::SnapshotEnvelope,
        state::State,
    },
    runtime::{
        core::{Core, Life},
        error::SessionError,
        op::{Annotation, Asker, Op, Reply},
    },
    status::{Settled, Status},
    store::StoreError,
    telemetry::Stamp,
    workload::{
        Workload, erased,
        threads::{CodeOwner, Entered, UserCode},
    },
};

/// A handle to one session whose types are not known: cheap, cloneable, and valid as long as the
/// supervisor lives. It keeps nothing alive.
///
/// # Cancel safety
///
/// Every verb is a request. Once its future was polled, dropping the future withdraws nothing.
#[derive(Clone)]
pub struct Session {
    core: Arc<Core>,
    id: SessionId,
    kind: Kind,
    /// Whether what is sent by it goes along with rollovers.
    pub(crate) follows: bool,
}

impl Session {
    pub(crate) fn new(core: Arc<Core>, id: SessionId, kind: Kind) -> Self {
        Self { core, id, kind, follows: false }
    }

    /// The session.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Its kind.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The same handle with the types of its workload.
    ///
    /// # Errors
    /// [`SessionError::WrongKind`] if its kind is registered with another type, or not at all.
    pub fn typed<W: Workload>(self) -> Result<SessionHandle<W>, SessionError> {
        match self.core.registry.typed::<W>(&self.kind) {
            Some(workload) => Ok(SessionHandle { session: self, workload }),
            None => Err(SessionError::WrongKind { session: self.id, found: self.kind }),
        }
    }

    /// Notes that this thread is in the code of the session's workload, until the guard is dropped.
    pub(crate) fn enter(&self, code: UserCode) -> Entered {
        let owner = CodeOwner::new(self.id, None, self.kind.clone(), code);
        self.core.threads.enter(&owner)
    }

    /// Gives a sign of life from outside: one atomic store.
    ///
    /// # Errors
    /// [`NotRunning`] if the session has no run in this worker.
    pub fn heartbeat(&self) -> Result<(), NotRunning> {
        match self.core.directory.pin().get(&self.id) {
            Some(live) => {
                live.run().heartbeat();
                Ok(())
            }
            None => Err(NotRunning { session: self.id }),
        }
    }

    /// Brings the session to rest. On return it is paused, and its snapshot is durable.
    ///
    /// Its run is asked to yield, and cancelled after `pause_grace`. The session is paused as
    /// *asked*: only [`resume`](Self::resume) wakes it. One that is paused for another reason
    /// stays paused, for this one; what is quarantined stays so. A pending session is paused at
    /// once. Inputs are still accepted.
    ///
    /// # Errors
    /// [`SessionError::Superseded`] if a later resume, stop or end won over it;
    /// [`SessionError::Refused`] if the session is stopped or has ended, or if its run completed
    /// rather than come to rest.
    pub async fn pause(&self) -> Result<Paused, SessionError> {
        let rested = self.ask(|reply| Op::Pause { by: Asker::Caller, reply }).await?;
        Ok(Paused { snapshot: rested.snapshot })
    }

    /// Lets the session go on, from its last checkpoint. On return that is durable; the run
    /// itself begins right after.
    ///
    /// While all places under `max_active` are taken, it waits for one. A session that is active
    /// or pending already has what was asked for. A quarantined session's counts of failures are
    /// cleared. One that is being paused goes on; but if its run was cancelled already and then
    /// has to be abandoned, the session is quarantined, unless the policy lets it go on beside it
    /// (`while_abandoned`).
    ///
    /// # Errors
    /// [`SessionError::Superseded`] if a later pause, stop or end won over it while it waited;
    /// [`SessionError::RunStillAlive`]; the refusals of a session that has ended.
    pub async fn resume(&self) -> Result<(), SessionError> {
        self.ask(|reply| Op::Resume { by: Asker::Caller, place: None, reply }).await
    }

    /// Stops the session by a person's explicit word. On return `stopping` is durable; the ticket
    /// tells when nothing of the run is alive any more.
    ///
    /// Its run is asked to yield, and cancelled after `stop_grace`. Several stops are one stop;
    /// a later one may only shorten the grace. The session keeps its snapshot and can be resumed.
    ///
    /// # Errors
    /// The refusals of a session that has ended.
    pub async fn stop(&self) -> Result<StopTicket, SessionError> {
        self.stop_in(None, None).await
    }

    /// Stops the session if this is its present run, see [`stop`](Self::stop): a caller who knows the session
    /// by a run that it has seen never stops another one. Which run it is, is decided together with the stop.
    ///
    /// # Errors
    /// [`SessionError::NotCurrentRun`] names the present run; the refusals of a session that has ended.
    ///
    /// ```
    /// use sessionkeeper::{RunId, Session, SessionError};
    ///
    /// # async fn example(session: Session, seen: RunId) -> Result<(), SessionError> {
    /// match session.stop_run(seen).await {
    ///     Ok(stop) => println!("{:?} is being stopped", stop.run()),
    ///     Err(SessionError::NotCurrentRun { current, .. }) => println!("it goes on in {current:?}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop_run(&self, run: RunId) -> Result<StopTicket, SessionError> {
        self.stop_in(None, Some(run)).await
    }

    /// Stops the session with a grace of its own, see [`stop`](Self::stop).
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub async fn stop_within(&self, grace: Duration) -> Result<StopTicket, SessionError> {
        self.stop_in(Some(grace), None).await
    }

    /// Stops the session with no grace: its run is cancelled at once. See [`stop`](Self::stop).
    ///
    /// # Errors
    /// As for [`stop`](Self::stop).
    pub async fn kill(&self) -> Result<StopTicket, SessionError> {
        self.stop_in(Some(Duration::ZERO), None).await
    }

    async fn stop_in(
        &self,
        grace: Option<Duration>,
        only: Option<RunId>,
    ) -> Result<StopTicket, SessionError> {
        let asked = Stamp::now();
        let accepted =
            self.ask(|reply| Op::Stop { by: Asker::Caller, grace, only, reply, asked }).await?;
        Ok(StopTicket { session: self.clone(), run: accepted.run })
    }

    /// Ends the session as completed, by a caller's word. On return that is durable, and its run
    /// can change nothing any more; it is then cancelled.
    ///
    /// # Errors
    /// The refusals of a session that has ended otherwise.
    pub async fn complete(&self) -> Result<(), SessionError> {
        self.ask(|reply| Op::Complete { reason: None, reply }).await
    }

    /// Ends the session as failed, by a caller's word, see [`complete`](Self::complete).
    ///
    /// # Errors
    /// The refusals of a session that has ended otherwise.
    pub async fn fail(&self, reason: impl Into<String>) -> Result<(), SessionError> {
        let reason = erased::shorten(reason.into());
        self.ask(|reply| Op::Fail { reason: reason.clone(), reply }).await
    }

    /// Replaces the labels. Durable on return, with an event that says so.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn set_labels(&self, labels: Labels) -> Result<(), SessionError> {
        self.annotate(Annotation::Labels(labels)).await
    }

    /// Replaces the metadata. Durable on return, with an event that says so.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn set_metadata(&self, metadata: Metadata) -> Result<(), SessionError> {
        if is_too_deep(&metadata) {
            return Err(SessionError::MetadataTooDeep { session: self.id() });
        }
        self.annotate(Annotation::Metadata(metadata)).await
    }

    /// Sets the external correlation id. Durable on return, with an event that says so.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn set_external_id(&self, id: ExternalId) -> Result<(), SessionError> {
        self.annotate(Annotation::ExternalId(id)).await
    }

    async fn annotate(&self, change: Annotation) -> Result<(), SessionError> {
        self.ask(|reply| Op::Annotate { change: change.clone(), reply }).await
    }

    /// How the session stands, and what it is doing now. Of a live session this is read from
    /// memory, without going through any mailbox.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    pub async fn status(&self) -> Result<Status, SessionError> {
        status(&self.core, self.id).await
    }

    /// Every status from now on: the present one, then one after each commit. A watcher that is
    /// slow misses what lies in between, never the last. Ends when the worker ends, and when the session is deleted.
    ///
    /// What a run does between two commits (busy, idle, awaiting) brings no status of its own; ask
    /// for it by [`status`](Self::status).
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Status> + Send + Unpin + use<>, SessionError> {
        let mut changes = self.core.hub.watch(self.id);
        let first = self.status().await?;
        let core = Arc::clone(&self.core);
        // What was published before the first status was read is in it already.
        let seen = first.record().version;
        let missed = changes.look().filter(|record| record.version > seen);
        let later = stream::unfold((changes, missed), move |(mut changes, missed)| {
            let core = Arc::clone(&core);
            async move {
                let record = match missed {
                    Some(record) => record,
                    None => changes.changed().await?,
                };
                if record.is_deleted() {
                    return None;
                }
                Some((Status::of(&core, record), (changes, None)))
            }
        });
        Ok(stream::once(std::future::ready(first)).chain(later).boxed())
    }

    /// Waits until the session is in one of the states, and says how it stands then. A state that
    /// it only passes through may be missed.
    ///
    /// # Errors
    /// [`SessionError::OutcomeUnknown`] if the worker ends first.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn wait_for(&self, states: &[State]) -> Result<Status, SessionError> {
        self.wait_until(|status| states.contains(&status.state()).then_some(status)).await
    }

    /// Waits until the session is at rest until somebody acts: ended, stopped or quarantined.
    ///
    /// # Errors
    /// [`SessionError::OutcomeUnknown`] if the worker ends first.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn settled(&self) -> Result<Settled, SessionError> {
        self.wait_until(Settled::of).await
    }

    async fn wait_until<T>(&self, done: impl Fn(Status) -> Option<T>) -> Result<T, SessionError> {
        let mut statuses = self.watch().await?;
        while let Some(status) = statuses.next().await {
            if let Some(done) = done(status) {
                return Ok(done);
            }
        }
        Err(match self.core.life() {
            Life::Running => SessionError::NotFound { session: self.id },
            Life::Draining | Life::Ended => SessionError::OutcomeUnknown { session: self.id },
        })
    }

    /// The committed state as JSON.
    ///
    /// # Errors
    /// [`SessionError::Unreadable`] and [`SessionError::Undecodable`], or a store that fails.
    pub async fn snapshot_json(&self) -> Result<Snapshot<serde_json::Value>, SessionError> {
        let (at, envelope) = self.load_snapshot().await?;
        let state = serde_json::from_slice(&envelope.payload)
            .map_err(|error| SessionError::undecodable(self.id, error))?;
        Ok(Snapshot { at, state })
    }

    async fn load_snapshot(&self) -> Result<(SnapshotRef, SnapshotEnvelope), SessionError> {
        let session = self.id;
        let read = |error| SessionError::read(session, error);
        let store = self.core.store().map_err(read)?;
        // A newer checkpoint may replace the snapshot between the two reads; then look again.
        let mut last = None;
        loop {
            let record = record(&self.core, session).await?;
            let at = record.snapshot().copied().ok_or_else(|| SessionError::Unreadable {
                session,
                reason: "there is none".to_owned(),
            })?;
            match store.snapshot(session, at.sequence).await.map_err(read)? {
                Some(bytes) => {
                    let envelope = SnapshotEnvelope::decode(&bytes).map_err(|error| {
                        SessionError::Unreadable { session, reason: error.to_string() }
                    })?;
                    return Ok((at, envelope));
                }
                None if last == Some(at.sequence) => {
                    let reason = "it is missing".to_owned();
                    return Err(SessionError::Unreadable { session, reason });
                }
                None => last = Some(at.sequence),
            }
        }
    }

    /// Events in a range of sequence numbers, in order, at most `limit`. Only durable ones are seen.
    ///
    /// They are numbered from 1 without gaps, so the next page begins after the last number of
    /// this one; nothing is found beyond the newest, nor of what is [gone](crate::Retention::events).
    ///
    /// # Errors
    /// [`SessionError::NotFound`] if it was deleted, or a store that fails.
    pub async fn events(
        &self,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<EventRecord>, SessionError> {
        let read = |error| SessionError::read(self.id, error);
        if let Err(gone @ SessionError::NotFound { .. }) = record(&self.core, self.id).await {
            return Err(gone);
        }
        let store = self.core.store().map_err(read)?;
        store.events(self.id, range, limit).await.map_err(read)
    }

    async fn ask<T, E: From<SessionError>>(&self, op: impl Fn(Reply<T, E>) -> Op) -> Result<T, E> {
        ask(&self.core, self.id, op).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("kind", &self.kind).finish()
    }
}

/// Asks whoever keeps the session. A request that was dropped unseen, because its keeper had just
/// changed, is made again.
pub(crate) async fn ask<T, E: From<SessionError>>(
    core: &Core,
    session: SessionId,
    mut op: impl FnMut(Reply<T, E>) -> Op,
) -> Result<T, E> {
    loop {
        let (reply, answer): (_, oneshot::Receiver<Result<T, E>>) = Reply::new(session);
        match core.life() {
            Life::Running => core.route(session, op(reply)),
            Life::Draining | Life::Ended => {
                return Err(SessionError::ShuttingDown { session }.into());
            }
        }
        match answer.await {
            Ok(answer) => return answer,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn record(core: &Core, session: SessionId) -> Result<Arc<SessionRecord>, SessionError> {
    status(core, session).await.map(Status::into_record)
}

pub(crate) async fn status(core: &Core, session: SessionId) -> Result<Status, SessionError> {
    let shown = || core.directory.pin().get(&session).map(|live| Status::of_live(live));
    if let Some(shown) = shown() {
        return Ok(shown);
    }
    let read = |error: StoreError| SessionError::read(session, error);
    let stored = core.load(session).await.map_err(read)?;
    // If it has an actor now, what was read may be a commit that is not shown to others yet:
    // whoever looks next would see the session go back.
    if let Some(shown) = shown() {
        return Ok(shown);
    }
    let record = stored.ok_or(SessionError::NotFound { session })?;
    Ok(Status::of_record(Arc::new(record)))
}
