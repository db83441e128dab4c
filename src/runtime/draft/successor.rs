//! How a session is rolled over: it ends, and its successor begins, in one draft.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, Lifecycle},
        inbox::Inbox,
        lineage::Links,
        record::{Failures, Runs, SessionRecord, StoredInput},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        state::{InvalidTransition, Phase, Trigger},
        usage::Usage,
    },
    policy::Policy,
    runtime::op::NewSuccessor,
    workload::rollover::Unread,
};

use super::Draft;

impl Draft {
    /// Ends the session for a successor, which inherits what is not asked to be otherwise. The `policy` is the one that
    /// holds for the session; `unread` are the inputs that it has not worked off, in order.
    pub(crate) fn roll_over(
        &mut self,
        asked: &NewSuccessor,
        unread: &[StoredInput],
        policy: &Policy,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Complete, Phase::Completed, Cause::RolledOver, None)?;
        let links = Links { transitioned_to: Some(asked.id), ..self.record.links() };
        self.record.lineage = Some(Box::new(links));
        let left = self.record.inbox.waiting();
        self.log(Lifecycle::TransitionedTo { session: asked.id, unread: left });
        self.successor = Some(Box::new(self.succeeded_by(asked, unread, policy)));
        Ok(())
    }

    fn succeeded_by(&self, asked: &NewSuccessor, unread: &[StoredInput], policy: &Policy) -> Self {
        let next = &asked.next;
        let old = &self.record;
        let record = SessionRecord {
            id: asked.id,
            kind: old.kind.clone(),
            version: 0,
            writer: self.moment.worker,
            created_at: self.moment.wall,
            updated_at: self.moment.wall,
            phase: Phase::Pending { since: self.moment.supervised, until: None },
            name: next.name.clone().or_else(|| old.name.clone()),
            external_id: None,
            start_key: asked.start_key.clone(),
            labels: next.labels.clone().unwrap_or_else(|| old.labels.clone()),
            metadata: next.metadata.clone().unwrap_or_else(|| old.metadata.clone()),
            policy: next.policy.clone().or_else(|| old.policy.clone()),
            ended: None,
            deleted: None,
            lineage: Some(Box::new(Links::of_successor(old.id, &old.links()))),
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
            history: VecDeque::new(),
            family: None,
        };
        let header = SnapshotHeader {
            kind: record.kind.clone(),
            state_version: next.state_version,
            session: record.id,
            run: None,
            sequence: 1,
            codec: Codec::Json,
        };
        let snapshot = SnapshotEnvelope::encode(&header, &next.state).into();
        let mut successor = Self::new(record, snapshot, self.moment);
        let moved = match next.unread {
            Unread::Move if !faults::planted(Bug::LeaveUnreadInputs) => unread,
            Unread::Move | Unread::Leave => &[],
        };
        let inputs = moved.len() as u64;
        successor.log(Lifecycle::TransitionedFrom { session: old.id, inputs });
        let mut urgent: Vec<u64> = old.inbox.urgent().iter().map(|urgent| urgent.input).collect();
        if faults::planted(Bug::MoveAsOrdinary) {
            urgent.clear();
        }
        successor.take_over(moved, &urgent);
        if let Some(payload) = &next.input {
            let first = StoredInput {
                sequence: 1,
                id: None,
                at: self.moment.wall,
                state_version: next.state_version,
                payload: Arc::clone(payload),
            };
            successor.take_over(&[first], &[]);
        }
        successor.wait_for_place(next.policy(policy));
        successor
    }
}
