//! Forks: new sessions from committed snapshots of others.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    model::{
        ids::{ExternalId, InputId, Kind, Name, SessionId, StartKey},
        json::{Encoded, encode},
        labels::{Labels, Metadata},
    },
    policy::Policy,
    runtime::core::Core,
    session::{Session, SessionHandle},
    start::{Fnv, Json, Slot},
    supervisor::{Origin, StartedSession, Supervisor},
    workload::{Workload, erased::Registry},
};

mod error;
mod make;
mod parent;

pub use self::error::ForkError;

/// What [`Workload::on_fork`] may take, unless the caller says otherwise.
const WITHIN: Duration = Duration::from_secs(60);

/// A session to be made from a committed snapshot of another one.
///
/// It begins with the state of that snapshot. Labels, metadata and a policy of its own are those of the other session unless
/// they are given here; name, external id and whatever the other one holds outside are not inherited. Inputs that
/// wait, the usage so far, and the alarm of one that sleeps are copied only where that is asked for.
#[must_use = "a session is forked by `Supervisor::fork`"]
pub struct Fork<W> {
    asked: Asked,
    typed: PhantomData<fn() -> W>,
}

/// What is asked for when a session is forked.
pub(crate) struct Asked {
    /// Whether the kind is the one that the caller knows; none for callers that know no types.
    is_typed: Option<fn(&Registry, &Kind) -> bool>,
    at: Option<u64>,
    id: Option<SessionId>,
    key: Option<StartKey>,
    name: Option<Name>,
    external_id: Option<ExternalId>,
    labels: Option<Labels>,
    metadata: Option<Metadata>,
    policy: Option<Box<Policy>>,
    input: Option<Encoded>,
    input_id: Option<InputId>,
    copy_inputs: bool,
    copy_usage: bool,
    copy_alarm: bool,
    slot: Option<Slot>,
    within: Duration,
}

impl<W: Workload> Fork<W> {
    /// A fork from the newest snapshot, of a session that the workload runs.
    pub fn new() -> Self {
        Self::of(Some(|registry, kind| registry.typed::<W>(kind).is_some()))
    }

    /// The first input of its own, committed with the fork. It comes after those that are copied, and is accepted
    /// whatever waits there; but it must not be larger than the whole inbox.
    pub fn input(mut self, input: W::Input) -> Self {
        self.asked.input = Some(encode(&input));
        self
    }
}

impl<W: Workload> Default for Fork<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl Fork<Json> {
    /// A fork from the newest snapshot, for callers that know no types.
    pub fn json() -> Self {
        Self::of(None)
    }

    /// The first input of its own as JSON, committed with the fork. It comes after those that are copied.
    pub fn input_json(mut self, input: &serde_json::Value) -> Self {
        self.asked.input = Some(encode(input));
        self
    }
}

impl<W> Fork<W> {
    fn of(is_typed: Option<fn(&Registry, &Kind) -> bool>) -> Self {
        let asked = Asked {
            is_typed,
            at: None,
            id: None,
            key: None,
            name: None,
            external_id: None,
            labels: None,
            metadata: None,
            policy: None,
            input: None,
            input_id: None,
            copy_inputs: false,
            copy_usage: false,
            copy_alarm: false,
            slot: None,
            within: WITHIN,
        };
        Self { asked, typed: PhantomData }
    }

    /// From the snapshot with this number, instead of the newest. Two are kept: see
    /// [`SessionRecord::snapshots`](crate::SessionRecord::snapshots).
    pub fn at(mut self, snapshot: u64) -> Self {
        self.asked.at = Some(snapshot);
        self
    }

    /// Copies the inputs that had no effect on the snapshot, in their order and with their ids. They are
    /// numbered from 1, and the limits of the inbox do not hold for them. The other session works them off as well, so they are begun anew
    /// here: attempts are counted from 1, and steps are called again, each under an idempotency key of this session.
    pub fn copy_inputs(mut self) -> Self {
        self.asked.copy_inputs = true;
        self
    }

    /// Begins with the usage that the other session has come to by now, instead of with none.
    pub fn copy_usage(mut self) -> Self {
        self.asked.copy_usage = true;
        self
    }

    /// Sleeps as the other session does, until the same time, instead of beginning to run. Where an input would wake the other one,
    /// an input that is new wakes this one; those that are copied do not. If the other session does not sleep, or its alarm has rung,
    /// there is nothing to copy.
    pub fn copy_alarm(mut self) -> Self {
        self.asked.copy_alarm = true;
        self
    }

    /// An id of the caller's own, instead of a new one. An id that exists is refused.
    pub fn id(mut self, id: SessionId) -> Self {
        self.asked.id = Some(id);
        self
    }

    /// An idempotency key, as that of a [start](crate::Start::key): a fork that is repeated with the same key gives the
    /// same session, also where the other one has gone on or is gone by then; the same key with another request is
    /// refused.
    ///
    /// What makes the request is the other session and everything that is asked for here, not what is
    /// found there.
    pub fn key(mut self, key: StartKey) -> Self {
        self.asked.key = Some(key);
        self
    }

    /// A unique name. It is refused while a session that has not ended holds it.
    pub fn name(mut self, name: Name) -> Self {
        self.asked.name = Some(name);
        self
    }

    /// A correlation id from outside.
    pub fn external_id(mut self, id: ExternalId) -> Self {
        self.asked.external_id = Some(id);
        self
    }

    /// Indexed labels, instead of those of the other session.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.asked.labels = Some(labels);
        self
    }

    /// Free JSON, instead of that of the other session.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.asked.metadata = Some(metadata);
        self
    }

    /// A policy of its own, instead of that of the other session.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.asked.policy = Some(Box::new(policy));
        self
    }

    /// An id for the first input of its own.
    pub fn input_id(mut self, id: InputId) -> Self {
        self.asked.input_id = Some(id);
        self
    }

    /// A place that was waited for, see [`Supervisor::slot`].
    pub fn in_slot(mut self, slot: Slot) -> Self {
        self.asked.slot = Some(slot);
        self
    }

    /// What [`Workload::on_fork`] may take (default: a minute).
    pub fn within(mut self, limit: Duration) -> Self {
        self.asked.within = limit;
        self
    }
}

impl Asked {
    /// What makes a repeated fork recognisable: everything that was asked for. It is stored, so it must not
    /// change.
    fn digest(&self, parent: SessionId) -> u64 {
        let asked = (
            "fork",
            parent,
            self.at,
            self.id,
            self.name.as_ref().map(Name::as_str),
            self.external_id.as_ref().map(ExternalId::as_str),
            &self.labels,
            &self.metadata,
            &self.policy,
            self.input_id.as_ref().map(InputId::as_str),
            self.copy_inputs,
            self.copy_usage,
            self.copy_alarm,
        );
        let mut digest = Fnv::default();
        digest.add(&serde_json::to_vec(&asked).unwrap_or_default());
        if let Some(Ok(input)) = &self.input {
            digest.add(input);
        }
        digest.0
    }
}

impl<W> fmt::Debug for Fork<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fork")
            .field("at", &self.asked.at)
            .field("id", &self.asked.id)
            .field("key", &self.asked.key)
            .field("name", &self.asked.name)
            .finish_non_exhaustive()
    }
}

/// Forking a session: a new one goes on from a committed snapshot of it.
///
/// The session may be in any state, also ended or quarantined; where it is active, its last committed snapshot counts, and its run is not
/// disturbed. Nothing of it is changed: nothing at all is written to it. The fork begins as any start does, and from then
/// on the two share nothing. Its record names where it comes from
/// ([`Links::forked_from`](crate::Links::forked_from)), and so does its second event
/// ([`Lifecycle::Forked`](crate::Lifecycle::Forked)). Where the newest snapshot cannot be read, and no other was asked for, the
/// older one serves, and the event says so.
///
/// Before anything is stored, [`Workload::on_fork`] may copy what belongs to the session elsewhere, or refuse. It may
/// be called for a fork that is never made: where several ask at once with the same key, or the store fails. A state of an
/// older version is brought to the present one first.
///
/// ```no_run
/// # use sessionkeeper::{Context, Fork, Outcome, SessionHandle, Workload, WorkloadError};
/// # struct Coder;
/// # impl Workload for Coder {
/// #     const KIND: &'static str = "coder";
/// #     const STATE_VERSION: u32 = 1;
/// #     type State = String;
/// #     type Input = String;
/// #     async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
/// #         Ok(Outcome::Yielded)
/// #     }
/// # }
/// # async fn example(session: SessionHandle<Coder>) -> Result<(), Box<dyn std::error::Error>> {
/// let fork = session.fork(Fork::new().input("try it without a cache".into())).await?;
/// let from = fork.status().await?.record().links().forked_from;
/// assert_eq!(from.map(|from| from.session), Some(session.id()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ForkError`]; unless it says otherwise, nothing was stored.
///
/// # Cancel safety
/// Once polled, dropping it withdraws nothing. With a [key](Fork::key) the fork can be repeated without harm.
impl Supervisor {
    /// Forks a session. On return the fork is durable, with its first state and its inputs: active if there was a
    /// place under `max_active`, else pending.
    pub async fn fork<W: Workload>(
        &self,
        session: SessionId,
        fork: Fork<W>,
    ) -> Result<StartedSession<W>, ForkError> {
        typed(self.core(), session, fork).await
    }

    /// Forks a session, for callers that know no types. An input that is not one of the kind is refused.
    pub async fn fork_json(
        &self,
        session: SessionId,
        fork: Fork<Json>,
    ) -> Result<(Session, Origin), ForkError> {
        make::fork(self.core(), session, fork.asked).await
    }
}

impl Session {
    /// Forks the session, for callers that know no types: see [`Supervisor::fork_json`].
    ///
    /// # Errors
    /// [`ForkError`]; unless it says otherwise, nothing was stored.
    pub async fn fork_json(&self, fork: Fork<Json>) -> Result<(Self, Origin), ForkError> {
        make::fork(self.core(), self.id(), fork.asked).await
    }
}

impl<W: Workload> SessionHandle<W> {
    /// Forks the session: see [`Supervisor::fork`].
    ///
    /// # Errors
    /// [`ForkError`]; unless it says otherwise, nothing was stored.
    pub async fn fork(&self, fork: Fork<W>) -> Result<StartedSession<W>, ForkError> {
        typed(self.core(), self.id(), fork).await
    }
}

async fn typed<W: Workload>(
    core: &Arc<Core>,
    session: SessionId,
    fork: Fork<W>,
) -> Result<StartedSession<W>, ForkError> {
    let (session, origin) = make::fork(core, session, fork.asked).await?;
    Ok(StartedSession::new(session.typed()?, origin))
}
