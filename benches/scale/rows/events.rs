//! Events: told by runs, and read.
//!
//! To append an event is to `emit` it in a run. Runs tell as fast as they may and then commit, so
//! that all of it is durable when it is done. What counts is the time from the first to then.

use std::{hint::black_box, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use sessionkeeper::{Event, EventRecord, Fact, SessionHandle, SessionId, Supervisor};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    floor::{
        sled::{Store, Write, copy_of, inside, unseal},
        template::{self, Template},
        writer::Writer,
    },
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, CALLERS, Telling},
};

pub(crate) const ROW: Row = Row {
    name: "events",
    what: "events of 200 bytes, ten for each session: emitted by runs of a thousand until they \
           are durable, from 512 runs at once; and the 10,000 of one session read",
    floor: "the same rows, packed alike, by one thread that writes; read and decoded",
    figures: &[
        Figure { name: "append", unit: Unit::Rate, reach: Reach::AtLeast(0.8) },
        Figure { name: "read", unit: Unit::Time, reach: Reach::AtMost(1.3) },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// How many events a run tells.
const TOLD: usize = 1_000;

/// How many bytes of events wait for their commit at most.
const WAITING: usize = 256 << 10;

/// How often the log of a session is read.
const READS: usize = 20;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let sessions = (scene.sessions * 10).div_ceil(TOLD);
    let long = (scene.sessions * 10).min(10_000);
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (appended, mut read) = match side {
        Side::Ours => {
            let (supervisor, told) = supervise(folder.path()).await?;
            let reader = tell_one(&supervisor, &told, long).await?;
            (append(&supervisor, &told, sessions).await?, read(&reader, long).await?)
        }
        Side::Floor => {
            let template = template(scene).await?;
            let appended = write(folder.path(), sessions, template).await?;
            let folder = tempfile::tempdir_in(&scene.folder)?;
            let (supervisor, told) = supervise(folder.path()).await?;
            let session = tell_one(&supervisor, &told, long).await?.id();
            let copy = copy_of(&inside(folder.path()))?;
            (appended, scan(&Store::open(copy.path())?, session, long)?)
        }
    };
    let rate = (sessions * TOLD) as f64 / appended.as_secs_f64();
    Ok(Readings::of("append", rate).time("read", read.quantile(0.5)))
}

async fn supervise(folder: &Path) -> anyhow::Result<(Supervisor, Arc<Semaphore>)> {
    let told = Arc::new(Semaphore::new(0));
    let workload = Telling { told: Arc::clone(&told) };
    Ok((workloads::supervise(folder, workload).await?, told))
}

/// A session that has told so many events, which are durable.
async fn tell_one(
    supervisor: &Supervisor,
    told: &Semaphore,
    count: usize,
) -> anyhow::Result<SessionHandle<Telling>> {
    let session = workloads::start_one::<Telling>(supervisor, ()).await?;
    session.send(count).await?;
    told.acquire().await?.forget();
    Ok(session)
}

async fn append(
    supervisor: &Supervisor,
    told: &Arc<Semaphore>,
    count: usize,
) -> anyhow::Result<Duration> {
    let sessions: Arc<[_]> = workloads::start::<Telling>(supervisor, count, || ()).await?.into();
    let (all, told) = (Arc::clone(&sessions), Arc::clone(told));
    let began = Instant::now();
    let telling = workloads::by_many("tell", CALLERS, count, move |place| {
        let (session, told) = (all.get(place).cloned(), Arc::clone(&told));
        async move {
            if let Some(session) = session {
                session.send(TOLD).await?;
                // It may be that of another run, but there is one for each.
                told.acquire().await?.forget();
            }
            Ok(())
        }
    });
    telling.await?;
    let took = began.elapsed();
    for session in &*sessions {
        let status = session.status().await?;
        check(status.record().last_event, TOLD)?;
    }
    Ok(took)
}

/// The number of the last event of a session that told so many. Two tell of its start.
fn check(last: u64, told: usize) -> anyhow::Result<()> {
    ensure!(last == told as u64 + 2, "the last event is {last}, and {told} were told");
    Ok(())
}

async fn read(session: &SessionHandle<Telling>, count: usize) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for _ in 0..READS {
        let events = times.of(session.events(3..=u64::MAX, count)).await?;
        check_events(&events, count)?;
    }
    Ok(times)
}

fn check_events(events: &[EventRecord], count: usize) -> anyhow::Result<()> {
    let is_told = |record: &EventRecord| match &record.fact {
        Fact::Work(Event::Completion { message, .. }) => message.len() > 100,
        Fact::Work(_) | Fact::Lifecycle(_) | Fact::Usage(_) => false,
    };
    ensure!(events.len() == count, "{} events were read, and not {count}", events.len());
    ensure!(events.iter().all(is_told), "other events were read");
    let numbers = events.iter().map(|event| event.sequence);
    ensure!(numbers.eq(3..count as u64 + 3), "the events have other numbers");
    Ok(())
}

async fn write(folder: &Path, count: usize, template: Template) -> anyhow::Result<Duration> {
    let (before, rows) = template.count("events");
    let mut store = Store::open(folder)?;
    store.fill((0..count).flat_map(|session| template.rows(session)))?;
    let writer = Writer::on(store)?;
    let (line, template) = (writer.line(), Arc::new(template));
    let began = Instant::now();
    let writing = workloads::by_many("write", CALLERS, count, move |session| {
        let (line, template) = (line.clone(), Arc::clone(&template));
        async move {
            for part in parts(template.writes(session, 0)) {
                line.write(part).await?;
            }
            Ok(())
        }
    });
    writing.await?;
    let took = began.elapsed();
    ensure!(before <= rows, "events stay");
    writer.close()?.expect("events", &[], rows * count)?;
    Ok(took)
}

/// Rows in parts that are as large as what may wait.
fn parts(rows: Vec<Write>) -> Vec<Vec<Write>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for row in rows {
        bytes += row.value.as_ref().map_or(0, Vec::len);
        if bytes > WAITING {
            bytes = 0;
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(row);
        }
    }
    parts
}

fn scan(store: &Store, session: SessionId, count: usize) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for _ in 0..READS {
        let began = Instant::now();
        let events = read_raw(store, session, 3, count)?;
        times.push(began.elapsed());
        check_events(&events, count)?;
        black_box(events);
    }
    Ok(times)
}

/// The events of a session, from a number on. A row holds some, each after its length.
fn read_raw(
    store: &Store,
    session: SessionId,
    from: u64,
    count: usize,
) -> anyhow::Result<Vec<EventRecord>> {
    let mut events = Vec::with_capacity(count);
    for row in store.tree("events")?.scan_prefix(session.as_uuid().as_bytes()) {
        let (_, value) = row?;
        let mut rest = unseal(&value)?;
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length))?;
            let (json, more) = more.split_at_checked(length).context("a row is whole")?;
            rest = more;
            let event: EventRecord = serde_json::from_slice(json)?;
            if event.sequence >= from {
                events.push(event);
            }
        }
    }
    Ok(events)
}

/// What a run writes that tells its events and commits.
async fn template(scene: &Scene) -> anyhow::Result<Template> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (supervisor, told) = supervise(folder.path()).await?;
    let session = workloads::start_one::<Telling>(&supervisor, ()).await?;
    let before = template::rows(folder.path()).await?;
    session.send(TOLD).await?;
    told.acquire().await?.forget();
    Template::of(session.id(), &before, &template::rows(folder.path()).await?)
}
