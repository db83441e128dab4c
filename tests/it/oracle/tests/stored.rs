//! Logs, records and stores that say what is not so.

use super::*;

type SpoilLog = fn(&mut sessionkeeper::SessionRecord, &mut Vec<EventRecord>);

#[rustfmt::skip]
const SPOILT_LOGS: &[(&str, SpoilLog, Rule)] = &[
    ("a gap", |_, log| drop(log.remove(3)), Rule::Numbering),
    ("an event more", |record, _| record.last_event += 1, Rule::Numbering),
    ("created twice", |record, log| {
        log[2].fact = Fact::Lifecycle(Lifecycle::Created { kind: record.kind.clone() });
    }, Rule::Moves),
    ("a move that is not in the table", |_, log| {
        let at = log.iter().position(|event| moved(event, State::Paused)).unwrap();
        log[at].fact = Fact::Lifecycle(Lifecycle::StateChanged {
            from: State::Active, to: State::Stopped, cause: Cause::Asked, reason: None, begins: false,
        });
    }, Rule::Moves),
    ("a begin that is not told", |_, log| {
        for event in log {
            if let Fact::Lifecycle(Lifecycle::StateChanged { begins, .. }) = &mut event.fact {
                *begins = false;
            }
        }
    }, Rule::Moves),
    ("another state", |record, _| record.phase = sessionkeeper::Phase::Completed, Rule::Record),
    ("a run that never ended", |_, log| {
        log.retain(|event| !matches!(event.fact, Fact::Lifecycle(Lifecycle::RunEnded { .. })));
    }, Rule::OneRun),
    ("a run that ended twice", |_, log| {
        let ended = log.iter().find(|event| matches!(event.fact, Fact::Lifecycle(Lifecycle::RunEnded { .. })));
        log.push(ended.unwrap().clone());
    }, Rule::OneRun),
    ("a stale run that wrote", |_, log| {
        let work = log.iter().find(|event| matches!(event.fact, Fact::Work(_))).unwrap().clone();
        log.push(work);
    }, Rule::Fencing),
    ("usage that is not in the log", |record, _| record.usage = Usage::tokens(1, 1), Rule::Record),
    ("a run that was not counted", |record, _| record.runs.count -= 1, Rule::Record),
    ("a restart that was none", |record, _| record.runs.restarts += 1, Rule::Record),
    ("another last run", |record, _| record.runs.last.as_mut().unwrap().end = RunEnd::Cancelled, Rule::Record),
    ("history that is lost", |record, _| drop(record.history.pop_back()), Rule::Record),
    ("an abandoned run out of nowhere", |record, _| {
        record.abandoned.push(record.runs.last.as_ref().unwrap().run);
    }, Rule::Record),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_in_a_log_is_found() {
    let (store, _, id) = life().await;
    let found = find(&store).await.unwrap();
    let whole = &found[&id];
    assert_eq!(audit_log(&whole.record, &whole.log), []);
    for (what, spoil, expected) in SPOILT_LOGS {
        let (mut record, mut log) = (whole.record.clone(), whole.log.clone());
        spoil(&mut record, &mut log);
        let rules: Vec<Rule> = audit_log(&record, &log).into_iter().map(|v| v.rule).collect();
        assert!(rules.contains(expected), "{what}: {rules:?}");
    }
}

type SpoilStore = fn(&mut Commit);

#[rustfmt::skip]
const SPOILT_STORES: &[(&str, SpoilStore, Rule)] = &[
    ("an input that is missing", |commit| commit.record_mut().inbox.accepted += 1, Rule::Inputs),
    ("an input in hand that is not there", |commit| {
        commit.record_mut().inbox.in_hand = Some(sessionkeeper::InHand { input: 9, attempt: 1 });
    }, Rule::Inputs),
    ("bytes of inputs", |commit| commit.record_mut().inbox.waiting_bytes += 1, Rule::Inputs),
    ("a state that is not covered", |commit| commit.record_mut().inbox.consumed -= 1, Rule::Snapshots),
    ("a snapshot that is missing", |commit| commit.record_mut().snapshots[0].sequence += 1, Rule::Snapshots),
    ("a snapshot of another size", |commit| commit.record_mut().snapshots[0].bytes += 1, Rule::Snapshots),
    ("a snapshot that cannot be read", |commit| commit.snapshot = Some(Arc::from(*b"no snapshot")), Rule::Snapshots),
    ("no snapshot", |commit| commit.record_mut().snapshots.clear(), Rule::Snapshots),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_spoilt_in_a_store_is_found() {
    for (what, spoil, expected) in SPOILT_STORES {
        let (store, _, id) = life().await;
        let mut record = store.load(id).await.unwrap().unwrap();
        record.version += 1;
        let record = Arc::new(record);
        let mut commit = Commit {
            record,
            events: vec![],
            inputs: vec![],
            steps: vec![],
            snapshot: None,
            successor: None,
        };
        spoil(&mut commit);
        let commits = vec![Arc::new(commit)];
        let batch = Batch {
            generation: generation(),
            supervised: Default::default(),
            commits,
            bookmarks: Vec::new(),
        };
        assert_eq!(store.commit(batch).await.unwrap(), [Ok(())], "{what}");
        let rules: Vec<Rule> = audit(&store).await.into_iter().map(|v| v.rule).collect();
        assert!(rules.contains(expected), "{what}: {rules:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_violation() {
    let (store, _, id) = life().await;
    store.damage(id, sessionkeeper::store::Part::Event(2));
    let violations = audit(&store).await;
    assert!(violations.iter().any(|v| v.rule == Rule::Readable), "{violations:?}");
    assert!(violations.iter().all(|v| v.session == Some(id)), "{violations:?}");
}
