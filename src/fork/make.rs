//! How a fork is made: read, let the workload copy, commit.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use tracing::Instrument;

use super::{
    Asked, ForkError,
    parent::{Parent, Wanted},
};
use crate::{
    faults::{self, Bug},
    model::{
        ids::SessionId,
        labels::is_too_deep,
        lineage::Forked,
        record::{SessionRecord, StartRequest},
        state::PauseCause,
    },
    runtime::{
        core::Core,
        error::{SendError, SessionError, StartError},
        op::{NewFork, NewInput, NewSession, Op, Place, Started},
    },
    session::{self, Session},
    start::{first_snapshot, holder, made_before, new_record},
    store::Key,
    supervisor::Origin,
    telemetry,
    workload::{
        erased::NotForked,
        panics::{guard, guard_until},
        threads::{CodeOwner, UserCode, Watched},
    },
};

/// Forks a session. It is a task of its own, so that dropping the future of a caller withdraws nothing.
pub(super) async fn fork(
    core: &Arc<Core>,
    parent: SessionId,
    asked: Asked,
) -> Result<(Session, Origin), ForkError> {
    match core.runtime.spawn(make(Arc::clone(core), parent, asked)).await {
        Ok(forked) => forked,
        // The runtime is going down with the task.
        Err(_) => Err(SessionError::OutcomeUnknown { session: parent }.into()),
    }
}

async fn make(
    core: Arc<Core>,
    parent: SessionId,
    asked: Asked,
) -> Result<(Session, Origin), ForkError> {
    let prepared = tokio::select! {
        biased;
        () = core.draining() => {
            return Err(SessionError::ShuttingDown { session: parent }.into());
        }
        prepared = prepare(&core, parent, asked) => prepared?,
    };
    let mut new = match prepared {
        Prepared::Repeated(record) => {
            return Ok((Session::new(core, record.id, record.kind), Origin::Repeated));
        }
        Prepared::New(new) => new,
    };
    let (id, kind) = (new.record.id, new.record.kind.clone());
    let started = session::ask(&core, id, |reply| {
        Op::Start(Box::new(NewSession {
            record: new.record.clone(),
            snapshot: Arc::clone(&new.snapshot),
            fork: Some(Box::new(new.fork.clone())),
            input: new.input.clone(),
            place: new.place.take(),
            has_new_id: new.has_new_id,
            reply,
        }))
    });
    Ok(match started.await? {
        Started::New => (Session::new(core, id, kind), Origin::New),
        Started::Repeated(holder) => (Session::new(core, holder, kind), Origin::Repeated),
    })
}

/// A fork that only has to be committed, or one that was made before.
enum Prepared {
    Repeated(Box<SessionRecord>),
    New(Box<New>),
}

/// A fork that only has to be committed.
struct New {
    record: SessionRecord,
    snapshot: Arc<[u8]>,
    fork: NewFork,
    input: Option<NewInput>,
    place: Option<Place>,
    has_new_id: bool,
}

/// Finds out whatever can be said against the fork, and only then lets the workload copy. Stores nothing.
async fn prepare(core: &Core, parent: SessionId, asked: Asked) -> Result<Prepared, ForkError> {
    let id = asked.id.unwrap_or_else(|| core.clock.session_id());
    // First of all: what cannot be encoded cannot be told from another request.
    let payload = match &asked.input {
        None => None,
        Some(Ok(payload)) => Some(payload.as_slice()),
        Some(Err(source)) => {
            let source = Arc::clone(source);
            return Err(SendError::Invalid { session: id, source }.into());
        }
    };
    let start_key = asked.key.clone().map(|key| StartRequest { key, digest: asked.digest(parent) });
    if let Some(request) = &start_key
        && !faults::planted(Bug::ForkAgain)
        && let Some(record) = made_before(core, parent, request).await?
    {
        return Ok(Prepared::Repeated(Box::new(record)));
    }
    let mut wanted = Wanted { at: asked.at, undecodable: None, inputs: asked.copy_inputs };
    let mut found = Parent::read(core, parent, &wanted).await?;
    let kind = found.record.kind.clone();
    if asked.is_typed.is_some_and(|is_typed| !is_typed(&core.registry, &kind)) {
        return Err(SessionError::WrongKind { session: parent, found: kind }.into());
    }
    let input =
        payload.map(|payload| first_input(core, id, &asked, payload, &found)).transpose()?;
    let inherited = found.record.clone();
    let record = SessionRecord {
        name: asked.name,
        external_id: asked.external_id,
        start_key,
        labels: asked.labels.unwrap_or(inherited.labels),
        metadata: asked.metadata.unwrap_or(inherited.metadata),
        policy: asked.policy.or(inherited.policy),
        ..new_record(core, id, &kind)
    };
    if is_too_deep(&record.metadata) {
        return Err(SessionError::MetadataTooDeep { session: id }.into());
    }
    if let Some(record) = in_its_way(core, parent, &record, asked.id.is_some()).await? {
        return Ok(Prepared::Repeated(record));
    }
    let state = loop {
        match copied(core, id, asked.within, &found).await {
            // An older one may serve, as it does for a run.
            Err(ForkError::Session(SessionError::Undecodable { source, .. }))
                if asked.at.is_none()
                    && found.snapshot.header.state_version == found.workload.state_version() =>
            {
                let reason = format!("the state cannot be decoded: {source}");
                wanted.undecodable = Some((found.from.snapshot, reason));
                found = Parent::read(core, parent, &wanted).await?;
            }
            copied => break copied?,
        }
    };
    let snapshot = first_snapshot(core, &record, found.workload.state_version(), &state)?;
    let usage = asked.copy_usage.then_some(found.record.usage);
    let sleep = match found.record.phase.pause_cause() {
        Some(PauseCause::Asleep(sleep)) if asked.copy_alarm => Some(sleep),
        Some(_) | None => None,
    };
    let forked = Forked { usage, fell_back: found.fell_back, ..Forked::new(found.from) };
    Ok(Prepared::New(Box::new(New {
        record,
        snapshot,
        fork: NewFork { forked, inputs: found.inputs, urgent: found.urgent, sleep },
        input,
        place: asked.slot.map(|slot| slot.0),
        has_new_id: asked.id.is_none(),
    })))
}

/// The first input of its own, where it is one of the kind.
fn first_input(
    core: &Core,
    fork: SessionId,
    asked: &Asked,
    payload: &[u8],
    parent: &Parent,
) -> Result<NewInput, ForkError> {
    if asked.is_typed.is_none() {
        let kind = parent.record.kind.clone();
        let owner = CodeOwner::new(parent.record.id, None, kind, UserCode::Decode);
        let _decoding = core.threads.enter(&owner);
        let checked = guard(|| parent.workload.check_input(payload));
        let checked = checked.unwrap_or_else(|message| Err(message.into()));
        checked.map_err(|error| SendError::invalid(fork, error))?;
    }
    let (id, state_version) = (asked.input_id.clone(), parent.workload.state_version());
    Ok(NewInput { id, payload: payload.into(), state_version, urgent: false })
}

/// Finds out whether the id and the name are free, as far as it can be known before the commit: so that nothing is
/// copied in vain. Gives the session that has them, where the same request has made it meanwhile.
async fn in_its_way(
    core: &Core,
    parent: SessionId,
    record: &SessionRecord,
    has_own_id: bool,
) -> Result<Option<Box<SessionRecord>>, ForkError> {
    let session = record.id;
    let is_the_same =
        |found: &SessionRecord| found.start_key.is_some() && found.start_key == record.start_key;
    if has_own_id {
        let read = |error| SessionError::read(session, error);
        let store = core.store().map_err(read)?;
        match store.load(session).await.map_err(read)? {
            Some(found) if found.is_deleted() => {
                return Err(StartError::Deleted { session }.into());
            }
            Some(found) if is_the_same(&found) => return Ok(Some(Box::new(found))),
            Some(_) => return Err(StartError::Exists { session }.into()),
            None => {}
        }
    }
    let Some(name) = &record.name else {
        return Ok(None);
    };
    match holder(core, parent, Key::Name(name.clone())).await? {
        Some(found) if is_the_same(&found) => Ok(Some(Box::new(found))),
        Some(found) if !found.state().is_terminal() && found.name.as_ref() == Some(name) => {
            let (name, holder) = (name.clone(), found.id);
            Err(StartError::NameTaken { session, name, holder }.into())
        }
        Some(_) | None => Ok(None),
    }
}

/// Lets the workload copy what is outside, on the runtime of the workloads, and gives the state of the fork. A workload
/// that blocks its thread is not waited for.
async fn copied(
    core: &Core,
    fork: SessionId,
    limit: Duration,
    parent: &Parent,
) -> Result<Vec<u8>, ForkError> {
    let (session, kind) = (parent.record.id, parent.record.kind.clone());
    let owner = CodeOwner::new(session, None, kind.clone(), UserCode::OnFork);
    let workload = Arc::clone(&parent.workload);
    let copying = workload.fork(session, fork, Arc::clone(&owner), Arc::clone(&parent.snapshot));
    // Where this is dropped, the workload is told to stop.
    let (_wanted, not_wanted) = oneshot::channel::<()>();
    let (done, state) = oneshot::channel();
    let task = async move {
        if let Some(copied) = guard_until(copying, not_wanted).await {
            // Nobody may want it any more.
            let _ = done.send(copied);
        }
    };
    let task = task.instrument(telemetry::fork_span(session, fork, kind.as_str()));
    core.workloads.spawn(Watched::new(&core.threads, &owner, task));
    match tokio::time::timeout(limit, state).await {
        Ok(Ok(Ok(Ok(state)))) => Ok(state),
        Ok(Ok(Ok(Err(why)))) => Err(match why {
            NotForked::Undecodable(reason) => SessionError::undecodable(session, reason).into(),
            NotForked::Refused(reason) => ForkError::Refused { session, fork, reason },
            NotForked::Panicked(message) => ForkError::Panicked { session, fork, message },
            NotForked::Unencodable(error) => {
                StartError::Invalid { session: fork, kind, source: Arc::from(error) }.into()
            }
        }),
        Ok(Ok(Err(message))) => Err(ForkError::Panicked { session, fork, message }),
        // The runtime of the workloads is gone, and the task with it.
        Ok(Err(_)) => Err(SessionError::ShuttingDown { session }.into()),
        Err(_) => Err(ForkError::TookTooLong { session, fork, limit }),
    }
}
