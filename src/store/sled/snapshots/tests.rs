//! How much a checkpoint writes.

use std::sync::Arc;

use fastrand::Rng;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    model::{
        ids::{SessionId, WorkerGeneration},
        record::SnapshotRef,
        snapshot::{Codec, SnapshotEnvelope, SnapshotHeader},
        time::SupervisedTime,
    },
    store::{Batch, Commit, SledStore, Store},
};

const TURN: usize = 4 << 10;
const LARGE: usize = 10 << 20;

/// A session on disk whose state is checkpointed.
struct Session {
    store: SledStore,
    _folder: TempDir,
    version: u64,
    kept: Vec<SnapshotRef>,
}

impl Session {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let store = SledStore::open(folder.path()).expect("open");
        store.begin(worker()).await.expect("begin");
        Self { store, _folder: folder, version: 0, kept: Vec::new() }
    }

    /// Commits a state, and says how many bytes that wrote.
    async fn checkpoint(&mut self, state: &[u8]) -> usize {
        self.version += 1;
        let header = SnapshotHeader {
            kind: "chat".parse().expect("a kind"),
            state_version: 1,
            session: session(),
            run: None,
            sequence: self.version,
            codec: Codec::Json,
        };
        let bytes = SnapshotEnvelope::encode(&header, state);
        let at = chrono::DateTime::from_timestamp(1_700_000_000, 0).expect("a time");
        let (sequence, length) = (self.version, bytes.len() as u64);
        self.kept.insert(0, SnapshotRef { sequence, consumed: 0, interlude: 0, bytes: length, at });
        self.kept.truncate(2);
        let record = serde_json::json!({
            "id": session(), "kind": "chat", "version": self.version, "writer": worker(),
            "created_at": at, "updated_at": at, "phase": { "state": "stopped" }, "last_event": 0,
            "snapshots": self.kept,
        });
        let commit = Commit {
            record: serde_json::from_value(record).expect("a record"),
            events: Vec::new(),
            inputs: Vec::new(),
            steps: Vec::new(),
            snapshot: Some(bytes.into()),
            successor: None,
        };
        let batch = Batch {
            generation: worker(),
            supervised: SupervisedTime::default(),
            commits: vec![Arc::new(commit)],
            bookmarks: Vec::new(),
        };
        self.store.shared.counted();
        assert_eq!(self.store.commit(batch).await.expect("an answer"), [Ok(())]);
        self.store.shared.counted()
    }
}

fn worker() -> WorkerGeneration {
    WorkerGeneration::from_uuid(Uuid::from_u128(1))
}

fn session() -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(9))
}

/// A chat as JSON.
struct Chat {
    turns: u64,
    messages: String,
    rng: Rng,
}

impl Chat {
    fn of(length: usize, seed: u64) -> Self {
        let mut chat = Self { turns: 0, messages: String::new(), rng: Rng::with_seed(seed) };
        while chat.messages.len() < length {
            chat.say(TURN);
        }
        chat
    }

    /// Adds a message.
    fn say(&mut self, length: usize) {
        let comma = if self.messages.is_empty() { "" } else { "," };
        let mut text = String::new();
        while text.len() < length {
            let letters = self.rng.usize(1..12);
            text.extend((0..letters).map(|_| self.rng.lowercase()));
            text.push(' ');
        }
        let message = format!(r#"{comma}{{"role":"user","text":"{text}"}}"#);
        self.messages.push_str(&message);
        self.turns += 1;
    }

    /// With a count of the turns in front of them, or without.
    fn state(&self, counted: bool) -> Vec<u8> {
        let turns = if counted { self.turns } else { 0 };
        let padding = "some instructions ".repeat(30);
        format!(r#"{{"rules":"{padding}","turns":{turns},"messages":[{}]}}"#, self.messages)
            .into_bytes()
    }
}

/// How many bytes turns at the end of a large state write for each that is new.
async fn written_for_each_new_one(turns: u32, counted: bool) -> f64 {
    let mut session = Session::new().await;
    let mut chat = Chat::of(LARGE, 7);
    session.checkpoint(&chat.state(counted)).await;
    let (mut written, before) = (0, chat.messages.len());
    for _ in 0..turns {
        chat.say(TURN);
        written += session.checkpoint(&chat.state(counted)).await;
    }
    of(written, chat.messages.len() - before)
}

#[expect(clippy::cast_precision_loss, reason = "a part in a thousand does not matter")]
fn of(written: usize, changed: usize) -> f64 {
    written as f64 / changed as f64
}

#[tokio::test]
async fn a_turn_of_a_large_chat_writes_about_twice_what_it_adds() {
    let factor = written_for_each_new_one(200, false).await;
    assert!(factor < 2.1, "{factor:.2}");
}

#[tokio::test]
async fn a_count_at_the_front_of_a_large_state_costs_one_chunk_more() {
    let factor = written_for_each_new_one(60, true).await;
    assert!(factor < 2.8, "{factor:.2}");
}

#[tokio::test]
async fn an_edit_anywhere_in_a_large_state_writes_a_few_chunks() {
    let mut session = Session::new().await;
    let mut state = Chat::of(LARGE, 7).state(true);
    session.checkpoint(&state).await;
    let mut rng = Rng::with_seed(8);
    let mut written = 0;
    for _ in 0..50 {
        let place = rng.usize(..state.len() - 50);
        let new: Vec<_> = (0..rng.usize(1..100)).map(|_| rng.u8(b'a'..=b'z')).collect();
        state.splice(place..place + rng.usize(0..50), new);
        written += session.checkpoint(&state).await;
    }
    assert!(written < 50 * 8_000, "{} bytes for each", written / 50);
    let unchanged = session.checkpoint(&state).await;
    assert!(unchanged < 2_000, "{unchanged} bytes");
}

#[tokio::test]
async fn a_state_that_changed_everywhere_is_hardly_more_than_written() {
    let mut session = Session::new().await;
    for seed in 0..4 {
        let state = Chat::of(LARGE, seed).state(true);
        let factor = of(session.checkpoint(&state).await, state.len());
        assert!(factor < 1.05, "{factor:.3}");
    }
}
