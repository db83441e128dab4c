//! A session with many events that is deleted.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use sessionkeeper::{
    Deleted, EventRecord, Lane, Removal, SessionRecord, WorkerGeneration,
    store::{Batch, Commit, Purge, Purged, SledStore, Store as _, Then},
};
use tokio::time::Instant;

use super::open::{generation, session, template};
use crate::{
    floor::sled::{Store, TREES, Write, inside},
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
};

pub(crate) const ROW: Row = Row {
    name: "delete",
    what: "a session with 10,000 events is deleted and removed, both durable, at the median",
    floor: "the same two steps: a tombstone, then all rows of the session in one transaction",
    figures: &[Figure { name: "each", unit: Unit::Time, reach: Reach::AtMost(1.3) }],
    allocator: Allocator::AsItIs,
    run,
};

const SESSIONS: usize = 24;
const EVENTS: u64 = 10_000;
/// How many events a commit has.
const AT_ONCE: u64 = 500;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    fill(scene, folder.path()).await?;
    let mut times = match side {
        Side::Ours => ours(folder.path()).await?,
        Side::Floor => floor(folder.path())?,
    };
    Ok(Readings::default().time("each", times.quantile(0.5)))
}

/// Puts sessions into a store whose events were committed in turns, as those of sessions are that run side by side.
async fn fill(scene: &Scene, folder: &Path) -> anyhow::Result<()> {
    let (record, event, snapshot) = template(scene).await?;
    let store = SledStore::open(folder)?;
    let generation = generation();
    let supervised = store.begin(generation).await?.supervised;
    for version in 1..=EVENTS / AT_ONCE {
        let commit = |number| {
            let last_event = version * AT_ONCE;
            let events = last_event - AT_ONCE + 1..=last_event;
            let events = events.map(|sequence| EventRecord { sequence, ..event.clone() });
            let id = session(number);
            let record = record.clone();
            Arc::new(Commit {
                record: Arc::new(SessionRecord {
                    id,
                    version,
                    writer: generation,
                    last_event,
                    ..record
                }),
                events: events.collect(),
                inputs: Vec::new(),
                steps: Vec::new(),
                snapshot: (version == 1).then(|| Arc::clone(&snapshot)),
                successor: None,
            })
        };
        let commits = (0..SESSIONS).map(commit).collect();
        for answer in
            store.commit(Batch { generation, supervised, commits, bookmarks: Vec::new() }).await?
        {
            answer?;
        }
    }
    Ok(store.close().await?)
}

/// What follows a record when its session is deleted.
fn tombstone(record: &SessionRecord, writer: WorkerGeneration, purged: bool) -> SessionRecord {
    let deleted =
        Deleted { at: sessionkeeper::SupervisedTime::default(), by: Removal::Asked, purged };
    let mut tombstone = record.clone();
    tombstone.version += 1;
    tombstone.writer = writer;
    tombstone.snapshots.clear();
    tombstone.history.clear();
    tombstone.deleted = Some(deleted);
    tombstone
}

async fn ours(folder: &Path) -> anyhow::Result<Times> {
    let store = SledStore::open(folder)?;
    let generation = generation();
    let supervised = store.begin(generation).await?.supervised;
    let mut times = Times::default();
    for number in 0..SESSIONS {
        let session = session(number);
        let record = store.load(session).await?.context("it is there")?;
        let began = Instant::now();
        let deleted = Arc::new(tombstone(&record, generation, false));
        let commit = Commit {
            record: Arc::clone(&deleted),
            events: Vec::new(),
            inputs: Vec::new(),
            steps: Vec::new(),
            snapshot: None,
            successor: None,
        };
        let commits = vec![Arc::new(commit)];
        for answer in
            store.commit(Batch { generation, supervised, commits, bookmarks: Vec::new() }).await?
        {
            answer?;
        }
        let version = deleted.version;
        let then = Then::Keep(Arc::new(tombstone(&deleted, generation, true)));
        let purge = Purge { generation, session, version, rows: 2048, then };
        while store.purge(purge.clone()).await?? == Purged::More {}
        times.push(began.elapsed());
        let left = store.events(session, 1..=EVENTS, 1).await?;
        ensure!(left.is_empty(), "events are left");
    }
    let due = store.due(Lane::Removal, sessionkeeper::LaneTime::from_millis(u64::MAX), 99).await?;
    ensure!(due.len() == SESSIONS, "each has its tombstone");
    store.close().await?;
    Ok(times)
}

fn floor(folder: &Path) -> anyhow::Result<Times> {
    let mut store = Store::open(&inside(folder))?;
    let mut times = Times::default();
    for number in 0..SESSIONS {
        let id = *session(number).as_uuid().as_bytes();
        let tree = |name| TREES.iter().position(|other| *other == name).context("a tree");
        let (records, index) = (tree("records")?, tree("index")?);
        let record = store.tree("records")?.get(id)?.context("it is there")?.to_vec();
        let mut rows = Vec::new();
        for row in store.tree("index")? {
            let (key, _) = row?;
            let is_its_own = !key.starts_with(b"j") && key.windows(16).any(|part| part == id);
            if is_its_own {
                rows.push(Write { tree: index, key: key.to_vec(), value: None });
            }
        }
        let due = |at: u8| [b"d\x04".as_slice(), &[0, 0, 0, 0, 0, 0, 0, at], &id].concat();
        let put =
            |tree, key: Vec<u8>, value: &[u8]| Write { tree, key, value: Some(value.to_vec()) };
        let began = Instant::now();
        rows.push(put(index, due(1), &[0; 6]));
        rows.push(put(records, id.to_vec(), &record));
        store.apply(rows)?;
        store.sync()?;
        let mut rows = vec![
            Write { tree: index, key: due(1), value: None },
            put(index, due(2), &[0; 6]),
            put(records, id.to_vec(), &record),
        ];
        for name in ["slots", "snapshots", "inputs", "input_ids", "events", "chunks"] {
            let place = tree(name)?;
            for key in store.tree(name)?.scan_prefix(id).keys() {
                rows.push(Write { tree: place, key: key?.to_vec(), value: None });
            }
        }
        store.apply(rows)?;
        store.sync()?;
        times.push(began.elapsed());
        store.expect("events", &id, 0)?;
    }
    Ok(times)
}
