//! The status of live sessions: as a page shows it that goes through many of them.

use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::ensure;
use sessionkeeper::{SessionRecord, State};
use tokio::time::Instant;

use crate::{
    readings::{Readings, nanos},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Idle},
};

pub(crate) const ROW: Row = Row {
    name: "status",
    what: "the status of a live session, of a tenth of the sessions in random order",
    floor: "a lookup of as many records in a concurrent map, a clone of the `Arc`, and a look into it",
    figures: &[
        Figure { name: "by id", unit: Unit::Time, reach: Reach::AtMost(3.0) },
        Figure { name: "by handle", unit: Unit::Time, reach: Reach::AtMost(3.0) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

const READS: usize = 2_000_000;

/// What lies between the records of two sessions: the rest of an idle one.
const SPACE: usize = 8 << 10;

/// As large as a record, with its id and its state.
struct Entry {
    id: u128,
    state: State,
    _rest: [u8; size_of::<SessionRecord>() - size_of::<u128>() - size_of::<State>()],
}

impl Entry {
    fn new(id: u128) -> Self {
        Self { id, state: State::Active, _rest: std::array::from_fn(|_| 0) }
    }

    fn is_active(&self, id: u128) -> bool {
        self.state == State::Active && self.id == id
    }
}

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let count = scene.sessions.div_ceil(10);
    Ok(match side {
        Side::Ours => {
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let supervisor = workloads::supervise(folder.path(), Idle).await?;
            let mut sessions = workloads::start::<Idle>(&supervisor, count, || ()).await?;
            fastrand::shuffle(&mut sessions);
            workloads::all_run(&sessions).await?;
            let ids: Vec<_> = sessions.iter().map(|session| session.id()).collect();
            let mut active = 0;
            let began = Instant::now();
            for id in ids.iter().cycle().take(READS) {
                let status = supervisor.status(*id).await?;
                active += usize::from(status.state() == State::Active && status.session() == *id);
            }
            let by_id = began.elapsed();
            let began = Instant::now();
            for session in sessions.iter().cycle().take(READS) {
                let status = session.status().await?;
                let is_right = status.session() == session.id();
                active += usize::from(status.state() == State::Active && is_right);
            }
            let by_handle = began.elapsed();
            ensure!(active == 2 * READS, "only {active} of {} were as they are", 2 * READS);
            Readings::of("by id", each(by_id)).and("by handle", each(by_handle))
        }
        Side::Floor => {
            let map = papaya::HashMap::<u128, Arc<Entry>>::new();
            let mut ids: Vec<u128> = (0..count).map(|_| fastrand::u128(..)).collect();
            let pinned = map.pin();
            // Each is in a place of its own, as those of sessions are.
            let spaces: Vec<_> = ids
                .iter()
                .map(|id| {
                    pinned.insert(*id, Arc::new(Entry::new(*id)));
                    vec![0_u8; SPACE]
                })
                .collect();
            drop(pinned);
            fastrand::shuffle(&mut ids);
            let mut found = 0;
            let began = Instant::now();
            for id in ids.iter().cycle().take(READS) {
                let entry = black_box(&map).pin().get(id).map(Arc::clone);
                found += usize::from(entry.is_some_and(|entry| entry.is_active(*id)));
            }
            drop(black_box(spaces));
            let took = began.elapsed();
            ensure!(found == READS, "only {found} of {READS} were found");
            Readings::of("by id", each(took)).and("by handle", each(took))
        }
    })
}

fn each(took: Duration) -> f64 {
    nanos(took) / READS as f64
}
