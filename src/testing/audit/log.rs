//! The log of a session, replayed, beside its record.

use std::collections::VecDeque;

use super::{About, Findings, Rule, Violation};
use crate::model::{
    event::{Cause, EventRecord, Fact, Lifecycle, RunEnd},
    ids::{ExternalId, Kind, RunId, SessionId},
    labels::Labels,
    lineage::ForkedFrom,
    record::{EndedRun, SessionRecord, Transition},
    state::{PauseCause, Phase, State, Trigger, transition},
    usage::Usage,
};

/// Replays the whole log of a session and says what of it, or of its record, must not be. Where its older events are gone, what follows
/// from the others is held against the record. Part of
/// an [`audit`](super::audit), for those who have no more than a record and its log.
pub fn audit_log(record: &SessionRecord, log: &[EventRecord]) -> Vec<Violation> {
    let mut findings = Findings::default();
    replay(record, log, &mut findings.about(Some(record.id)));
    findings.0
}

/// The same, and gives what the log says.
pub(super) fn replay(record: &SessionRecord, log: &[EventRecord], about: &mut About<'_>) -> Said {
    // The number of the first may be any up to where they are gone.
    let first = log.first().map_or(1, |first| first.sequence);
    let may_begin = 1..=record.trimmed_to().saturating_add(1);
    about.check(may_begin.contains(&first), Rule::Numbering, || {
        format!("the first event is {first}, those up to {} may be gone", record.trimmed_to())
    });
    let mut said = if first > 1 { Said::behind_gap(record, log) } else { Said::default() };
    for (event, number) in log.iter().zip(first..) {
        about.same(Rule::Numbering, "an event", &event.sequence, &number);
        said.take(event, &record.kind, about);
    }
    let last = first + log.len() as u64 - 1;
    about.same(Rule::Numbering, "the last event", &record.last_event, &last);
    said.compare(record, about);
    said
}

/// What a log says about its session.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Whether events before these are gone.
    pub(super) is_behind_gap: bool,
    pub(super) state: Option<State>,
    /// What may have paused it, if it is paused.
    pub(super) paused_by: Vec<PauseCause>,
    /// All its runs.
    pub(super) runs: Vec<RunId>,
    /// The run that began and did not end.
    pub(super) open: Option<RunId>,
    /// Whether it ever was active.
    pub(super) has_begun: bool,
    restarts: u32,
    last: Option<EndedRun>,
    abandoned: Vec<RunId>,
    /// The attempt that the scheduled restart will be.
    pub(super) scheduled: Option<u32>,
    usage: Usage,
    external_id: Option<ExternalId>,
    labels: Option<Labels>,
    deleted: bool,
    forked_from: Option<ForkedFrom>,
    transitioned_from: Option<SessionId>,
    transitioned_to: Option<SessionId>,
    history: VecDeque<Transition>,
    /// Whether an older snapshot ever had to serve.
    pub(super) fell_back: bool,
}

impl Said {
    fn take(&mut self, event: &EventRecord, kind: &Kind, about: &mut About<'_>) {
        let at = event.sequence;
        let created = matches!(event.fact, Fact::Lifecycle(Lifecycle::Created { .. }));
        about.check(created == (at == 1), Rule::Moves, || format!("event {at} is {event:?}"));
        match &event.fact {
            Fact::Work(_) | Fact::Usage(_) => {
                // What a run left has its last words when no run is open.
                let is_last_word = matches!(event.fact, Fact::Work(_)) && event.run.is_none();
                let is_left = is_last_word && self.open.is_none();
                let is_of_run = event.run.is_some() && event.run == self.open;
                about.check(is_of_run || is_left, Rule::Fencing, || {
                    format!("event {at} is of {:?}, while {:?} ran", event.run, self.open)
                });
                if let Fact::Usage(usage) = &event.fact {
                    self.usage = self.usage.plus(usage);
                }
            }
            Fact::Lifecycle(what) => self.take_lifecycle(event, what, kind, about),
        }
    }

    fn take_lifecycle(
        &mut self,
        event: &EventRecord,
        what: &Lifecycle,
        kind: &Kind,
        about: &mut About<'_>,
    ) {
        let at = event.sequence;
        match what {
            Lifecycle::Created { kind: created } => {
                about.same(Rule::Record, "its kind", kind, created);
                self.state = Some(State::Pending);
            }
            Lifecycle::Forked(forked) => {
                about.check(at == 2, Rule::Moves, || format!("event {at} says that it is a fork"));
                self.forked_from = Some(forked.from);
                self.usage = forked.usage.unwrap_or_default();
            }
            Lifecycle::TransitionedFrom { session, .. } => {
                about.check(at == 2, Rule::Moves, || format!("event {at} names a predecessor"));
                self.transitioned_from = Some(*session);
            }
            Lifecycle::TransitionedTo { session, .. } => {
                let ended = self.state == Some(State::Completed) && self.transitioned_to.is_none();
                about.check(ended, Rule::Moves, || {
                    format!("event {at} names a successor of a session that is {:?}", self.state)
                });
                self.transitioned_to = Some(*session);
            }
            Lifecycle::StateChanged { from, to, cause, reason, begins } => {
                let legal =
                    Trigger::ALL.into_iter().any(|trigger| transition(*from, trigger) == Some(*to));
                about.check(legal, Rule::Moves, || format!("event {at}: {from} → {to}"));
                about.check(self.state == Some(*from), Rule::Moves, || {
                    format!("event {at} goes on from {from}, it was {:?}", self.state)
                });
                let is_first = !self.has_begun || *from == State::Stopped;
                about.check(*begins == (*to == State::Active && is_first), Rule::Moves, || {
                    format!("event {at}, {from} → {to}, says of a begin: {begins}")
                });
                self.has_begun |= *to == State::Active;
                self.move_to(event, *to, *cause, about);
                if self.history.len() == SessionRecord::KEPT_HISTORY {
                    self.history.pop_front();
                }
                self.history.push_back(Transition {
                    at: event.at,
                    from: *from,
                    to: *to,
                    cause: *cause,
                    reason: reason.clone(),
                });
            }
            Lifecycle::PauseCauseChanged { from, to } => {
                let known = self.state == Some(State::Paused) && self.paused_by.contains(from);
                about.check(known, Rule::Moves, || {
                    format!("event {at}: the cause was {from}, not one of {:?}", self.paused_by)
                });
                self.paused_by = vec![*to];
            }
            Lifecycle::FellAsleep(sleep) => {
                let paused = self.state == Some(State::Paused);
                about
                    .check(paused, Rule::Moves, || format!("event {at}: asleep, {:?}", self.state));
                self.paused_by = vec![PauseCause::Asleep(*sleep)];
            }
            Lifecycle::RunEnded { how } => {
                about.check(event.run.is_some() && event.run == self.open, Rule::OneRun, || {
                    format!("event {at} ends {:?}, while {:?} ran", event.run, self.open)
                });
                self.open = None;
                self.last = event.run.map(|run| EndedRun { run, end: how.clone() });
                if *how == RunEnd::Abandoned {
                    self.abandoned.extend(event.run);
                }
            }
            Lifecycle::AbandonedRunReturned => {
                let abandoned = self.abandoned.len();
                self.abandoned.retain(|run| Some(*run) != event.run);
                let was = self.abandoned.len() < abandoned || self.is_behind_gap;
                about.check(was, Rule::OneRun, || {
                    format!("event {at}: {:?} came back and was not abandoned", event.run)
                });
            }
            Lifecycle::RestartScheduled { attempt, .. } => self.scheduled = Some(*attempt),
            Lifecycle::SnapshotFellBack { from, to, .. } => {
                about.check(to < from, Rule::Snapshots, || {
                    format!("event {at}: it fell back from {from} to {to}")
                });
                self.fell_back = true;
            }
            Lifecycle::TurnInterrupted { .. } => {
                let is_of_run = event.run.is_some() && event.run == self.open;
                about.check(is_of_run && event.input.is_some(), Rule::Fencing, || {
                    format!("event {at} interrupts {:?}, while {:?} ran", event.run, self.open)
                });
            }
            Lifecycle::Deleted { ends, .. } => {
                let ends_with_it = self.has_begun && !self.state.is_some_and(State::has_ended);
                about.check(*ends == ends_with_it, Rule::Moves, || {
                    format!("event {at}, in {:?}, says of an end: {ends}", self.state)
                });
                self.deleted = true;
            }
            Lifecycle::ExternalIdSet { id } => self.external_id = Some(id.clone()),
            Lifecycle::LabelsSet { labels } => self.labels = Some(labels.clone()),
            Lifecycle::MetadataSet => {}
        }
    }

    fn move_to(&mut self, event: &EventRecord, to: State, cause: Cause, about: &mut About<'_>) {
        let at = event.sequence;
        self.state = Some(to);
        self.paused_by = if to == State::Paused { may_pause(cause) } else { Vec::new() };
        if to != State::Active {
            return;
        }
        about.check(self.open.is_none(), Rule::OneRun, || {
            format!("event {at} begins {:?}, while {:?} ran", event.run, self.open)
        });
        let new = event.run.is_some_and(|run| !self.runs.contains(&run));
        about.check(new, Rule::OneRun, || format!("event {at} begins no new run: {:?}", event.run));
        self.runs.extend(event.run);
        self.open = event.run;
        self.scheduled = None;
        self.restarts += u32::from(cause == Cause::Restarted);
    }

    fn compare(&self, record: &SessionRecord, about: &mut About<'_>) {
        about.same(Rule::Record, "whether it is deleted", &record.is_deleted(), &self.deleted);
        // A tombstone says no more than that.
        if record.is_deleted() {
            return;
        }
        about.same(Rule::Record, "its state", &Some(record.state()), &self.state);
        self.compare_phase(&record.phase, about);
        let runs = &record.runs;
        about.same(Rule::Record, "whether it runs", &runs.since.is_some(), &self.open.is_some());
        if self.is_behind_gap {
            return self.compare_behind_gap(record, about);
        }
        about.same(Rule::Record, "its runs", &runs.count, &count(self.runs.len()));
        about.same(Rule::Record, "its restarts", &runs.restarts, &self.restarts);
        about.same(Rule::Record, "its last run", &runs.last, &self.last);
        about.same(Rule::Record, "its usage", &record.usage, &self.usage);
        let forked_from = record.links().forked_from;
        about.same(Rule::Record, "what it was forked from", &forked_from, &self.forked_from);
        let before = record.links().transitioned_from;
        about.same(Rule::Record, "whose successor it is", &before, &self.transitioned_from);
        let after = record.links().transitioned_to;
        about.same(Rule::Record, "its successor", &after, &self.transitioned_to);
        about.same(Rule::Record, "its history", &record.history, &self.history);
        self.compare_notes(record, about);
        // A worker that is lost takes its abandoned runs with it, and nobody says so.
        for run in &record.abandoned {
            about.check(self.abandoned.contains(run), Rule::Record, || {
                format!("{run} is abandoned, and the log does not say so")
            });
        }
    }

    /// What callers wrote on the session, where the log says so.
    fn compare_notes(&self, record: &SessionRecord, about: &mut About<'_>) {
        if self.external_id.is_some() {
            let id = &record.external_id;
            about.same(Rule::Record, "its external id", id, &self.external_id);
        }
        if let Some(labels) = &self.labels {
            about.same(Rule::Record, "its labels", &record.labels, labels);
        }
    }

    /// The same of what a part of the log says: what it counts is no more than the record has, and what it says last holds.
    fn compare_behind_gap(&self, record: &SessionRecord, about: &mut About<'_>) {
        let runs = &record.runs;
        let counted = count(self.runs.len()) <= runs.count && self.restarts <= runs.restarts;
        about.check(counted, Rule::Record, || {
            format!("its runs: {runs:?}, where there are {:?} at least", self.runs)
        });
        if self.last.is_some() {
            about.same(Rule::Record, "its last run", &runs.last, &self.last);
        }
        if self.transitioned_to.is_some() {
            let after = record.links().transitioned_to;
            about.same(Rule::Record, "its successor", &after, &self.transitioned_to);
        }
        self.compare_notes(record, about);
        let earlier = record.history.len().saturating_sub(self.history.len());
        let latest = record.history.iter().skip(earlier);
        about.check(latest.eq(&self.history), Rule::Record, || {
            format!("its history: {:?}, which ends otherwise", record.history)
        });
    }

    /// Whether a run was one of the session's, as far as that is known.
    pub(super) fn knows(&self, run: RunId) -> bool {
        self.is_behind_gap || self.runs.contains(&run)
    }

    fn compare_phase(&self, phase: &Phase, about: &mut About<'_>) {
        let last = self.last.as_ref().map(|last| last.run);
        match phase {
            Phase::Active { run, restarting: None, .. } => {
                about.same(Rule::OneRun, "the run of its phase", &Some(*run), &self.open);
            }
            Phase::Active { run, restarting: Some(restarting), .. } => {
                about.same(Rule::OneRun, "a run between runs", &self.open, &None);
                if last.is_some() || !self.is_behind_gap {
                    about.same(Rule::OneRun, "the run of its phase", &Some(*run), &last);
                }
                let attempt = Some(restarting.attempt);
                about.same(Rule::Record, "its restart", &attempt, &self.scheduled);
            }
            Phase::Stopping { run, .. } => {
                let stopping = self.open.or(last);
                if stopping.is_some() || !self.is_behind_gap {
                    about.same(Rule::OneRun, "the run that is stopped", &Some(*run), &stopping);
                }
            }
            Phase::Paused { cause, .. } => {
                about.same(Rule::OneRun, "a run while it is paused", &self.open, &None);
                about.check(self.paused_by.contains(cause), Rule::Record, || {
                    format!("it is paused as {cause}, not as one of {:?}", self.paused_by)
                });
            }
            Phase::Pending { .. } | Phase::Stopped => {
                about.same(Rule::OneRun, "a run while it is at rest", &self.open, &None);
            }
            // The end of its last run follows; unless the worker is lost meanwhile.
            Phase::Completed | Phase::Failed | Phase::Expired => {}
        }
    }
}

/// What a session may be paused as that was moved by a cause.
fn may_pause(cause: Cause) -> Vec<PauseCause> {
    match cause {
        Cause::Asked => vec![PauseCause::Asked, PauseCause::Quarantined],
        Cause::IdleTimeout | Cause::Returned => vec![PauseCause::Idle],
        Cause::Shutdown => vec![PauseCause::Shutdown],
        Cause::Parent => vec![PauseCause::Parent],
        Cause::Interrupted => vec![PauseCause::Interrupted],
        Cause::Silence | Cause::RestartsExhausted | Cause::SuspectedOfCrashes => {
            vec![PauseCause::Quarantined]
        }
        // Which sleep it is, another event says.
        Cause::FellAsleep
        | Cause::AlarmRang
        | Cause::SlotFree
        | Cause::InputArrived
        | Cause::Restarted
        | Cause::Recovered
        | Cause::PausedTimeout
        | Cause::PendingTimeout
        | Cause::Workload
        | Cause::RunGone
        | Cause::RolledOver => Vec::new(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
