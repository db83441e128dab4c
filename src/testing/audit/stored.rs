//! What is stored beside a record: snapshots, inputs, and the indexes that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, PAGE, Rule, log, whole_log};
use crate::{
    model::{
        counts::{Scope, StateCounts},
        event::{EventRecord, RunEdge},
        footprint::StateBytes,
        ids::{RunId, SessionId},
        record::{Lane, SessionRecord, StoredInput},
        snapshot::SnapshotEnvelope,
        state::State,
        step::{StepProgress, Turn},
        time::LaneTime,
    },
    store::{AcceptedInput, Key, Query, Related, Store, StoreError, StoredRun},
    workload,
};

pub(super) async fn audit_session<S: Store + ?Sized>(
    store: &S,
    record: &SessionRecord,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let session = record.id;
    let log = whole_log(store, session).await?;
    let mut about = findings.about(Some(session));
    about.check(record.version > 0, Rule::Record, || "its version is 0".to_owned());
    let said = log::replay(record, &log, &mut about);
    audit_snapshots(store, record, &said, findings).await?;
    audit_inputs(store, record, &said, findings).await?;
    audit_steps(store, record, &said, findings).await?;
    audit_runs(store, session, &log, findings).await?;
    audit_weight(store, record, &log, findings).await?;
    let loaded = store.load(session).await?;
    let mut about = findings.about(Some(session));
    about.check(loaded.as_ref() == Some(record), Rule::Index, || {
        format!("its record is listed as {record:?} and loaded as {loaded:?}")
    });
    Ok(())
}

async fn audit_snapshots<S: Store + ?Sized>(
    store: &S,
    record: &SessionRecord,
    said: &log::Said,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let session = record.id;
    let kept = &record.snapshots;
    let mut about = findings.about(Some(session));
    about.check((1..=SessionRecord::KEPT_SNAPSHOTS).contains(&kept.len()), Rule::Snapshots, || {
        format!("{} snapshots are kept", kept.len())
    });
    let ordered = kept
        .iter()
        .zip(kept.iter().skip(1))
        .all(|(newer, older)| newer.sequence > older.sequence && newer.consumed >= older.consumed);
    about.check(ordered, Rule::Snapshots, || format!("their order: {kept:?}"));
    let covered = kept.first().map(|newest| newest.consumed);
    about.same(Rule::Snapshots, "what it consumed", &Some(record.inbox.consumed), &covered);
    let newest = kept.first().map_or(0, |newest| newest.sequence);
    for other in newest.saturating_sub(PAGE as u64)..=newest + 1 {
        let named = kept.iter().any(|kept| kept.sequence == other);
        if !named && store.snapshot(session, other).await?.is_some() {
            let found = format!("snapshot {other} is kept, and the record does not name it");
            findings.about(Some(session)).add(Rule::Snapshots, found);
        }
    }
    for kept in kept {
        let bytes = store.snapshot(session, kept.sequence).await?;
        let mut about = findings.about(Some(session));
        let Some(bytes) = bytes else {
            about.add(Rule::Snapshots, format!("snapshot {} is missing", kept.sequence));
            continue;
        };
        about.same(Rule::Snapshots, "the bytes of one", &(bytes.len() as u64), &kept.bytes);
        let header = match SnapshotEnvelope::decode(&bytes) {
            Ok(envelope) => envelope.header,
            Err(error) => {
                about.add(Rule::Snapshots, format!("snapshot {}: {error}", kept.sequence));
                continue;
            }
        };
        let ours = header.session == session
            && header.kind == record.kind
            && header.sequence == kept.sequence;
        let of_a_run = match header.run {
            Some(run) => kept.sequence > 1 && said.knows(run),
            None => kept.sequence == 1,
        };
        about.check(ours && of_a_run, Rule::Snapshots, || {
            format!("snapshot {} says {header:?}", kept.sequence)
        });
    }
    Ok(())
}

async fn audit_inputs<S: Store + ?Sized>(
    store: &S,
    record: &SessionRecord,
    said: &log::Said,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let session = record.id;
    let inbox = &record.inbox;
    let inputs = all_inputs(store, session).await?;
    let numbers: Vec<u64> = inputs.iter().map(|input| input.sequence).collect();
    let needed: Vec<u64> = (record.inputs_covered() + 1..=inbox.accepted).collect();
    let mut about = findings.about(Some(session));
    about.same(Rule::Inputs, "the kept inputs", &numbers, &needed);
    about.check(inbox.consumed <= inbox.accepted, Rule::Inputs, || format!("{inbox:?}"));
    if let Some(in_hand) = inbox.in_hand {
        let next = inbox.next_ordinary() == Some(in_hand.input);
        about.check(next && in_hand.attempt > 0, Rule::Inputs, || format!("in hand: {inbox:?}"));
    }
    let sound =
        inbox.out_of_order.as_ref().is_none_or(|odd| odd.is_sound(inbox.consumed, inbox.accepted));
    about.check(sound, Rule::Inputs, || format!("out of order: {inbox:?}"));
    let waiting = inputs.iter().filter(|input| inbox.is_waiting(input.sequence));
    about.same(Rule::Inputs, "how many wait", &(waiting.clone().count() as u64), &inbox.waiting());
    let bytes: u64 = waiting.map(|input| input.payload.len() as u64).sum();
    // What a fallback redelivers is weighed when it is loaded.
    if !said.fell_back {
        about.same(Rule::Inputs, "the bytes that wait", &inbox.waiting_bytes, &bytes);
    }
    for input in inputs {
        let Some(id) = input.id else { continue };
        let checksum = crc32fast::hash(&input.payload);
        let should = Some(AcceptedInput { sequence: input.sequence, checksum });
        let known = store.accepted(session, id).await?;
        let mut about = findings.about(Some(session));
        about.same(Rule::Inputs, "what is known of an input id", &known, &should);
    }
    Ok(())
}

async fn audit_steps<S: Store + ?Sized>(
    store: &S,
    record: &SessionRecord,
    said: &log::Said,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let steps = store.steps(record.id, Turn::default()).await?;
    let mut about = findings.about(Some(record.id));
    let last = steps.last().map(|step| step.turn);
    about.same(Rule::Steps, "the last turn with steps", &record.steps, &last);
    let covered = record.steps_covered();
    let needed = steps.iter().all(|step| step.turn > covered);
    about.check(needed, Rule::Steps, || format!("there are some of turns up to {covered}"));
    let places = || steps.iter().map(|step| (step.turn, &step.key));
    let ordered = places().zip(places().skip(1)).all(|(step, next)| step < next);
    about
        .check(ordered, Rule::Steps, || format!("their order: {:?}", places().collect::<Vec<_>>()));
    // Those of a turn that was begun in another session are of its runs.
    let moved = |turn: Turn| {
        let mut moved = record.inbox.moved.iter();
        moved.any(|moved| Turn::of_input(moved.input) == turn)
    };
    let of_runs = steps.iter().all(|step| said.knows(step.run) || moved(step.turn));
    about.check(of_runs, Rule::Steps, || "some are of a run that never was".to_owned());
    Ok(())
}

/// What its record says that it holds is what there is of it.
async fn audit_weight<S: Store + ?Sized>(
    store: &S,
    record: &SessionRecord,
    log: &[EventRecord],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let Some(held) = &record.footprint else { return Ok(()) };
    let counted = log.iter().filter(|event| event.sequence > held.after);
    let events: u64 = counted.map(|event| workload::bytes_of(&event.fact)).sum();
    let steps = store.steps(record.id, record.steps_covered()).await?;
    let steps: u64 = steps
        .iter()
        .map(|step| match &step.progress {
            StepProgress::Finished(result) => result.len() as u64,
            StepProgress::Begun | StepProgress::Failed => 0,
        })
        .sum();
    let mut about = findings.about(Some(record.id));
    about.same(Rule::Record, "the bytes of its events", &held.events, &events);
    let counted: u64 = held.steps.iter().map(|(_, bytes)| *bytes).sum();
    about.same(Rule::Record, "the bytes of its steps", &counted, &steps);
    Ok(())
}

/// Every run is found where it began and ended.
async fn audit_runs<S: Store + ?Sized>(
    store: &S,
    session: SessionId,
    log: &[EventRecord],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut runs: BTreeMap<RunId, StoredRun> = BTreeMap::new();
    for event in log {
        match event.run_edge() {
            Some(RunEdge::Begins(run)) => {
                runs.insert(run, StoredRun::new(session, event.sequence, None));
            }
            Some(RunEdge::Ends(run)) => {
                if let Some(known) = runs.get_mut(&run) {
                    known.ended = Some(event.sequence);
                }
            }
            None => {}
        }
    }
    for (run, known) in runs {
        let found = store.run(run).await?;
        let mut about = findings.about(Some(session));
        about.same(Rule::Index, &format!("where {run} is found"), &found, &Some(known));
    }
    Ok(())
}

async fn all_inputs<S: Store + ?Sized>(
    store: &S,
    session: SessionId,
) -> Result<Vec<StoredInput>, StoreError> {
    let mut inputs: Vec<StoredInput> = Vec::new();
    loop {
        let after = inputs.last().map_or(0, |last| last.sequence);
        let page = store.inputs(session, after, PAGE).await?;
        if page.is_empty() {
            return Ok(inputs);
        }
        inputs.extend(page);
    }
}

/// Who was rolled over and who took its place name each other; either may be gone.
pub(super) fn audit_chains(records: &BTreeMap<SessionId, SessionRecord>, findings: &mut Findings) {
    for (session, record) in records {
        let mut about = findings.about(Some(*session));
        let links = record.links();
        if let Some(next) = links.transitioned_to.and_then(|next| records.get(&next)) {
            let before = next.links().transitioned_from;
            about.same(Rule::Record, "the chain after it", &before, &Some(*session));
        }
        if let Some(before) = links.transitioned_from.and_then(|before| records.get(&before)) {
            let next = before.links().transitioned_to;
            about.same(Rule::Record, "the chain before it", &next, &Some(*session));
        }
        if let Some(parent) = links.parent.and_then(|parent| records.get(&parent)) {
            let knows = parent.has_children();
            about.check(knows, Rule::Record, || "its parent knows of no children".to_owned());
        }
        let owed = record.family.iter().flat_map(|family| &family.owed);
        for owed in owed.filter(|owed| owed.event > record.last_event) {
            about.add(Rule::Record, format!("it owes something for no event of its: {owed:?}"));
        }
    }
}

/// Looks every session up in every way, and finds no other.
pub(super) async fn audit_index<S: Store + ?Sized>(
    store: &S,
    records: &BTreeMap<SessionId, SessionRecord>,
    tombstones: &[SessionRecord],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    for query in queries(records) {
        let listed = list(store, &query).await?;
        let matching = records.values().filter(|record| query.matches(record));
        let should: BTreeSet<SessionId> = matching.map(|record| record.id).collect();
        findings.about(None).same(Rule::Index, &format!("{query:?}"), &listed, &should);
    }
    for scope in scopes(records) {
        let counts = store.count(scope.clone()).await?;
        let counted =
            records.values().filter(|record| scope.contains(&record.kind, &record.labels));
        let should: StateCounts = counted.map(SessionRecord::state).collect();
        let what = format!("how many are counted of {scope}");
        findings.about(None).same(Rule::Index, &what, &counts, &should);
    }
    let mut held = StateBytes::default();
    records.values().for_each(|record| held.add(record));
    let found = store.held().await?;
    findings.about(None).same(Rule::Index, "what all sessions hold", &found, &held);
    for (key, holder) in keys(records, tombstones) {
        let found = store.find(key.clone()).await?;
        let mut about = findings.about(Some(holder));
        about.same(Rule::Index, &format!("{key:?}"), &found, &Some(holder));
    }
    for lane in Lane::ALL {
        let end = LaneTime::from_millis(u64::MAX);
        let due = store.due(lane, end, usize::MAX).await?;
        let due: BTreeSet<_> = due.into_iter().map(|due| (due.at, due.session)).collect();
        let all = records.values().chain(tombstones);
        let should = all.filter_map(|record| Some((record.due(lane)?, record.id))).collect();
        findings.about(None).same(Rule::Index, &format!("{lane:?}"), &due, &should);
    }
    Ok(())
}

/// One query for each state, kind and label that there is.
fn queries(records: &BTreeMap<SessionId, SessionRecord>) -> Vec<Query> {
    let mut queries = State::ALL.map(|state| Query { states: vec![state], ..all() }).to_vec();
    let kinds: BTreeSet<_> = records.values().map(|record| &record.kind).collect();
    queries.extend(kinds.into_iter().map(|kind| Query { kind: Some(kind.clone()), ..all() }));
    let labels: BTreeSet<_> = records.values().flat_map(|record| record.labels.iter()).collect();
    let labels = labels.into_iter().map(|(key, value)| vec![(key.to_owned(), value.to_owned())]);
    queries.extend(labels.map(|labels| Query { labels, ..all() }));
    let links = records.values().flat_map(|record| record.links().sources());
    let sources: BTreeSet<_> = links.map(|(_, source)| source).collect();
    queries.extend(
        sources.into_iter().map(|to| Query { related: Some(Related::all_of(to)), ..all() }),
    );
    queries
}

/// All, each kind and each label that there is.
fn scopes(records: &BTreeMap<SessionId, SessionRecord>) -> BTreeSet<Scope> {
    let of = |record: &SessionRecord| {
        let labels = record.labels.iter().map(|(key, value)| Scope::label(key, value));
        labels.chain([Scope::Kind(record.kind.clone())]).collect::<Vec<_>>()
    };
    records.values().flat_map(of).chain([Scope::All]).collect()
}

fn all() -> Query {
    Query { limit: PAGE, ..Query::default() }
}

async fn list<S: Store + ?Sized>(
    store: &S,
    query: &Query,
) -> Result<BTreeSet<SessionId>, StoreError> {
    let mut query = query.clone();
    let mut listed = BTreeSet::new();
    loop {
        let page = store.list(query.clone()).await?;
        listed.extend(page.records.iter().map(|record| record.id));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(listed);
        }
    }
}

/// Every key, and whom it must find. A key that two sessions hold, though only one may, finds only
/// one of them.
fn keys(
    records: &BTreeMap<SessionId, SessionRecord>,
    tombstones: &[SessionRecord],
) -> Vec<(Key, SessionId)> {
    let mut by_age: Vec<&SessionRecord> = records.values().collect();
    by_age.sort_by_key(|record| (record.created_at, record.id));
    let of_deleted = tombstones.iter().filter_map(|record| {
        let start = record.start_key.as_ref()?;
        Some((Key::Start(start.key.clone()), record.id))
    });
    let mut keys: Vec<_> = of_deleted.collect();
    let mut external_ids = BTreeMap::new();
    let mut names = BTreeMap::new();
    let mut held = BTreeSet::new();
    for record in by_age {
        if let Some(start) = &record.start_key {
            keys.push((Key::Start(start.key.clone()), record.id));
        }
        if let Some(external) = &record.external_id {
            external_ids.insert(external, record.id);
        }
        if let Some(name) = &record.name {
            if record.state().is_terminal() {
                names.insert(name, record.id);
            } else {
                held.insert(name);
                keys.push((Key::Name(name.clone()), record.id));
            }
        }
    }
    // A name of ended sessions finds the newest of them, if nobody holds it.
    names.retain(|name, _| !held.contains(name));
    keys.extend(names.into_iter().map(|(name, id)| (Key::Name(name.clone()), id)));
    keys.extend(external_ids.into_iter().map(|(id, of)| (Key::ExternalId(id.clone()), of)));
    keys
}
