//! How a draft takes inputs and states.

use std::sync::Arc;

use crate::runtime::error::SendError;
use crate::{
    faults::{self, Bug},
    model::{
        event::Lifecycle,
        ids::RunId,
        record::{InHand, Inbox, SessionRecord, SnapshotRef, StoredInput},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        step::StoredStep,
    },
    policy::Policy,
};

use super::{Covered, Draft};
use crate::runtime::op::{Accepted, NewInput, TakenIds};

impl Draft {
    /// Accepts an input, or says why not.
    pub(crate) fn accept(
        &mut self,
        input: &NewInput,
        taken: &TakenIds,
        policy: &Policy,
    ) -> Result<Accepted, SendError> {
        let session = self.record.id;
        if let Some(id) = &input.id {
            let known = taken.get(id).copied().or_else(|| {
                let same = self.inputs.iter().find(|new| new.id.as_ref() == Some(id))?;
                Some((same.sequence, crc32fast::hash(&same.payload)))
            });
            if let Some((sequence, checksum)) = known {
                return if checksum == crc32fast::hash(&input.payload) {
                    Ok(Accepted { sequence, repeated: true })
                } else {
                    Err(SendError::InputIdReused { session, id: id.clone(), sequence })
                };
            }
        }
        let state = self.record.state();
        if !state.accepts_input() {
            return Err(SendError::NotAccepting { session, state });
        }
        let bytes = input.payload.len() as u64;
        let limit = policy.max_input_bytes();
        if bytes > limit {
            return Err(SendError::TooLarge { session, bytes, limit });
        }
        let Inbox { accepted, waiting_bytes, .. } = self.record.inbox;
        let waiting = self.record.inbox.waiting();
        if waiting >= u64::from(policy.max_inputs()) || waiting_bytes + bytes > limit {
            return Err(SendError::Full { session, inputs: waiting, bytes: waiting_bytes });
        }
        let sequence = accepted + 1;
        self.changed = true;
        self.record.inbox.accepted = sequence;
        self.record.inbox.waiting_bytes = waiting_bytes + bytes;
        self.inputs.push(StoredInput {
            sequence,
            id: input.id.clone(),
            at: self.moment.wall,
            state_version: input.state_version,
            payload: Arc::clone(&input.payload),
        });
        Ok(Accepted { sequence, repeated: false })
    }

    /// Gives the next input to the run, and counts the attempt. `None` if there is none.
    pub(crate) fn take_next(&mut self) -> Option<InHand> {
        let next = self.record.inbox.consumed + 1;
        if next > self.record.inbox.accepted {
            return None;
        }
        let attempt = match self.record.inbox.in_hand {
            Some(InHand { input, attempt }) if input == next => attempt.saturating_add(1),
            Some(_) | None => 1,
        };
        let in_hand = InHand { input: next, attempt };
        self.changed = true;
        self.record.inbox.in_hand = Some(in_hand);
        Some(in_hand)
    }

    /// Takes back an input that was given out and never reached the run.
    pub(crate) fn give_back(&mut self) {
        if faults::planted(Bug::CountUntakenAttempt) {
            return;
        }
        if let Some(InHand { input, attempt }) = self.record.inbox.in_hand.take() {
            self.changed = true;
            if attempt > 1 {
                self.record.inbox.in_hand = Some(InHand { input, attempt: attempt - 1 });
            }
        }
    }

    /// Keeps a state, and with it the effect of the input that it covers.
    pub(crate) fn save(
        &mut self,
        run: RunId,
        state_version: u32,
        payload: &[u8],
        covers: Covered,
    ) -> SnapshotRef {
        let sequence = self.record.snapshots.first().map_or(0, |newest| newest.sequence) + 1;
        let mut interlude = self.record.snapshot().map_or(0, |newest| newest.interlude);
        match covers {
            Covered::Input { input, bytes } if !faults::planted(Bug::SaveWithoutItsInput) => {
                self.record.inbox.consumed = self.record.inbox.consumed.max(input);
                self.record.inbox.waiting_bytes =
                    self.record.inbox.waiting_bytes.saturating_sub(bytes);
                self.record.inbox.in_hand = None;
                interlude = 0;
            }
            Covered::Interlude => interlude += 1,
            Covered::Input { .. } | Covered::Nothing => {}
        }
        if faults::planted(Bug::ConsumeWithoutItsState)
            && let Some(newest) = self.record.snapshot().copied()
        {
            self.changed = true;
            return newest;
        }
        let header = SnapshotHeader {
            kind: self.record.kind.clone(),
            state_version,
            session: self.record.id,
            run: Some(run),
            sequence,
            codec: Codec::Json,
        };
        let bytes = SnapshotEnvelope::encode(&header, payload);
        let snapshot = SnapshotRef {
            sequence,
            consumed: self.record.inbox.consumed,
            interlude,
            bytes: bytes.len() as u64,
            at: self.moment.wall,
        };
        // Two snapshots in one draft: the first of them was never stored.
        if self.snapshot.is_some() {
            self.record.snapshots.remove(0);
        }
        self.record.snapshots.insert(0, snapshot);
        self.record.snapshots.truncate(SessionRecord::KEPT_SNAPSHOTS);
        self.snapshot = Some(bytes.into());
        if !faults::planted(Bug::SuspectAfterCheckpoint) {
            self.record.recoveries = 0;
        }
        self.record.failures.without_checkpoint = 0;
        self.changed = true;
        snapshot
    }

    /// Takes how far a step came.
    pub(crate) fn take_step(&mut self, step: StoredStep) {
        self.changed = true;
        self.record.steps = self.record.steps.max(Some(step.turn));
        let is_same = |other: &StoredStep| other.turn == step.turn && other.key == step.key;
        self.steps.retain(|other| !is_same(other));
        self.steps.push(step);
    }

    /// Leaves out the steps that no kept snapshot needs.
    pub(super) fn forget_covered_steps(&mut self) {
        let covered = self.record.steps_covered();
        self.record.steps = self.record.steps.filter(|last| *last > covered);
        self.steps.retain(|step| step.turn > covered);
    }

    /// Says what the inputs that wait weigh.
    pub(crate) fn weigh_inbox(&mut self, bytes: u64) {
        self.changed |= self.record.inbox.waiting_bytes != bytes;
        self.record.inbox.waiting_bytes = bytes;
    }

    /// Goes back to the older snapshot, whose inputs are kept and will be given out again: they
    /// are weighed when they are loaded. `false` if there is none.
    pub(crate) fn fall_back(&mut self, reason: String) -> bool {
        let [newer, older] = self.record.snapshots.as_slice() else {
            return false;
        };
        let (newer, older) = (*newer, *older);
        self.record.snapshots = vec![older];
        self.record.inbox.consumed = older.consumed;
        self.record.inbox.in_hand = None;
        self.log(Lifecycle::SnapshotFellBack { from: newer.sequence, to: older.sequence, reason });
        true
    }
}
