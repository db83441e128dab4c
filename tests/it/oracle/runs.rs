//! One live run for each session, nothing of a run before it is durable, and nothing that a run
//! recorded lost.

use std::collections::BTreeMap;

use sessionkeeper::{Event, EventRecord, Fact, RunEnd, RunId, SessionId};

use super::{
    Found, FoundSession, Story,
    ledger::{Did, Entry, Ledger},
};

pub(super) fn judge(found: &Found, ledger: &Ledger, wrong: &mut Vec<String>) {
    one_at_a_time(found, ledger, wrong);
    for (run, seen) in SeenRun::all(ledger) {
        let Some(story) = found.story(seen.session) else {
            wrong.push(format!("run {run} of session {} is not in the store", seen.session));
            continue;
        };
        seen.judge(run, story, found.get(&seen.session), wrong);
    }
}

/// No run works while another one of its session does, or closes what it held; except beside one
/// that was abandoned.
fn one_at_a_time(found: &Found, ledger: &Ledger, wrong: &mut Vec<String>) {
    let mut alive: BTreeMap<SessionId, RunId> = BTreeMap::new();
    let mut closing: BTreeMap<SessionId, RunId> = BTreeMap::new();
    for entry in &ledger.0 {
        match entry {
            Entry::Run { session, run, did: Did::Begin } => {
                let before = alive.insert(*session, *run).or(closing.get(session).copied());
                let abandoned = |run: &RunId| {
                    let end = found.story(*session).and_then(|story| story.end_of(*run));
                    end == Some(&RunEnd::Abandoned)
                };
                if let Some(before) = before.filter(|before| !abandoned(before)) {
                    wrong.push(format!("session {session}: run {run} began beside {before}"));
                }
            }
            Entry::Run { session, run, did } => match did {
                Did::End => drop(alive.remove(session).filter(|ended| ended == run)),
                Did::BeginClose => drop(closing.insert(*session, *run)),
                Did::EndClose => drop(closing.remove(session)),
                Did::Begin
                | Did::Take { .. }
                | Did::Emit(_)
                | Did::Spend(_)
                | Did::Commit { .. }
                | Did::Call { .. }
                | Did::CallFailed { .. }
                | Did::Given { .. }
                | Did::Bear { .. }
                | Did::Bore { .. }
                | Did::ChildEnded { .. }
                | Did::Sleep
                | Did::RollOver { .. } => {}
            },
            Entry::Lost => {
                alive.clear();
                closing.clear();
            }
            Entry::Asked { .. }
            | Entry::Answered { .. }
            | Entry::Listed { .. }
            | Entry::EndTold { .. }
            | Entry::ShutDown { .. }
            | Entry::Begun { .. }
            | Entry::Unreadable
            | Entry::Moment(_) => {}
            #[cfg(unix)]
            Entry::Program(_) => {}
        }
    }
}

/// What a run did, as far as it lasts.
struct SeenRun {
    session: SessionId,
    emitted: u64,
    /// What it had emitted and spent before the last commit of its own that was answered.
    committed: u64,
    committed_spent: u64,
    /// The sums that it had spent at one time or other.
    spent: Vec<u64>,
    snapshot: u64,
}

impl SeenRun {
    fn all(ledger: &Ledger) -> BTreeMap<RunId, Self> {
        let mut runs = BTreeMap::new();
        for entry in &ledger.0 {
            let Entry::Run { session, run, did } = entry else { continue };
            let seen = runs.entry(*run).or_insert_with(|| Self {
                session: *session,
                emitted: 0,
                committed: 0,
                committed_spent: 0,
                spent: vec![0],
                snapshot: 0,
            });
            let spent = seen.spent.last().copied().unwrap_or(0);
            match did {
                Did::Emit(number) => seen.emitted = *number,
                Did::Spend(tokens) => seen.spent.push(spent + tokens),
                Did::Commit { sequence, .. } => {
                    seen.committed = seen.emitted;
                    seen.committed_spent = spent;
                    seen.snapshot = seen.snapshot.max(*sequence);
                }
                Did::Begin
                | Did::Take { .. }
                | Did::Call { .. }
                | Did::CallFailed { .. }
                | Did::Given { .. }
                | Did::Bear { .. }
                | Did::Bore { .. }
                | Did::ChildEnded { .. }
                | Did::Sleep
                | Did::RollOver { .. }
                | Did::End
                | Did::BeginClose
                | Did::EndClose => {}
            }
        }
        runs
    }

    fn judge(
        &self,
        run: RunId,
        story: &Story,
        found: Option<&FoundSession>,
        wrong: &mut Vec<String>,
    ) {
        let mut find = |what: String| {
            wrong.push(format!("session {}, run {run}: {what}", self.session));
        };
        let ours: Vec<&EventRecord> =
            story.log.iter().filter(|event| event.run == Some(run)).collect();
        if ours.is_empty() {
            return find("it began before that was durable".to_owned());
        }
        if let Some(found) = found {
            let newest = found.record.snapshot().map_or(0, |newest| newest.sequence);
            if self.snapshot > newest && !story.fell_back() {
                find(format!("snapshot {} is lost, the newest is {newest}", self.snapshot));
            }
        }
        let logged: Vec<u64> = ours.iter().filter_map(|event| number(event)).collect();
        let last = logged.len() as u64;
        if logged != (1..=last).collect::<Vec<_>>() || last > self.emitted {
            find(format!("events {logged:?} are in the log, {} were emitted", self.emitted));
        }
        let spent: u64 = ours.iter().filter_map(|event| tokens(event)).sum();
        if !self.spent.contains(&spent) {
            find(format!("{spent} tokens are in the log, it spent {:?}", self.spent));
        }
        if last < self.committed || spent < self.committed_spent {
            find(format!(
                "{last} events and {spent} tokens are in the log, {} and {} were committed",
                self.committed, self.committed_spent
            ));
        }
        // Facts are kept whatever becomes of the turn; unless the worker is lost, or the run is.
        let kept = match story.end_of(run) {
            Some(RunEnd::Interrupted | RunEnd::Abandoned) | None => false,
            Some(_) => true,
        };
        let all = self.spent.last().copied().unwrap_or(0);
        if kept && (last < self.emitted || spent < all) {
            find(format!(
                "{last} events and {spent} tokens are in the log, it had {} and {all}",
                self.emitted
            ));
        }
    }
}

/// The number that the workload gave to an event.
fn number(event: &EventRecord) -> Option<u64> {
    match &event.fact {
        Fact::Work(Event::Custom { name, data }) if name == "n" => data.as_u64(),
        Fact::Work(_) | Fact::Usage(_) | Fact::Lifecycle(_) => None,
    }
}

fn tokens(event: &EventRecord) -> Option<u64> {
    match &event.fact {
        Fact::Usage(usage) => Some(usage.input_tokens()),
        Fact::Work(_) | Fact::Lifecycle(_) => None,
    }
}
