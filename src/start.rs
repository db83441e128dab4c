//! What is asked for when a session is started.

use std::{collections::VecDeque, fmt, marker::PhantomData, sync::Arc};

use crate::{
    model::{
        family::OnParent,
        ids::{ExternalId, InputId, InvalidName, Kind, Name, SessionId, StartKey},
        inbox::Inbox,
        json::{Encoded, encode},
        labels::{Labels, Metadata, is_too_deep},
        record::{Failures, Runs, SessionRecord, StartRequest},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        state::Phase,
        usage::Usage,
    },
    policy::Policy,
    runtime::{
        core::Core,
        error::{SendError, SessionError, StartError},
        op::{NewInput, Place},
    },
    store::Key,
    workload::Workload,
};

/// A session to be started: its first state, and whatever else is known about it.
///
/// Everything is committed at once: with [`input`](Self::input) the session can never exist
/// without its first input.
#[must_use = "a session is started by `Supervisor::start`"]
pub struct Start<W> {
    pub(crate) kind: Result<Kind, InvalidName>,
    pub(crate) id: Option<SessionId>,
    pub(crate) key: Option<StartKey>,
    name: Option<Name>,
    external_id: Option<ExternalId>,
    labels: Labels,
    metadata: Metadata,
    policy: Option<Box<Policy>>,
    pub(crate) state: Encoded,
    pub(crate) input: Option<Encoded>,
    input_id: Option<InputId>,
    slot: Option<Slot>,
    pub(crate) parent: Option<SessionId>,
    pub(crate) on_parent: OnParent,
    typed: PhantomData<fn() -> W>,
}

/// Marks a [`Start`] whose state and input are JSON, for callers that know no types.
#[derive(Debug)]
pub struct Json(());

impl<W: Workload> Start<W> {
    /// Starts a session of the workload's own kind from a state.
    pub fn new(state: W::State) -> Self {
        Self::of(Kind::new(W::KIND), encode(&state))
    }

    /// The kind, where the workload is registered under another one than its own.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Ok(kind);
        self
    }

    /// The first input, committed with the start.
    pub fn input(mut self, input: W::Input) -> Self {
        self.input = Some(encode(&input));
        self
    }
}

impl Start<Json> {
    /// Starts a session of a kind from a state as JSON.
    pub fn json(kind: Kind, state: &serde_json::Value) -> Self {
        Self::of(Ok(kind), encode(state))
    }

    /// The first input as JSON, committed with the start.
    pub fn input_json(mut self, input: &serde_json::Value) -> Self {
        self.input = Some(encode(input));
        self
    }
}

impl<W> Start<W> {
    fn of(kind: Result<Kind, InvalidName>, state: Encoded) -> Self {
        Self {
            kind,
            id: None,
            key: None,
            name: None,
            external_id: None,
            labels: Labels::default(),
            metadata: Metadata::new(),
            policy: None,
            state,
            input: None,
            input_id: None,
            slot: None,
            parent: None,
            on_parent: OnParent::default(),
            typed: PhantomData,
        }
    }

    /// An id of the caller's own, instead of a new one. An id that exists is refused.
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }

    /// An idempotency key: a start that is repeated with the same key gives the same session, in
    /// whatever state that is by then; the same key with another request is refused.
    ///
    /// Everything that is asked for makes the request: the first state and input, the policy,
    /// labels and metadata too. So repeat it from what was stored, not from what may have changed.
    pub fn key(mut self, key: StartKey) -> Self {
        self.key = Some(key);
        self
    }

    /// A unique name. It is refused while a session that has not ended holds it.
    pub fn name(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// A correlation id from outside.
    pub fn external_id(mut self, id: ExternalId) -> Self {
        self.external_id = Some(id);
        self
    }

    /// Indexed labels.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Free JSON.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// A policy of its own, instead of the supervisor's. It is stored with the session and cannot be
    /// changed later; the supervisor's is what the present worker was built with.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// An id for the first input.
    pub fn input_id(mut self, id: InputId) -> Self {
        self.input_id = Some(id);
        self
    }

    /// A place that was waited for, see `Supervisor::slot`.
    pub fn in_slot(mut self, slot: Slot) -> Self {
        self.slot = Some(slot);
        self
    }

    /// What is asked for, checked and encoded.
    pub(crate) fn into_request(
        self,
        core: &Core,
        session: SessionId,
        kind: &Kind,
        state_version: u32,
    ) -> Result<Request, StartError> {
        let start_key = self.key.clone().map(|key| StartRequest { key, digest: self.digest() });
        let state = self.state.map_err(|source| StartError::Invalid {
            session,
            kind: kind.clone(),
            source,
        })?;
        let input = match self.input {
            None => None,
            Some(Ok(payload)) => {
                let (id, payload) = (self.input_id, payload.into());
                Some(NewInput { id, payload, state_version, urgent: false })
            }
            Some(Err(source)) => return Err(SendError::Invalid { session, source }.into()),
        };
        if is_too_deep(&self.metadata) {
            return Err(SessionError::MetadataTooDeep { session }.into());
        }
        let record = SessionRecord {
            name: self.name,
            external_id: self.external_id,
            start_key,
            labels: self.labels,
            metadata: self.metadata,
            policy: self.policy,
            ..new_record(core, session, kind)
        };
        let snapshot = first_snapshot(core, &record, state_version, &state)?;
        Ok(Request { record, snapshot, input, place: self.slot.map(|slot| slot.0) })
    }

    /// What makes a repeated start recognisable: everything that was asked for.
    fn digest(&self) -> u64 {
        let asked = (
            self.kind.as_ref().ok().map(Kind::as_str),
            self.id,
            self.name.as_ref().map(Name::as_str),
            self.external_id.as_ref().map(ExternalId::as_str),
            &self.labels,
            &self.metadata,
            &self.policy,
            self.input_id.as_ref().map(InputId::as_str),
        );
        let mut digest = Fnv::default();
        digest.add(&serde_json::to_vec(&asked).unwrap_or_default());
        if let Some(parent) = self.parent {
            let child = ("child", parent, self.on_parent);
            digest.add(&serde_json::to_vec(&child).unwrap_or_default());
        }
        digest.add(self.state.as_deref().unwrap_or_default());
        if let Some(Ok(input)) = &self.input {
            digest.add(input);
        }
        digest.0
    }
}

impl<W> fmt::Debug for Start<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("key", &self.key)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A record in which nothing is chosen yet.
pub(crate) fn new_record(core: &Core, session: SessionId, kind: &Kind) -> SessionRecord {
    let moment = core.moment();
    SessionRecord {
        id: session,
        kind: kind.clone(),
        version: 0,
        writer: moment.worker,
        created_at: moment.wall,
        updated_at: moment.wall,
        phase: Phase::Pending { since: moment.supervised, until: None },
        name: None,
        external_id: None,
        start_key: None,
        labels: Labels::default(),
        metadata: Metadata::new(),
        policy: None,
        lineage: None,
        last_event: 0,
        trimmed: None,
        footprint: None,
        inbox: Inbox::default(),
        snapshots: Vec::new(),
        steps: None,
        usage: Usage::default(),
        runs: Runs::default(),
        failures: Failures::default(),
        recoveries: 0,
        abandoned: Vec::new(),
        ended: None,
        deleted: None,
        history: VecDeque::new(),
        family: None,
    }
}

/// The first state of a session in its envelope, unless it is larger than the policy allows.
pub(crate) fn first_snapshot(
    core: &Core,
    record: &SessionRecord,
    state_version: u32,
    state: &[u8],
) -> Result<Arc<[u8]>, StartError> {
    let session = record.id;
    let limit = core.policy_of(record).max_snapshot_bytes();
    let bytes = state.len() as u64;
    if bytes > limit {
        return Err(StartError::SnapshotTooLarge { session, bytes, limit });
    }
    let header = SnapshotHeader {
        kind: record.kind.clone(),
        state_version,
        session,
        run: None,
        sequence: 1,
        codec: Codec::Json,
    };
    Ok(SnapshotEnvelope::encode(&header, state).into())
}

/// The session that the same request has made before. Where the store fails, that is told of the session that is named here.
pub(crate) async fn made_before(
    core: &Core,
    session: SessionId,
    request: &StartRequest,
) -> Result<Option<SessionRecord>, StartError> {
    let Some(record) = holder(core, session, Key::Start(request.key.clone())).await? else {
        return Ok(None);
    };
    let session = record.id;
    if record.is_deleted() {
        return Err(StartError::Deleted { session });
    }
    if record.start_key.as_ref() != Some(request) {
        return Err(StartError::KeyReused { session, key: request.key.clone() });
    }
    Ok(Some(record))
}

/// The record of the session that a key leads to, also of a deleted one.
pub(crate) async fn holder(
    core: &Core,
    session: SessionId,
    key: Key,
) -> Result<Option<SessionRecord>, SessionError> {
    let read = |error| SessionError::read(session, error);
    let store = core.store().map_err(read)?;
    match store.find(key).await.map_err(read)? {
        Some(holder) => store.load(holder).await.map_err(read),
        None => Ok(None),
    }
}

/// What a start asks for.
pub(crate) struct Request {
    pub(crate) record: SessionRecord,
    /// The first state in its envelope.
    pub(crate) snapshot: Arc<[u8]>,
    pub(crate) input: Option<NewInput>,
    pub(crate) place: Option<Place>,
}

/// A place under `max_active` that is kept for a session to be started. Dropping it gives it
/// back.
#[derive(Debug)]
#[must_use = "the place is given back when the slot is dropped"]
pub struct Slot(pub(crate) Place);

/// FNV-1a: stored, so it must not change.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        // The length first, so that parts cannot run into one another.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
