//! The one way to change a session: a draft is made from the record, decided upon, and committed
//! as a whole. Everything in it is pure; the moment is passed in.

mod deletion;
mod family;
mod forks;
mod moves;
mod state;
mod successor;
mod weight;

pub(crate) use self::{deletion::after_purge, successor::Moves};

use std::sync::Arc;

use crate::{
    faults::{self, Bug},
    model::{
        event::{Event, EventRecord, Fact, Lifecycle},
        ids::{RunId, WorkerGeneration},
        record::{SessionRecord, SnapshotRef, StoredInput},
        state::{Phase, State},
        step::StoredStep,
        time::{SupervisedTime, Timestamp},
    },
    policy::{Policy, Retention},
    store::Commit,
    workload::{Note, Noted},
};

use super::{error::SessionError, op::Annotation};

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
    steps: Vec<StoredStep>,
    snapshot: Option<Arc<[u8]>>,
    /// The new session that takes the place of this one.
    successor: Option<Box<Self>>,
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
            steps: Vec::new(),
            snapshot: None,
            successor: None,
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
            interlude: 0,
            bytes: snapshot.len() as u64,
            at: moment.wall,
        }];
        let kind = record.kind.clone();
        let mut draft = Self {
            record,
            moment,
            events: Vec::new(),
            inputs: Vec::new(),
            steps: Vec::new(),
            snapshot: Some(snapshot),
            successor: None,
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

    /// How far steps came.
    pub(crate) fn steps(&self) -> &[StoredStep] {
        &self.steps
    }

    /// The commit that makes the draft true. Where the session has more events than are kept, it says so.
    pub(crate) fn finish(mut self, retention: &Retention) -> Commit {
        self.forget_covered_inputs();
        self.forget_covered_steps();
        self.weigh(retention);
        self.trim(retention);
        self.record.version += 1;
        self.record.writer = self.moment.worker;
        self.record.updated_at = self.moment.wall;
        let successor = self.successor.filter(|_| !faults::planted(Bug::ForgetSuccessor));
        Commit {
            record: Arc::new(self.record),
            events: self.events,
            inputs: self.inputs,
            steps: self.steps,
            snapshot: self.snapshot,
            successor: successor.map(|successor| Arc::new(successor.finish(retention))),
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

    /// Takes what a resource has to say that was closed after its run was over.
    pub(crate) fn take_last_words(&mut self, words: Vec<Event>) {
        for event in words {
            self.push(self.moment.wall, None, None, Fact::Work(event));
        }
    }

    /// Changes what callers wrote on the session.
    pub(crate) fn annotate(&mut self, change: Annotation) {
        self.changed = true;
        match change {
            Annotation::Labels(labels) => {
                self.record.labels = labels.clone();
                self.log(Lifecycle::LabelsSet { labels });
            }
            Annotation::Metadata(metadata) => {
                self.record.metadata = metadata;
                self.log(Lifecycle::MetadataSet);
            }
            Annotation::ExternalId(id) => {
                self.record.external_id = Some(id.clone());
                self.log(Lifecycle::ExternalIdSet { id });
            }
        }
    }

    /// Notes that its events up to this one are removed.
    pub(crate) fn note_trimmed(&mut self, to: u64) {
        if let Some(trimmed) = self.record.trimmed.as_mut().filter(|trimmed| trimmed.to == to) {
            self.changed |= trimmed.since.take().is_some();
        }
    }

    /// Counts a lost worker against the session.
    pub(crate) fn count_recovery(&mut self) {
        if faults::planted(Bug::ForgetLostWorkers) {
            return;
        }
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

    /// Refuses where a request is for one run only, and that is not the present one. A session that is
    /// stopped still goes by its last: asking for what holds succeeds.
    pub(crate) fn is_run(&self, only: Option<RunId>) -> Result<(), SessionError> {
        let current = self.record.phase.run();
        let stopped = self.record.runs.last.as_ref().filter(|_| self.state() == State::Stopped);
        match only {
            Some(_) if faults::planted(Bug::StopAnyRun) => Ok(()),
            Some(run) if current.or(stopped.map(|last| last.run)) != Some(run) => {
                Err(SessionError::NotCurrentRun { session: self.record.id, run, current })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Sets the phase of a new session that waits for its place.
    pub(crate) fn wait_for_place(&mut self, policy: &Policy) {
        let since = self.moment.supervised;
        let until = policy.pending_timeout().duration().map(|limit| since.after(limit));
        self.record.phase = Phase::Pending { since, until };
    }
}

/// What a snapshot covers, besides what was covered before.
#[derive(Debug)]
pub(crate) struct Covers<'a> {
    pub(crate) turn: Covered,
    /// The inputs, and what each weighs.
    pub(crate) inputs: &'a [(u64, u64)],
}

/// The turn that a snapshot covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered {
    /// That of an input.
    Input,
    /// One with nothing in hand.
    Interlude,
    /// None: it goes on.
    Nothing,
}

/// Whether something of the run is alive in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAlive {
    Yes,
    No,
}
