//! What sessions hold in memory that are paused or have ended: nothing, but what sled itself needs
//! to find their rows.
//!
//! Sessions come and go in waves. The first half of the waves fills what is there once, whatever
//! the number: the cache of sled, what the library remembers of the sessions that were written last,
//! and the holes that the allocator keeps for the next wave. From then on it is counted how much
//! each further session adds. Some bytes of that are noise: memory is resident in pages, and sled
//! has a few buffers of 4 MiB in flight at one moment and none at another. The benchmark
//! `allocations` counts, to the byte, what the library itself keeps.

use std::path::Path;

use anyhow::ensure;
use futures::{StreamExt, TryStreamExt, stream};
use ractor::ActorRef;
use sessionkeeper::{SessionHandle, SessionId, State, Supervisor, store::SledStore};
use sled::{Batch, Transactional, Tree, transaction::ConflictableTransactionError};

use crate::{
    disk,
    floor::{actors, sled::open},
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, CALLERS, Idle},
};

pub(crate) const ROW: Row = Row {
    name: "asleep",
    what: "resident memory that lasts of a paused or completed session",
    floor: "of as many rows in bare sled, whose map of pages is in memory",
    figures: &[Figure { name: "each", unit: Unit::Bytes, reach: Reach::Above(16.0) }],
    allocator: Allocator::AsItIs,
    run,
};

/// How many waves there are, and after how many of them it is counted.
const WAVES: usize = 100;
const WARM: usize = 50;
/// What sled may keep of its pages: little, so that it is full soon.
const CACHE: u64 = 4 << 20;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let wave = scene.sessions.div_ceil(WAVES);
    let mut resident = Vec::with_capacity(WAVES);
    match side {
        Side::Ours => {
            let store =
                SledStore::options(folder.path().join("store")).cache_capacity(CACHE).open()?;
            let supervisor = Supervisor::builder(store).workload(Idle).start().await?;
            let mut some = Vec::with_capacity(2 * WAVES);
            for _ in 0..WAVES {
                some.extend(come_and_go(&supervisor, wave).await?);
                resident.push(disk::resident()?);
            }
            for (session, rests) in some {
                supervisor.session(session).await?.wait_for(&[rests]).await?;
            }
        }
        Side::Floor => {
            let mut bare = Bare::open(folder.path())?;
            let parent = actors::parent().await;
            for _ in 0..WAVES {
                bare.come_and_go(&parent, wave).await?;
                resident.push(disk::resident()?);
            }
            ensure!(bare.rows() >= 6 * wave * WAVES, "{} rows", bare.rows());
        }
    }
    let each = slope(resident.get(WARM..).unwrap_or_default()) / wave as f64;
    Ok(Readings::of("each", each))
}

/// How much numbers grow from one to the next, by least squares.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let offsets = (0..values.len()).map(|at| at as f64 - middle);
    let (mut along, mut square) = (0.0, 0.0);
    for (offset, value) in offsets.zip(values) {
        along += offset * (value - mean);
        square += offset * offset;
    }
    along / square
}

/// Starts some sessions, and puts them to rest: every other one completes. Gives some of them, each
/// with the state that it must be in.
async fn come_and_go(
    supervisor: &Supervisor,
    count: usize,
) -> anyhow::Result<Vec<(SessionId, State)>> {
    let sessions = workloads::start::<Idle>(supervisor, count, || ()).await?;
    let at_rest: Vec<_> = stream::iter(sessions.iter().enumerate())
        .map(async |(number, session)| put_to_rest(session, number).await)
        .buffered(CALLERS)
        .try_collect()
        .await?;
    Ok(at_rest.into_iter().rev().take(2).collect())
}

async fn put_to_rest(
    session: &SessionHandle<Idle>,
    number: usize,
) -> anyhow::Result<(SessionId, State)> {
    if number.is_multiple_of(2) {
        session.pause().await?;
        Ok((session.id(), State::Paused))
    } else {
        session.complete().await?;
        Ok((session.id(), State::Completed))
    }
}

/// The rows of sessions, in bare sled.
struct Bare {
    db: sled::Db,
    records: sled::Tree,
    slots: sled::Tree,
    events: sled::Tree,
    index: sled::Tree,
    sessions: u64,
}

impl Bare {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let (db, _) = open(folder, CACHE)?;
        let [records, slots, events, index] =
            ["records", "slots", "events", "index"].map(|name| db.open_tree(name));
        let (records, slots) = (records?, slots?);
        Ok(Self { db, records, slots, events: events?, index: index?, sessions: 0 })
    }

    /// Brings up what the sessions of a wave are made of, and writes their rows as they are when
    /// they start; then ends it all, and writes the rows as they are when sessions rest.
    async fn come_and_go(&mut self, parent: &ActorRef<()>, count: usize) -> anyhow::Result<()> {
        let numbers: Vec<u64> = (self.sessions..).take(count).collect();
        self.sessions += count as u64;
        let mut live = Vec::with_capacity(count);
        for some in numbers.chunks(CALLERS) {
            live.extend(actors::bring_up(parent, some.len()).await?);
            self.write(some, false)?;
        }
        let mut live = live.into_iter();
        for some in numbers.chunks(CALLERS) {
            for pair in live.by_ref().take(some.len()) {
                pair.end().await?;
            }
            self.write(some, true)?;
        }
        Ok(())
    }

    fn write(&self, numbers: &[u64], rests: bool) -> anyhow::Result<()> {
        let mut batches: [Batch; 4] = Default::default();
        let [records, slots, events, index] = &mut batches;
        for number in numbers {
            let id =
                (u128::from(*number) << 64 | u128::from(number.wrapping_mul(PRIME))).to_be_bytes();
            let part = |number: u64| [&id[..], &number.to_be_bytes()].concat();
            let slot = |number: u8| [&id[..], &[number % 2]].concat();
            let place = |prefix: &[u8]| [prefix, &number.to_be_bytes(), &id].concat();
            if rests {
                records.insert(&id, vec![1; 880]);
                events.insert(part(1), vec![1; 648]);
                index.remove(place(b"t0"));
                index.insert(place(b"t1"), &[0; 6]);
                if number.is_multiple_of(2) {
                    slots.insert(slot(2), vec![1; 187]);
                }
            } else {
                records.insert(&id, vec![0; 620]);
                events.insert(part(1), vec![0; 280]);
                slots.insert(slot(1), vec![0; 142]);
                for prefix in [&b"a"[..], b"t0", b"kidle\0"] {
                    index.insert(place(prefix), &[0; 6]);
                }
            }
        }
        let trees: [&Tree; 4] = [&self.records, &self.slots, &self.events, &self.index];
        let written = trees.as_slice().transaction(|views| {
            for (view, batch) in views.iter().zip(&batches) {
                view.apply_batch(batch)?;
            }
            Ok::<(), ConflictableTransactionError<()>>(())
        });
        written.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        self.db.flush()?;
        Ok(())
    }

    fn rows(&self) -> usize {
        [&self.records, &self.slots, &self.events, &self.index].map(|tree| tree.len()).iter().sum()
    }
}

/// Scatters the ends of ids, as random ones are.
const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
