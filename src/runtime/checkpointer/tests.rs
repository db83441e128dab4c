use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Commit, Job, MAX_BATCH, MAX_BATCH_BYTES, Message, batch_end};
use crate::{
    model::{ids::WorkerGeneration, record::StoredInput},
    telemetry::Stamp,
};

/// A commit with a snapshot and inputs of so many bytes.
fn commit(snapshot: Option<usize>, inputs: &[usize]) -> Message {
    let at = "2026-01-01T00:00:00Z";
    let record = serde_json::json!({
        "id": Uuid::from_u128(9), "kind": "coder", "version": 1,
        "writer": WorkerGeneration::from_uuid(Uuid::from_u128(1)),
        "created_at": at, "updated_at": at, "phase": { "state": "stopped" }, "last_event": 0,
    });
    let commit = Commit {
        record: serde_json::from_value(record).expect("a record"),
        events: Vec::new(),
        inputs: inputs
            .iter()
            .map(|bytes| StoredInput {
                sequence: 1,
                id: None,
                at: at.parse().expect("a time"),
                state_version: 1,
                payload: vec![0; *bytes].into(),
            })
            .collect(),
        steps: Vec::new(),
        snapshot: snapshot.map(|bytes| vec![0; bytes].into()),
        successor: None,
    };
    Message::Commit(Job {
        commit: Arc::new(commit),
        on_answer: Box::new(|_| ()),
        told: false,
        handed_in: Stamp::now(),
    })
}

fn flush() -> Message {
    Message::Flush(oneshot::channel().0)
}

#[test]
fn a_batch_has_no_more_bytes_than_allowed_but_for_a_single_commit() {
    const HALF: usize = MAX_BATCH_BYTES / 2;
    let cases = [
        (vec![commit(Some(HALF), &[]), commit(Some(HALF), &[])], 2),
        (vec![commit(Some(HALF), &[]), commit(Some(HALF + 1), &[])], 1),
        (vec![commit(None, &[HALF, HALF]), commit(None, &[1])], 1),
        (vec![commit(Some(HALF), &[HALF - 1]), commit(Some(1), &[]), commit(None, &[1])], 2),
        // Alone it goes, however large it is, and nothing goes with it.
        (vec![commit(Some(3 * HALF), &[]), commit(None, &[])], 1),
        (vec![flush(), commit(Some(3 * HALF), &[]), commit(None, &[])], 1),
    ];
    for (number, (waiting, expected)) in cases.into_iter().enumerate() {
        assert_eq!(batch_end(&waiting, MAX_BATCH), expected, "case {number}");
    }
}

#[test]
fn a_batch_has_no_more_commits_than_allowed() {
    let waiting: Vec<_> = (0..=MAX_BATCH).map(|_| commit(None, &[])).collect();
    assert_eq!(batch_end(&waiting, MAX_BATCH), MAX_BATCH);
    assert_eq!(batch_end(&waiting[..3], MAX_BATCH), 3);
    assert_eq!(batch_end(&waiting[..3], 2), 2);
    assert_eq!(batch_end(&[], MAX_BATCH), 0);
}
