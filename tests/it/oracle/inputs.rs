//! Every accepted input is there, once, and has its effect once and in order.

use std::collections::{BTreeMap, BTreeSet};

use sessionkeeper::SessionId;

use super::{
    Found, FoundSession,
    calls::Call,
    families, forks, interrupts,
    ledger::{Answer, Did, Entry, Ledger, Verb},
};

pub(super) fn judge(all: &Found, ledger: &Ledger, calls: &[Call<'_>], wrong: &mut Vec<String>) {
    let may_come = families::ends(all, ledger);
    let urgent = calls.iter().filter_map(|call| match call.verb {
        Verb::SendUrgent { tag, .. } => Some(*tag),
        _ => None,
    });
    let urgent = urgent.collect();
    for (session, found) in all.iter() {
        let mut inputs = Inputs {
            may_come: &may_come,
            urgent: &urgent,
            tags: BTreeMap::new(),
            sent: BTreeSet::new(),
            why: format!("session {session}"),
            wrong,
        };
        inputs.take_calls(*session, calls);
        let mut sources = forks::sources(all, *session);
        inputs.take_from(&sources, ledger, calls);
        sources.push(*session);
        inputs.sent.extend(families::sent(all, ledger, &sources));
        inputs.take_runs(*session, found, ledger);
        inputs.take_kept(found);
        inputs.judge_effects(*session, found, ledger);
    }
}

/// What is known of the inputs of a session.
struct Inputs<'a> {
    /// How often an input of a tag may come, where it may more than once.
    may_come: &'a BTreeMap<u64, u64>,
    /// The tags by the numbers of their inputs.
    tags: BTreeMap<u64, u64>,
    /// The tags of what is given before all others.
    urgent: &'a BTreeSet<u64>,
    /// The tags of what may have been accepted.
    sent: BTreeSet<u64>,
    why: String,
    wrong: &'a mut Vec<String>,
}

impl Inputs<'_> {
    fn find(&mut self, what: String) {
        self.wrong.push(format!("{}: {what}", self.why));
    }

    /// Somebody says that an input has this tag.
    fn claim(&mut self, input: u64, tag: u64, who: &str) {
        let known = *self.tags.entry(input).or_insert(tag);
        if known != tag {
            self.find(format!("{who}: input {input} has tag {tag}, it was {known}"));
        }
    }

    fn take_calls(&mut self, session: SessionId, calls: &[Call<'_>]) {
        for call in calls {
            let tag = match call.verb {
                Verb::Start { tag: Some(tag), .. } | Verb::Fork { tag: Some(tag), .. } => *tag,
                Verb::Send { tag, .. } | Verb::SendUrgent { tag, .. } => *tag,
                _ => continue,
            };
            // A start that nobody was answered may be that of any session.
            let ours = call.session.is_none_or(|of| of == session);
            match call.answer {
                Some(Answer::Accepted { sequence, .. }) if ours => {
                    self.claim(*sequence, tag, "it was accepted");
                    self.sent.insert(tag);
                }
                Some(Answer::Started { repeated, .. }) if ours => {
                    // That of a fork comes after those that were copied.
                    if !repeated && matches!(call.verb, Verb::Start { .. }) {
                        self.claim(1, tag, "it was started");
                    }
                    self.sent.insert(tag);
                }
                _ if ours && call.is_open() => drop(self.sent.insert(tag)),
                _ => {}
            }
        }
    }

    /// What may have been accepted by those that it comes from may have been copied or moved, and what they may have been rolled
    /// over with is there too.
    fn take_from(&mut self, sources: &[SessionId], ledger: &Ledger, calls: &[Call<'_>]) {
        for call in calls {
            let is_theirs = call.session.is_some_and(|of| sources.contains(&of));
            match call.verb {
                Verb::Start { tag: Some(tag), .. }
                | Verb::Fork { tag: Some(tag), .. }
                | Verb::Rollover { tag: Some(tag), .. }
                | Verb::Send { tag, .. }
                | Verb::SendUrgent { tag, .. }
                    if is_theirs && (call.is_done() || call.is_open()) =>
                {
                    self.sent.insert(*tag);
                }
                _ => {}
            }
        }
        for entry in &ledger.0 {
            if let Entry::Run { session, did: Did::RollOver { tag: Some(tag), .. }, .. } = entry
                && sources.contains(session)
            {
                self.sent.insert(*tag);
            }
        }
    }

    fn take_runs(&mut self, session: SessionId, found: &FoundSession, ledger: &Ledger) {
        let accepted = found.record.inbox.accepted;
        let consumed = found.record.inbox.consumed;
        let fell_back = found.fell_back();
        let mut attempts: BTreeMap<u64, u32> = BTreeMap::new();
        let (mut newest, mut done) = (0, 0);
        for entry in &ledger.0 {
            let Entry::Run { session: of, did, .. } = entry else { continue };
            match did {
                _ if *of != session => {}
                Did::Take { input, attempt, tag } => {
                    self.claim(*input, *tag, "it was given to a run");
                    let last = attempts.insert(*input, *attempt).unwrap_or(0);
                    if *attempt <= last && !fell_back {
                        self.find(format!("input {input}: attempt {attempt} after {last}"));
                    }
                    if *input <= done && !fell_back {
                        self.find(format!("input {input} was given out, {done} were committed"));
                    }
                    if *input > accepted {
                        self.find(format!("input {input} was given out, {accepted} are accepted"));
                    }
                    let inbox = &found.record.inbox;
                    let waits =
                        (1..*input).find(|one| inbox.is_waiting(*one) && !inbox.is_urgent(*one));
                    if let Some(one) = waits
                        && !self.urgent.contains(tag)
                        && !fell_back
                    {
                        self.find(format!("input {input} was given out, and {one} waits"));
                    }
                }
                Did::Commit { sequence, consumed: covered } if !fell_back => {
                    if *covered > consumed {
                        self.find(format!("{covered} were covered, and now {consumed}"));
                    }
                    if *sequence <= newest {
                        self.find(format!("snapshot {sequence} was taken after {newest}"));
                    }
                    (newest, done) = (*sequence, *covered);
                }
                _ => {}
            }
        }
    }

    fn take_kept(&mut self, found: &FoundSession) {
        for input in &found.inputs {
            let payload: serde_json::Value =
                serde_json::from_slice(&input.payload).unwrap_or_default();
            if let Some(tag) = payload.get("tag").and_then(serde_json::Value::as_u64) {
                self.claim(input.sequence, tag, "it is in the store");
            }
        }
        let accepted = found.record.inbox.accepted;
        if let Some((last, _)) = self.tags.last_key_value()
            && *last > accepted
        {
            self.find(format!("input {last} is known, {accepted} are accepted"));
        }
        let known: Vec<(u64, u64)> = self.tags.iter().map(|(input, tag)| (*input, *tag)).collect();
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        for (input, tag) in known {
            if !self.sent.contains(&tag) {
                self.find(format!("input {input} has tag {tag}, which nobody sent"));
            }
            let times = times.entry(tag).or_default();
            *times += 1;
            if *times > self.may_come.get(&tag).copied().unwrap_or(1) {
                self.find(format!("input {input} has tag {tag}, as another has"));
            }
        }
    }

    fn judge_effects(&mut self, session: SessionId, found: &FoundSession, ledger: &Ledger) {
        let Some(applied) = found.applied() else { return };
        let inbox = &found.record.inbox;
        let dropped = interrupts::dropped(found);
        let mut seen = BTreeSet::new();
        let mut last = 0;
        for (input, tag) in applied {
            self.claim(input, tag, "it had its effect");
            if !self.sent.contains(&tag) {
                self.find(format!("tag {tag} had its effect, and nobody sent it"));
            }
            if !seen.insert(input) {
                self.find(format!("input {input} had its effect twice"));
            }
            if input > inbox.accepted || inbox.is_waiting(input) {
                self.find(format!("input {input} had its effect, and is not over"));
            }
            if dropped.contains(&input) {
                self.find(format!("input {input} had its effect, and was dropped"));
            }
            if !self.urgent.contains(&tag) {
                if input < last {
                    self.find(format!(
                        "inputs had their effect out of order: {input} after {last}"
                    ));
                }
                last = input;
            }
        }
        // What its turn had taken is dropped with an input.
        let taken = interrupts::taken(session, found, ledger);
        for input in (1..=inbox.accepted).filter(|input| !inbox.is_waiting(*input)) {
            let may_lack = dropped.contains(&input)
                || self
                    .tags
                    .get(&input)
                    .is_some_and(|tag| self.urgent.contains(tag) && taken.contains(tag));
            if !seen.contains(&input) && !may_lack {
                self.find(format!("input {input} is over, and had no effect"));
            }
        }
    }
}
