//! What the claims of the [conformance suite](mod@super::conformance) are made of: sessions and their
//! commits, small and the same each time. They serve tests of what is special about a store too.
//!
//! What is numbered (workers, sessions, runs) is the same wherever the number is. Functions that
//! speak to a store panic where it does not answer as it must, as a test does.

use std::{collections::VecDeque, sync::Arc};

use chrono::DateTime;
use uuid::Uuid;

use crate::{
    Cause, Event, EventRecord, Fact, Failures, Inbox, InputId, Kind, Labels, Lifecycle, Metadata,
    PauseCause, Phase, RunEnd, RunId, Runs, SessionId, SessionRecord, SnapshotRef, State,
    StepProgress, StoredInput, StoredStep, SupervisedTime, Timestamp, Turn, Usage,
    WorkerGeneration,
    store::{Batch, Commit, Refusal, Store},
    testing::Place,
};

/// A new place, and a store there that worker 1 has begun to use.
pub async fn opened<P: Place>() -> (P, P::Store) {
    let place = P::new();
    let store = place.open().await;
    store.begin(worker(1)).await.expect("begin");
    (place, store)
}

/// Drops the store and opens it again for another worker.
pub async fn reopened<P: Place>(place: &P, store: P::Store, by: u128) -> P::Store {
    drop(store);
    let store = place.open().await;
    store.begin(worker(by)).await.expect("begin");
    store
}

/// A worker by number.
pub fn worker(number: u128) -> WorkerGeneration {
    WorkerGeneration::from_uuid(Uuid::from_u128(number))
}

/// A session by number.
pub fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

/// A run by number.
pub fn run(number: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(number))
}

/// A moment, in seconds from a common beginning.
pub fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_700_000_000 + seconds, 123_456_789).expect("a moment")
}

/// A supervised time in milliseconds.
pub fn supervised(millis: u64) -> SupervisedTime {
    SupervisedTime::from_millis(millis)
}

/// A record in its first version, written by worker 1 and created `number` seconds after the
/// others began.
pub fn record(number: u128) -> SessionRecord {
    SessionRecord {
        id: session(number),
        kind: "coder".parse().expect("a kind"),
        version: 1,
        writer: worker(1),
        created_at: at(i64::try_from(number).expect("a small number")),
        updated_at: at(0),
        phase: active(1),
        name: None,
        external_id: None,
        start_key: None,
        labels: Labels::default(),
        metadata: Metadata::default(),
        policy: None,
        lineage: None,
        last_event: 0,
        trimmed: None,
        footprint: None,
        inbox: Inbox::default(),
        snapshots: Vec::new(),
        steps: None,
        usage: Usage::default(),
        runs: Runs::default(),
        failures: Failures::default(),
        recoveries: 0,
        abandoned: Vec::new(),
        ended: None,
        deleted: None,
        history: VecDeque::new(),
        family: None,
    }
}

/// The phase of a session that a worker runs, in the run of the same number.
pub fn active(by: u128) -> Phase {
    Phase::Active { run: run(by), worker: worker(by), restarting: None }
}

/// The phase of a session that waits for its place, from and until when in milliseconds of
/// supervised time.
pub fn pending(since: u64, until: Option<u64>) -> Phase {
    Phase::Pending { since: supervised(since), until: until.map(supervised) }
}

/// The phase of a paused session, from and until when in milliseconds of supervised time.
pub fn paused(cause: PauseCause, since: u64, until: Option<u64>) -> Phase {
    Phase::Paused { cause, since: supervised(since), until: until.map(supervised) }
}

/// A kind by its text.
pub fn kind(text: &str) -> Kind {
    text.parse().expect("a kind")
}

/// Bytes that look random and are the same each time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    next.flatten().take(length).collect()
}

/// What follows a record: the next version with a change made to it.
pub fn next(record: &SessionRecord, change: impl FnOnce(&mut SessionRecord)) -> SessionRecord {
    let mut record = record.clone();
    record.version += 1;
    change(&mut record);
    record
}

/// A commit of a record and nothing else.
pub fn only(record: SessionRecord) -> Commit {
    Commit {
        record: Arc::new(record),
        events: Vec::new(),
        inputs: Vec::new(),
        steps: Vec::new(),
        snapshot: None,
        successor: None,
    }
}

/// A commit with inputs that continue the inbox.
pub fn with_inputs(mut record: SessionRecord, new: &[(Option<&str>, &[u8])]) -> Commit {
    let mut inputs = Vec::new();
    for (id, payload) in new {
        record.inbox.accepted += 1;
        record.inbox.waiting_bytes += payload.len() as u64;
        inputs.push(StoredInput {
            sequence: record.inbox.accepted,
            id: id.map(input_id),
            at: at(5),
            state_version: 3,
            payload: (*payload).into(),
        });
    }
    Commit { inputs, ..only(record) }
}

/// An input id by its text.
pub fn input_id(text: &str) -> InputId {
    text.parse().expect("an input id")
}

/// A commit with events that continue the log.
pub fn with_events<'a>(
    mut record: SessionRecord,
    messages: impl IntoIterator<Item = &'a str>,
) -> Commit {
    let mut events = Vec::new();
    for message in messages {
        record.last_event += 1;
        events.push(EventRecord {
            sequence: record.last_event,
            at: at(7),
            run: record.phase.run(),
            input: None,
            fact: Fact::Work(Event::completion(message)),
        });
    }
    Commit { events, ..only(record) }
}

/// A commit with runs that begin one after the other; each but the last has ended.
pub fn with_runs(mut record: SessionRecord, runs: impl IntoIterator<Item = RunId>) -> Commit {
    let mut events: Vec<EventRecord> = Vec::new();
    for run in runs {
        if let Some(before) = events.last().and_then(|event| event.run) {
            events.push(of_run(&mut record, before, end_of_run()));
        }
        let (from, to) = (State::Pending, State::Active);
        let begun = Lifecycle::StateChanged {
            from,
            to,
            cause: Cause::SlotFree,
            reason: None,
            begins: false,
        };
        events.push(of_run(&mut record, run, begun));
    }
    Commit { events, ..only(record) }
}

/// A commit with the end of a run.
pub fn with_end_of_run(mut record: SessionRecord, run: RunId) -> Commit {
    let ended = of_run(&mut record, run, end_of_run());
    Commit { events: vec![ended], ..only(record) }
}

/// One that is large, as what a program said last may be.
fn end_of_run() -> Lifecycle {
    Lifecycle::RunEnded { how: RunEnd::Failed { error: "no ".repeat(50_000) } }
}

fn of_run(record: &mut SessionRecord, run: RunId, what: Lifecycle) -> EventRecord {
    record.last_event += 1;
    let fact = Fact::Lifecycle(what);
    EventRecord { sequence: record.last_event, at: at(7), run: Some(run), input: None, fact }
}

/// A commit with a new snapshot that covers the inputs up to `consumed`.
pub fn with_snapshot(mut record: SessionRecord, consumed: u64, bytes: &[u8]) -> Commit {
    let sequence = record.snapshot().map_or(1, |newest| newest.sequence + 1);
    record.inbox.consumed = consumed;
    record.snapshots.insert(
        0,
        SnapshotRef { sequence, consumed, interlude: 0, bytes: bytes.len() as u64, at: at(9) },
    );
    record.snapshots.truncate(SessionRecord::KEPT_SNAPSHOTS);
    let covered = record.steps_covered();
    record.steps = record.steps.filter(|last| *last > covered);
    Commit { snapshot: Some(bytes.into()), ..only(record) }
}

/// A commit of how far steps came, each with its turn, its key, and its result if it has one.
pub fn with_steps(mut record: SessionRecord, steps: &[(Turn, &str, Option<&[u8]>)]) -> Commit {
    let mut stored = Vec::new();
    for (turn, key, result) in steps {
        record.steps = record.steps.max(Some(*turn));
        stored.push(StoredStep {
            turn: *turn,
            key: key.parse().expect("a step key"),
            run: RunId::from_uuid(Uuid::from_u128(9)),
            at: at(6),
            progress: result.map_or(StepProgress::Begun, |it| StepProgress::Finished(it.into())),
        });
    }
    Commit { steps: stored, ..only(record) }
}

/// A batch of a worker, at no supervised time.
pub fn batch(by: u128, commits: impl IntoIterator<Item = Commit>) -> Batch {
    Batch {
        generation: worker(by),
        supervised: SupervisedTime::default(),
        commits: commits.into_iter().map(Arc::new).collect(),
        bookmarks: Vec::new(),
    }
}

/// Commits one change as worker 1 and gives back the record that is now stored.
pub async fn put(store: &impl Store, commit: Commit) -> SessionRecord {
    let record = Arc::clone(&commit.record);
    assert_eq!(answer(store, commit).await, Ok(()));
    Arc::unwrap_or_clone(record)
}

/// What the store says to one commit of worker 1.
pub async fn answer(store: &impl Store, commit: Commit) -> Result<(), Refusal> {
    let mut answers = store.commit(batch(1, [commit])).await.expect("an answer");
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

/// The messages of events, to compare them with what was written.
pub fn messages(events: &[EventRecord]) -> Vec<(u64, String)> {
    events
        .iter()
        .map(|event| {
            let Fact::Work(Event::Completion { message, .. }) = &event.fact else {
                panic!("not written by these tests: {event:?}");
            };
            (event.sequence, message.clone())
        })
        .collect()
}
