//! How a draft takes inputs and states.

use std::sync::Arc;

use crate::runtime::error::SendError;
use crate::{
    faults::{self, Bug},
    model::{
        event::{Fact, Lifecycle},
        ids::RunId,
        inbox::{InHand, OnInterrupt},
        record::{SessionRecord, SnapshotRef, StoredInput},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        step::{EndedTurn, StoredStep, Turn},
    },
    policy::Policy,
};

use super::{Covered, Covers, Draft};
use crate::runtime::op::{Accepted, NewInput, TakenIds};

/// How large an urgent input may be: with so few of them, all that wait weigh little.
const URGENT_BYTES: u64 = 64 << 10;

impl Draft {
    /// Accepts an input, or says why not.
    pub(crate) fn accept(
        &mut self,
        input: &NewInput,
        taken: &TakenIds,
        policy: &Policy,
    ) -> Result<Accepted, SendError> {
        let bytes = input.payload.len() as u64;
        self.accept_if(input, taken, |draft| draft.has_room(bytes, input.urgent, policy))
    }

    /// Accepts the input that a new session begins with. Others may be there already, which it takes over from another
    /// session, so it need not have room beside them: nobody could make some.
    pub(crate) fn accept_first(
        &mut self,
        input: &NewInput,
        taken: &TakenIds,
        policy: &Policy,
    ) -> Result<Accepted, SendError> {
        let bytes = input.payload.len() as u64;
        self.accept_if(input, taken, |draft| draft.may_be(bytes, policy))
    }

    fn accept_if(
        &mut self,
        input: &NewInput,
        taken: &TakenIds,
        fits: impl FnOnce(&Self) -> Result<(), SendError>,
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
        if let Some(successor) = self.record.links().transitioned_to {
            return Err(SendError::RolledOver { session, successor });
        }
        if !state.accepts_input() {
            return Err(SendError::NotAccepting { session, state });
        }
        fits(self)?;
        let sequence = self.record.inbox.accept(input.payload.len() as u64, input.urgent);
        self.changed = true;
        self.inputs.push(StoredInput {
            sequence,
            id: input.id.clone(),
            at: self.moment.wall,
            state_version: input.state_version,
            payload: Arc::clone(&input.payload),
        });
        Ok(Accepted { sequence, repeated: false })
    }

    /// Whether there is room for an input. Urgent ones have their own, also where the inbox is full.
    fn has_room(&self, bytes: u64, is_urgent: bool, policy: &Policy) -> Result<(), SendError> {
        let session = self.record.id;
        let inbox = &self.record.inbox;
        let urgent = inbox.waiting_urgent();
        if is_urgent {
            if bytes > URGENT_BYTES {
                return Err(SendError::UrgentTooLarge { session, bytes, limit: URGENT_BYTES });
            }
            if urgent >= u64::from(policy.max_urgent_inputs()) {
                return Err(SendError::UrgentFull { session, inputs: urgent });
            }
            return Ok(());
        }
        self.may_be(bytes, policy)?;
        let (inputs, waiting) = (inbox.waiting(), inbox.waiting_bytes);
        let ordinary = inputs.saturating_sub(urgent);
        if ordinary >= u64::from(policy.max_inputs()) || waiting + bytes > policy.max_input_bytes()
        {
            return Err(SendError::Full { session, inputs, bytes: waiting });
        }
        Ok(())
    }

    /// Whether an ordinary input may be as large as that at all.
    fn may_be(&self, bytes: u64, policy: &Policy) -> Result<(), SendError> {
        let limit = policy.max_input_bytes();
        if bytes > limit {
            return Err(SendError::TooLarge { session: self.record.id, bytes, limit });
        }
        Ok(())
    }

    /// Gives the next input to the run, and counts the attempt. `None` if there is none but what the
    /// run has `taken`, of urgent ones. For those `granted` the attempt is counted already.
    pub(crate) fn take_next(&mut self, taken: &[u64], granted: &[u64]) -> Option<InHand> {
        let input = self.record.inbox.next(taken)?;
        Some(self.give(input, granted.contains(&input)))
    }

    /// Gives an urgent input that waits to the run, besides what it has in hand, and counts the attempt.
    pub(crate) fn grant(&mut self, input: u64) -> Option<InHand> {
        self.record.inbox.is_urgent(input).then(|| self.give(input, false))
    }

    fn give(&mut self, input: u64, counted: bool) -> InHand {
        self.changed = true;
        InHand { input, attempt: self.record.inbox.give(input, counted) }
    }

    /// Takes back an input that was given out and never reached the run.
    pub(crate) fn give_back(&mut self, input: u64) {
        if faults::planted(Bug::CountUntakenAttempt) {
            return;
        }
        self.changed |= self.record.inbox.give_back(input);
    }

    /// The turn of an input is interrupted. Where it is dropped, no run is given it again, nor what the
    /// turn has taken besides; each comes with what it weighs.
    pub(crate) fn interrupt(&mut self, input: u64, then: OnInterrupt, all: &[(u64, u64)]) {
        if then == OnInterrupt::Drop && !faults::planted(Bug::ForgetDrop) {
            for (input, bytes) in all {
                self.end_input(*input, 0, *bytes);
            }
        }
        let run = self.record.phase.run();
        let fact = Fact::Lifecycle(Lifecycle::TurnInterrupted { then });
        self.push(self.moment.wall, run, Some(input), fact);
    }

    fn end_input(&mut self, input: u64, snapshot: u64, bytes: u64) {
        let inbox = &mut self.record.inbox;
        if inbox.end(input, snapshot) {
            inbox.waiting_bytes = inbox.waiting_bytes.saturating_sub(bytes);
        }
    }

    /// Keeps a state, and with it the effect of the inputs that it covers.
    pub(crate) fn save(
        &mut self,
        run: RunId,
        state_version: u32,
        payload: &[u8],
        covers: &Covers<'_>,
    ) -> SnapshotRef {
        let sequence = self.record.snapshots.first().map_or(0, |newest| newest.sequence) + 1;
        let over = self.record.snapshot().map_or_else(Turn::default, SnapshotRef::turn);
        let ended = match covers.turn {
            Covered::Input if !faults::planted(Bug::SaveWithoutItsInput) => {
                Some(EndedTurn::OfInput)
            }
            Covered::Interlude => Some(EndedTurn::Interlude),
            Covered::Input | Covered::Nothing => None,
        };
        if ended.is_some() || covers.turn == Covered::Nothing {
            // What is over already must not stand between the input and the count.
            if ended.is_some() {
                self.record.inbox.advance();
            }
            for (input, bytes) in covers.inputs {
                self.end_input(*input, sequence, *bytes);
            }
        }
        let turn = match ended {
            Some(ended) => {
                self.record.inbox.advance();
                over.followed_by(ended, self.record.inbox.consumed)
            }
            None => over,
        };
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
            interlude: turn.interlude,
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

    /// Leaves out what every kept snapshot covers of inputs that are over out of order.
    pub(super) fn forget_covered_inputs(&mut self) {
        let covered = self.record.inputs_covered();
        let oldest = self.record.snapshots.iter().map(|kept| kept.sequence).min().unwrap_or(0);
        self.record.inbox.forget(covered, oldest);
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
        self.record.inbox.fall_back(older.consumed, older.sequence);
        self.log(Lifecycle::SnapshotFellBack { from: newer.sequence, to: older.sequence, reason });
        true
    }
}
