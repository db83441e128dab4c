//! What a run needs from the store.

use std::sync::Arc;

use super::Prepared;
use crate::runtime::{core::Core, draft::Draft, error::SessionError};
use crate::{
    faults::{self, Bug},
    model::{
        ids::SessionId,
        record::{SessionRecord, StoredInput},
        snapshot::{SnapshotEnvelope, SnapshotError},
        step::{StoredStep, Turn},
    },
    store::StoreError,
    workload::erased::ErasedWorkload,
};

/// What a run needs, as far as it was loaded.
pub(super) struct Loaded {
    workload: Arc<dyn ErasedWorkload>,
    snapshot: Arc<SnapshotEnvelope>,
    inputs: Vec<StoredInput>,
    /// The steps of turns that the snapshot does not cover.
    steps: Vec<StoredStep>,
    /// Why the newest snapshot could not be used.
    fell_back: Option<String>,
}

impl Loaded {
    /// Loads what a run of this session needs. Nothing is changed.
    ///
    /// Only the envelope is looked at; the user's code meets the state in the run itself.
    pub(super) async fn load(core: &Core, record: &SessionRecord) -> Result<Self, SessionError> {
        let session = record.id;
        let Some(workload) = core.registry.get(&record.kind) else {
            return Err(SessionError::NoWorkload { session, kind: record.kind.clone() });
        };
        let read = |error| {
            if let StoreError::Damaged { what, reason, .. } = error {
                // That lasts, whatever becomes of the store.
                let reason = format!("what came after it is damaged ({what}): {reason}");
                return SessionError::Unreadable { session, reason };
            }
            SessionError::read(session, error)
        };
        let store = core.store().map_err(read)?;
        let mut trouble: Option<String> = None;
        for kept in &record.snapshots {
            let envelope = match store.snapshot(session, kept.sequence).await {
                Ok(Some(bytes)) => SnapshotEnvelope::decode(&bytes).map_err(|e| e.to_string()),
                Ok(None) => Err("it is missing".to_owned()),
                Err(StoreError::Damaged { reason, .. }) => Err(reason),
                Err(error) => return Err(read(error)),
            };
            match envelope {
                Ok(envelope) => {
                    let found = envelope.header.state_version;
                    let supported = workload.state_version();
                    if found > supported {
                        return Err(SessionError::NewerState { session, found, supported });
                    }
                    let mut inputs = if record.inbox.accepted > kept.consumed {
                        load_inputs(&*store, session, kept.consumed).await.map_err(read)?
                    } else {
                        Vec::new()
                    };
                    inputs.retain(|input| !record.covers(kept, input.sequence));
                    let steps = load_steps(&*store, record, kept.turn()).await.map_err(read)?;
                    return Ok(Self {
                        workload: Arc::clone(workload),
                        snapshot: Arc::new(envelope),
                        inputs,
                        steps,
                        fell_back: trouble,
                    });
                }
                Err(reason) if faults::planted(Bug::IgnoreOlderSnapshot) => {
                    return Err(SessionError::Unreadable { session, reason });
                }
                Err(reason) => {
                    trouble.get_or_insert(reason);
                }
            }
        }
        let reason = trouble.unwrap_or_else(|| "there is none".to_owned());
        Err(SessionError::Unreadable { session, reason })
    }

    /// What a new session's run needs, which is not in the store yet.
    pub(super) fn new(
        workload: Arc<dyn ErasedWorkload>,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let snapshot = Arc::new(SnapshotEnvelope::decode(snapshot)?);
        Ok(Self { workload, snapshot, inputs: Vec::new(), steps: Vec::new(), fell_back: None })
    }

    /// Tells the draft if the older snapshot serves, and what the inputs weigh that wait.
    pub(super) fn apply(&self, draft: &mut Draft) {
        if let Some(reason) = &self.fell_back {
            draft.fall_back(reason.clone());
        }
        let waiting = self.inputs.iter().chain(draft.inputs());
        let bytes = waiting.map(|input| input.payload.len() as u64).sum();
        draft.weigh_inbox(bytes);
    }

    pub(super) fn prepared(self, record: &Arc<SessionRecord>, new: Vec<StoredInput>) -> Prepared {
        let mut inputs = self.inputs;
        inputs.extend(new);
        Prepared {
            record: Arc::clone(record),
            workload: self.workload,
            snapshot: self.snapshot,
            inputs,
            steps: self.steps,
        }
    }
}

pub(super) async fn load_inputs(
    store: &dyn crate::store::Store,
    session: SessionId,
    after: u64,
) -> Result<Vec<StoredInput>, StoreError> {
    const PAGE: usize = 256;
    let mut inputs: Vec<StoredInput> = Vec::new();
    loop {
        let from = inputs.last().map_or(after, |last| last.sequence);
        let page = store.inputs(session, from, PAGE).await?;
        let last = page.len() < PAGE;
        inputs.extend(page);
        if last {
            return Ok(inputs);
        }
    }
}

/// The steps of the turns after one. A step that is missing must not be taken for one that was
/// never begun.
pub(super) async fn load_steps(
    store: &dyn crate::store::Store,
    record: &SessionRecord,
    after: Turn,
) -> Result<Vec<StoredStep>, StoreError> {
    // Most sessions have none, and then there is nothing to read.
    let Some(last) = record.steps.filter(|last| *last > after) else { return Ok(Vec::new()) };
    let session = record.id;
    let steps = store.steps(session, after).await?;
    if steps.last().is_none_or(|step| step.turn < last) {
        let reason = format!("the steps of turn {last} are missing");
        return Err(StoreError::Damaged { session, what: "step", reason });
    }
    Ok(steps)
}
