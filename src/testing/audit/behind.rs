//! What may be taken for granted where the older events of a session are gone: what the first of the others go on from, and where
//! they say nothing of it, what the record says.

use super::log::Said;
use crate::model::{
    event::{EventRecord, Fact, Lifecycle, RunEdge},
    ids::RunId,
    record::SessionRecord,
    state::{PauseCause, Phase, State},
};

impl Said {
    /// What the events said that are gone, as far as the others do not contradict it.
    pub(super) fn behind_gap(record: &SessionRecord, log: &[EventRecord]) -> Self {
        let mut said = Self::default();
        said.is_behind_gap = true;
        said.state = Some(state(record, log));
        if said.state == Some(State::Paused) {
            said.paused_by.extend(paused_by(record, log));
        }
        said.open = open_run(record, log);
        said.runs.extend(said.open);
        said.has_begun = moves(log)
            .find(|(from, to, _)| *to == State::Active && *from != State::Stopped)
            .is_none_or(|(.., begins)| !begins);
        if let Phase::Active { restarting: Some(restarting), .. } = &record.phase {
            said.scheduled = Some(restarting.attempt);
        }
        // It may have.
        said.fell_back = true;
        said
    }
}

fn lifecycle(log: &[EventRecord]) -> impl Iterator<Item = &Lifecycle> {
    log.iter().filter_map(|event| match &event.fact {
        Fact::Lifecycle(what) => Some(what),
        Fact::Work(_) | Fact::Usage(_) => None,
    })
}

/// From where to where it moved, and whether it began with that.
fn moves(log: &[EventRecord]) -> impl Iterator<Item = (State, State, bool)> {
    lifecycle(log).filter_map(|what| {
        let Lifecycle::StateChanged { from, to, begins, .. } = what else { return None };
        Some((*from, *to, *begins))
    })
}

fn state(record: &SessionRecord, log: &[EventRecord]) -> State {
    moves(log).next().map_or_else(|| record.state(), |(from, ..)| from)
}

/// What it was paused by before the first of these events.
fn paused_by(record: &SessionRecord, log: &[EventRecord]) -> Option<PauseCause> {
    for what in lifecycle(log) {
        if let Lifecycle::PauseCauseChanged { from, .. } = what {
            return Some(*from);
        }
        if matches!(what, Lifecycle::StateChanged { .. }) {
            return None;
        }
    }
    match &record.phase {
        Phase::Paused { cause, .. } => Some(*cause),
        Phase::Pending { .. }
        | Phase::Active { .. }
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::Completed
        | Phase::Failed
        | Phase::Expired => None,
    }
}

/// The run that was open before the first of these events.
fn open_run(record: &SessionRecord, log: &[EventRecord]) -> Option<RunId> {
    match log.iter().find_map(EventRecord::run_edge) {
        Some(RunEdge::Ends(run)) => Some(run),
        Some(RunEdge::Begins(_)) => None,
        None => record.phase.run().filter(|_| record.runs.since.is_some()),
    }
}
