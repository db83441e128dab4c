//! The one way to change a session: a draft is made from the record, decided upon, and committed
//! as a whole. Everything in it is pure; the moment is passed in.

use std::sync::Arc;

use super::error::SendError;
use crate::{
    model::{
        event::{Cause, EventRecord, Fact, Lifecycle, RunEnd},
        ids::{RunId, WorkerGeneration},
        record::{EndedRun, InHand, Inbox, SessionRecord, SnapshotRef, StoredInput, Transition},
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        state::{InvalidTransition, PauseCause, Phase, State, Trigger, transition},
        time::{SupervisedTime, Timestamp},
    },
    policy::Policy,
    store::Commit,
    workload::{Note, Noted},
};

use super::op::{Accepted, Annotation, NewInput, TakenIds};

/// When, and by whom, a draft is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    pub(crate) supervised: SupervisedTime,
    pub(crate) worker: WorkerGeneration,
}

/// A change of one session in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    record: SessionRecord,
    moment: Moment,
    events: Vec<EventRecord>,
    inputs: Vec<StoredInput>,
    snapshot: Option<Arc<[u8]>>,
    changed: bool,
}

impl Draft {
    /// A change of a session that exists.
    pub(crate) fn of(record: &SessionRecord, moment: Moment) -> Self {
        Self {
            record: record.clone(),
            moment,
            events: Vec::new(),
            inputs: Vec::new(),
            snapshot: None,
            changed: false,
        }
    }

    /// A new session, pending, with its first state.
    pub(crate) fn new(mut record: SessionRecord, snapshot: Arc<[u8]>, moment: Moment) -> Self {
        record.version = 0;
        record.created_at = moment.wall;
        record.snapshots = vec![SnapshotRef {
            sequence: 1,
            consumed: 0,
            bytes: snapshot.len() as u64,
            at: moment.wall,
        }];
        let kind = record.kind.clone();
        let mut draft = Self {
            record,
            moment,
            events: Vec::new(),
            inputs: Vec::new(),
            snapshot: Some(snapshot),
            changed: true,
        };
        draft.log(Lifecycle::Created { kind });
        draft
    }

    /// The record as it will be.
    pub(crate) const fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// Whether there is anything to commit.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    /// The moment it is made at.
    pub(crate) const fn moment(&self) -> Moment {
        self.moment
    }

    /// The new inputs.
    pub(crate) fn inputs(&self) -> &[StoredInput] {
        &self.inputs
    }

    /// The commit that makes the draft true.
    pub(crate) fn finish(mut self) -> Commit {
        self.record.version += 1;
        self.record.writer = self.moment.worker;
        self.record.updated_at = self.moment.wall;
        Commit {
            record: self.record,
            events: self.events,
            inputs: self.inputs,
            snapshot: self.snapshot,
        }
    }

    /// Records something about the session itself.
    pub(crate) fn log(&mut self, what: Lifecycle) {
        let run = self.record.phase.run();
        self.push(self.moment.wall, run, None, Fact::Lifecycle(what));
    }

    fn push(&mut self, at: Timestamp, run: Option<RunId>, input: Option<u64>, fact: Fact) {
        self.changed = true;
        self.record.last_event += 1;
        let sequence = self.record.last_event;
        self.events.push(EventRecord { sequence, at, run, input, fact });
    }

    /// Takes what a run noted.
    pub(crate) fn take_notes(&mut self, run: RunId, notes: Vec<Noted>) {
        for Noted { at, input, note } in notes {
            let fact = match note {
                Note::Event(event) => Fact::Work(event),
                Note::Usage(usage) => {
                    self.record.usage = self.record.usage.plus(&usage);
                    Fact::Usage(usage)
                }
                Note::ExternalId(id) => {
                    self.record.external_id = Some(id.clone());
                    Fact::Lifecycle(Lifecycle::ExternalIdSet { id })
                }
            };
            self.push(at, Some(run), input, fact);
        }
    }

    /// Changes what callers wrote on the session.
    pub(crate) fn annotate(&mut self, change: Annotation) {
        self.changed = true;
        match change {
            Annotation::Labels(labels) => self.record.labels = labels,
            Annotation::Metadata(metadata) => self.record.metadata = metadata,
            Annotation::ExternalId(id) => {
                self.record.external_id = Some(id.clone());
                self.log(Lifecycle::ExternalIdSet { id });
            }
        }
    }

    /// Moves the session along the table, or refuses. The one place where a phase is set.
    fn step(
        &mut self,
        trigger: Trigger,
        phase: Phase,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        let from = self.record.state();
        let to = transition(from, trigger).ok_or(InvalidTransition {
            session: self.record.id,
            from,
            to: trigger.target(),
        })?;
        debug_assert_eq!(to, phase.state(), "the phase is the one that the table names");
        let run = phase.run().or_else(|| self.record.phase.run());
        self.record.phase = phase;
        let at = self.moment.wall;
        let change = Lifecycle::StateChanged { from, to, cause, reason: reason.clone() };
        self.push(at, run, None, Fact::Lifecycle(change));
        if self.record.history.len() >= SessionRecord::KEPT_HISTORY {
            self.record.history.pop_front();
        }
        self.record.history.push_back(Transition { at, from, to, cause, reason });
        Ok(())
    }

    /// Begins a run.
    pub(crate) fn activate(
        &mut self,
        run: RunId,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        let phase = Phase::Active { run, worker: self.moment.worker, restarting: None };
        self.step(Trigger::Activate, phase, cause, reason)?;
        self.record.runs.count = self.record.runs.count.saturating_add(1);
        self.record.runs.since = Some(self.moment.supervised);
        if cause == Cause::Restarted {
            self.record.runs.restarts = self.record.runs.restarts.saturating_add(1);
        }
        Ok(())
    }

    /// Records that the present run ended. The state of the session is another matter.
    pub(crate) fn end_run(&mut self, run: RunId, end: RunEnd) {
        if let Some(since) = self.record.runs.since.take() {
            let span = self.moment.supervised.since(since);
            let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            self.record.runs.active_ms = self.record.runs.active_ms.saturating_add(span);
        }
        self.record.runs.last = Some(EndedRun { run, end: end.clone() });
        if end == RunEnd::Abandoned {
            self.record.abandoned.push(run);
        }
        let fact = Fact::Lifecycle(Lifecycle::RunEnded { how: end });
        self.push(self.moment.wall, Some(run), None, fact);
    }

    /// Forgets an abandoned run that came back.
    pub(crate) fn returned(&mut self, run: RunId) {
        if self.record.abandoned.contains(&run) {
            self.record.abandoned.retain(|abandoned| *abandoned != run);
            let fact = Fact::Lifecycle(Lifecycle::AbandonedRunReturned);
            self.push(self.moment.wall, Some(run), None, fact);
        }
    }

    /// Forgets abandoned runs of a worker that is gone: they went with it.
    pub(crate) fn forget_abandoned(&mut self) {
        if self.record.writer != self.moment.worker && !self.record.abandoned.is_empty() {
            self.changed = true;
            self.record.abandoned.clear();
        }
    }

    /// Begins the wait of a restart.
    pub(crate) fn schedule_restart(&mut self, attempt: u32, delay: std::time::Duration) {
        let due = self.moment.supervised.after(delay);
        if let Phase::Active { worker, restarting, .. } = &mut self.record.phase {
            *worker = self.moment.worker;
            *restarting = Some(crate::model::state::Restarting { attempt, due });
        }
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.log(Lifecycle::RestartScheduled { attempt, delay_ms });
    }

    /// Takes over a restart that another worker scheduled.
    pub(crate) fn adopt(&mut self) {
        if let Phase::Active { worker, .. } | Phase::Stopping { worker, .. } =
            &mut self.record.phase
        {
            self.changed |= *worker != self.moment.worker;
            *worker = self.moment.worker;
        }
    }

    /// Pauses the session; of one that is paused, changes the cause.
    pub(crate) fn pause(
        &mut self,
        pause: PauseCause,
        cause: Cause,
        reason: Option<String>,
        policy: &Policy,
    ) -> Result<(), InvalidTransition> {
        let since = self.moment.supervised;
        let limit = match pause {
            PauseCause::Quarantined => None,
            PauseCause::Asked
            | PauseCause::Idle
            | PauseCause::Shutdown
            | PauseCause::Interrupted => policy.paused_timeout().duration(),
        };
        let until = limit.map(|limit| since.after(limit));
        if let Phase::Paused { cause: present, .. } = &mut self.record.phase {
            let from = *present;
            // What was quarantined stays so, until it is resumed.
            if from != pause && from != PauseCause::Quarantined {
                *present = pause;
                self.log(Lifecycle::PauseCauseChanged { from, to: pause });
            }
            return Ok(());
        }
        let phase = Phase::Paused { cause: pause, since, until };
        self.step(Trigger::Pause, phase, cause, reason)
    }

    /// Accepts a stop. With a run alive the session is `stopping` until it is gone; else it is
    /// stopped in the same commit.
    pub(crate) fn stop(&mut self, run_alive: RunAlive) -> Result<(), InvalidTransition> {
        match (self.record.phase.run(), run_alive) {
            (Some(run), RunAlive::Yes) => self.stopping(run, self.moment.worker),
            (Some(run), RunAlive::No) => {
                self.stopping(run, self.moment.worker)?;
                self.settle_stop()
            }
            (None, _) => self.step(Trigger::Stop, Phase::Stopped, Cause::Asked, None),
        }
    }

    fn stopping(&mut self, run: RunId, worker: WorkerGeneration) -> Result<(), InvalidTransition> {
        self.step(Trigger::Stop, Phase::Stopping { run, worker }, Cause::Asked, None)
    }

    /// Nothing of the stopped run is alive any more.
    pub(crate) fn settle_stop(&mut self) -> Result<(), InvalidTransition> {
        self.step(Trigger::Settle, Phase::Stopped, Cause::RunGone, None)
    }

    /// Ends the session well.
    pub(crate) fn complete(
        &mut self,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Complete, Phase::Completed, cause, reason)
    }

    /// Ends the session badly.
    pub(crate) fn fail(&mut self, cause: Cause, reason: String) -> Result<(), InvalidTransition> {
        self.step(Trigger::Fail, Phase::Failed, cause, Some(reason))
    }

    /// Ends the session because its time ran out.
    pub(crate) fn expire(
        &mut self,
        cause: Cause,
        reason: Option<String>,
    ) -> Result<(), InvalidTransition> {
        self.step(Trigger::Expire, Phase::Expired, cause, reason)
    }

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
        covers: Option<Covered>,
    ) -> SnapshotRef {
        let sequence = self.record.snapshots.first().map_or(0, |newest| newest.sequence) + 1;
        if let Some(Covered { input, bytes }) = covers {
            self.record.inbox.consumed = self.record.inbox.consumed.max(input);
            self.record.inbox.waiting_bytes = self.record.inbox.waiting_bytes.saturating_sub(bytes);
            self.record.inbox.in_hand = None;
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
            bytes: bytes.len() as u64,
            at: self.moment.wall,
        };
        // Two snapshots in one draft: the first of them was never stored.
        if self.snapshot.is_some() && self.record.version > 0 {
            self.record.snapshots.remove(0);
        }
        self.record.snapshots.insert(0, snapshot);
        self.record.snapshots.truncate(SessionRecord::KEPT_SNAPSHOTS);
        self.snapshot = Some(bytes.into());
        self.record.recoveries = 0;
        self.record.failures.without_checkpoint = 0;
        self.changed = true;
        snapshot
    }

    /// Goes back to the older snapshot, whose inputs are kept and will be given out again.
    /// `waiting_bytes` is what they weigh. `false` if there is none.
    pub(crate) fn fall_back(&mut self, reason: String, weigh: impl Fn(u64) -> u64) -> bool {
        let [newer, older] = self.record.snapshots.as_slice() else {
            return false;
        };
        let (newer, older) = (*newer, *older);
        self.record.snapshots = vec![older];
        self.record.inbox.consumed = older.consumed;
        self.record.inbox.waiting_bytes = weigh(older.consumed);
        self.record.inbox.in_hand = None;
        self.log(Lifecycle::SnapshotFellBack { from: newer.sequence, to: older.sequence, reason });
        true
    }

    /// Counts a lost worker against the session.
    pub(crate) fn count_recovery(&mut self) {
        self.changed = true;
        self.record.recoveries = self.record.recoveries.saturating_add(1);
    }

    /// Clears what is held against the session for the loss of its workers.
    pub(crate) fn clear_recoveries(&mut self) {
        self.changed |= self.record.recoveries != 0;
        self.record.recoveries = 0;
    }

    /// Clears all counts of failures: a person has looked at it.
    pub(crate) fn clear_failures(&mut self) {
        self.changed = true;
        self.record.recoveries = 0;
        self.record.failures = crate::model::record::Failures::default();
    }

    /// The failures, to be counted.
    pub(crate) fn failures(&mut self) -> &mut crate::model::record::Failures {
        self.changed = true;
        &mut self.record.failures
    }

    /// Whether the session has come to a state where nothing of a run belongs to it.
    pub(crate) fn state(&self) -> State {
        self.record.state()
    }

    /// Sets the phase of a new session that waits for its place.
    pub(crate) fn wait_for_place(&mut self, policy: &Policy) {
        let since = self.moment.supervised;
        let until = policy.pending_timeout().duration().map(|limit| since.after(limit));
        self.record.phase = Phase::Pending { since, until };
    }
}

/// An input that a snapshot covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Covered {
    pub(crate) input: u64,
    /// What it weighs in the inbox.
    pub(crate) bytes: u64,
}

/// Whether something of the run is alive in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAlive {
    Yes,
    No,
}
