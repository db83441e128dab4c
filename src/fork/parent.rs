//! What a fork takes from the session that it is made of.

use std::sync::Arc;

use super::ForkError;
use crate::{
    faults::{self, Bug},
    model::{
        ids::SessionId,
        lineage::ForkedFrom,
        record::{SessionRecord, SnapshotRef, StoredInput},
        snapshot::SnapshotEnvelope,
    },
    runtime::{core::Core, error::SessionError},
    store::{Store, StoreError},
    workload::erased::ErasedWorkload,
};

/// How many inputs are read at a time.
const PAGE: usize = 256;

/// Which snapshot is wanted, and what goes with it.
pub(super) struct Wanted {
    /// This one and no other.
    pub(super) at: Option<u64>,
    /// A snapshot that turned out not to decode, and why. Where any may serve, it is an older one.
    pub(super) undecodable: Option<(u64, String)>,
    /// Whether the inputs are wanted that it lacks.
    pub(super) inputs: bool,
}

/// A session that is to be forked, as it was committed.
pub(super) struct Parent {
    pub(super) record: SessionRecord,
    pub(super) workload: Arc<dyn ErasedWorkload>,
    pub(super) from: ForkedFrom,
    pub(super) snapshot: Arc<SnapshotEnvelope>,
    /// The inputs that the snapshot lacks, where they are wanted.
    pub(super) inputs: Vec<StoredInput>,
    /// The numbers of those that are urgent.
    pub(super) urgent: Vec<u64>,
    /// Why a newer snapshot was not taken.
    pub(super) fell_back: Option<String>,
}

impl Parent {
    /// Reads it, and changes nothing. What is read belongs together, though the session may be running.
    pub(super) async fn read(
        core: &Core,
        session: SessionId,
        wanted: &Wanted,
    ) -> Result<Self, ForkError> {
        let read = |error| SessionError::read(session, error);
        let store = core.store().map_err(read)?;
        let load = async || match core.load(session).await {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(SessionError::NotFound { session }),
            Err(error) => Err(read(error)),
        };
        let mut record = load().await?;
        loop {
            let found = Self::find(core, &*store, &record, wanted).await;
            let is_sound = match &found {
                Ok(parent) => parent.fell_back.is_none(),
                // What was to be read may have been replaced while it was.
                Err(ForkError::Session(SessionError::Unreadable { .. })) => false,
                Err(_) => true,
            };
            if is_sound {
                return found;
            }
            let now = load().await?;
            if now.snapshots == record.snapshots {
                return found;
            }
            record = now;
        }
    }

    async fn find(
        core: &Core,
        store: &dyn Store,
        record: &SessionRecord,
        wanted: &Wanted,
    ) -> Result<Self, ForkError> {
        let session = record.id;
        let Some(workload) = core.registry.get(&record.kind) else {
            return Err(SessionError::NoWorkload { session, kind: record.kind.clone() }.into());
        };
        if let Some(snapshot) = wanted.at
            && !record.snapshots.iter().any(|kept| kept.sequence == snapshot)
        {
            let kept = record.snapshots.iter().map(|kept| kept.sequence).collect();
            return Err(ForkError::NotKept { session, snapshot, kept });
        }
        let mut fell_back = None;
        for kept in &record.snapshots {
            if wanted.at.is_some_and(|at| at != kept.sequence) {
                continue;
            }
            let snapshot = match &wanted.undecodable {
                Some((from, reason)) if kept.sequence >= *from => Err(reason.clone()),
                Some(_) | None => snapshot(store, session, kept).await?,
            };
            let snapshot = match snapshot {
                Ok(snapshot) => snapshot,
                Err(reason) => {
                    fell_back.get_or_insert(reason);
                    continue;
                }
            };
            let (found, supported) = (snapshot.header.state_version, workload.state_version());
            if found > supported {
                return Err(SessionError::NewerState { session, found, supported }.into());
            }
            let inputs: Vec<StoredInput> =
                if wanted.inputs { inputs(store, record, kept).await? } else { Vec::new() };
            return Ok(Self {
                record: record.clone(),
                workload: Arc::clone(workload),
                from: ForkedFrom { session, snapshot: kept.sequence },
                snapshot: Arc::new(snapshot),
                urgent: inputs
                    .iter()
                    .map(|input| input.sequence)
                    .filter(|input| record.inbox.was_urgent(*input))
                    .collect(),
                inputs,
                fell_back,
            });
        }
        let reason = fell_back.unwrap_or_else(|| "there is none".to_owned());
        Err(SessionError::Unreadable { session, reason }.into())
    }
}

/// A kept snapshot, or what is wrong with it.
async fn snapshot(
    store: &dyn Store,
    session: SessionId,
    kept: &SnapshotRef,
) -> Result<Result<SnapshotEnvelope, String>, SessionError> {
    match store.snapshot(session, kept.sequence).await {
        Ok(Some(bytes)) => Ok(SnapshotEnvelope::decode(&bytes).map_err(|error| error.to_string())),
        Ok(None) => Ok(Err("it is missing".to_owned())),
        Err(StoreError::Damaged { reason, .. }) => Ok(Err(reason)),
        Err(error) => Err(SessionError::read(session, error)),
    }
}

/// The inputs that had no effect on a snapshot, as far as the record knows them.
async fn inputs(
    store: &dyn Store,
    record: &SessionRecord,
    kept: &SnapshotRef,
) -> Result<Vec<StoredInput>, SessionError> {
    let session = record.id;
    let unreadable = |reason| SessionError::Unreadable { session, reason };
    let mut next = kept.consumed + 1;
    if faults::planted(Bug::CopyTooFewInputs) {
        next = record.snapshot().map_or(next, |newest| newest.consumed + 1);
    }
    let mut inputs: Vec<StoredInput> = Vec::new();
    while next <= record.inbox.accepted {
        let page = match store.inputs(session, next - 1, PAGE).await {
            Ok(page) => page,
            Err(StoreError::Damaged { what, reason, .. }) => {
                return Err(unreadable(format!("an {what} after it is damaged: {reason}")));
            }
            Err(error) => return Err(SessionError::read(session, error)),
        };
        let before = next;
        for input in page {
            // What was accepted since the record was read is left to the session itself.
            if input.sequence == next && next <= record.inbox.accepted {
                next += 1;
                if !record.covers(kept, input.sequence) {
                    inputs.push(input);
                }
            }
        }
        if next == before {
            return Err(unreadable(format!("input {next} after it is missing")));
        }
    }
    Ok(inputs)
}
