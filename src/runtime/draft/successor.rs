//! How a session is rolled over: it ends, and its successor begins, in one draft.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    faults::{self, Bug},
    model::{
        event::{Cause, Lifecycle},
        inbox::{self, Inbox, MovedInput},
        lineage::Links,
        record::{Failures, Runs, SessionRecord, StoredInput},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        state::{InvalidTransition, Phase, Trigger},
        step::{StoredStep, Turn},
        usage::Usage,
    },
    policy::Policy,
    runtime::op::NewSuccessor,
    workload::rollover::Unread,
};

use super::Draft;

/// What of the work of a session goes on in its successor.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// The inputs that it has not worked off, in order.
    pub(crate) inputs: Vec<StoredInput>,
    /// What is known of the steps of their turns; later word on one comes later. Those of other turns stay behind.
    pub(crate) steps: Vec<StoredStep>,
}

impl Draft {
    /// Ends the session for a successor, which inherits what is not asked to be otherwise. The `policy` is the one that
    /// holds for the session; `moves` is what it has not worked off.
    pub(crate) fn roll_over(
        &mut self,
        asked: &NewSuccessor,
        moves: &Moves,
        policy: &Policy,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Complete, Phase::Completed, Cause::RolledOver, None)?;
        let links = Links { transitioned_to: Some(asked.id), ..self.record.links() };
        self.record.lineage = Some(Box::new(links));
        let left = self.record.inbox.waiting();
        self.log(Lifecycle::TransitionedTo { session: asked.id, unread: left });
        self.successor = Some(Box::new(self.succeeded_by(asked, moves, policy)));
        Ok(())
    }

    fn succeeded_by(&self, asked: &NewSuccessor, moves: &Moves, policy: &Policy) -> Self {
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
            family: old.family.as_ref().and_then(|family| family.of_successor()).map(Box::new),
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
            Unread::Move if !faults::planted(Bug::LeaveUnreadInputs) => moves.inputs.as_slice(),
            Unread::Move | Unread::Leave => &[],
        };
        let inputs = moved.len() as u64;
        successor.log(Lifecycle::TransitionedFrom { session: old.id, inputs });
        let mut urgent: Vec<u64> = old.inbox.urgent().iter().map(|urgent| urgent.input).collect();
        if faults::planted(Bug::MoveAsOrdinary) {
            urgent.clear();
        }
        successor.take_over(moved, &urgent);
        for (input, moved) in (1..).zip(moved) {
            successor.go_on_with(input, old, moved.sequence, &moves.steps);
        }
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

    /// Goes on with an input that moved from a session, if it was begun there: with the attempts at it, and with the steps of its turn.
    fn go_on_with(&mut self, input: u64, old: &SessionRecord, was: u64, steps: &[StoredStep]) {
        let (before, turn) = (Turn::of_input(was), Turn::of_input(input));
        let attempts = old.inbox.attempts(was);
        let mut steps = steps.iter().filter(|step| step.turn == before).peekable();
        let origin = inbox::origin(&old.inbox.moved, before);
        if attempts == 0 && steps.peek().is_none() && origin.is_none() {
            return;
        }
        let (from, first) = origin.unwrap_or((old.id, before));
        self.record.inbox.go_on_with(MovedInput { input, from, was: first.input }, attempts);
        for step in steps.filter(|_| !faults::planted(Bug::LeaveSteps)) {
            self.take_step(StoredStep { turn, ..step.clone() });
        }
    }
}
