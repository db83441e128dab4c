//! A program that prints much: from its start to the moment at which all of its lines are durable
//! events of its session and it has completed.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use sessionkeeper::{
    Event, Fact, SessionHandle, Settled,
    process::{ProcessSpec, ProcessState, ProcessWorkload},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::Instant,
};

use crate::{
    programs,
    readings::Readings,
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads,
};

pub(crate) const ROW: Row = Row {
    name: "program-lines",
    what: "the lines that one program prints, ten for each session, from its start until they are \
           durable events and it has completed",
    floor: "a task that reads the same pipe by lines, and keeps none of them",
    figures: &[Figure { name: "rate", unit: Unit::Rate, reach: Reach::AtLeast(0.7) }],
    allocator: Allocator::KeepsMemory,
    run,
};

/// How each line begins. Its number follows, so that a line that is lost or in another place shows.
const LINE: &str = "a line of forty characters, number ";

/// How much is read at once, as ours does.
const BUFFER: usize = 32 << 10;

/// How many events are read at once.
const PAGE: usize = 256;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    let lines = scene.sessions * 10;
    let took = match side {
        Side::Ours => ours(scene, lines).await?,
        // A session runs in a task too.
        Side::Floor => tokio::spawn(floor(lines)).await??,
    };
    Ok(Readings::of("rate", lines as f64 / took.as_secs_f64()))
}

/// What the program is given, so that it prints so many lines.
fn arguments(lines: usize) -> [String; 3] {
    ["-f".to_owned(), format!("{LINE}%.0f"), lines.to_string()]
}

async fn ours(scene: &Scene, lines: usize) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let supervisor = programs::supervise(folder.path()).await?;
    let spec = ProcessSpec::builder("seq").args(arguments(lines)).build()?;
    let state = ProcessState::from(spec);
    let began = Instant::now();
    let session = workloads::start_one::<ProcessWorkload>(&supervisor, state).await?;
    let settled = session.settled().await?;
    let took = began.elapsed();
    ensure!(matches!(settled, Settled::Completed(_)), "the program has not completed");
    check(&session, lines).await?;
    Ok(took)
}

/// Checks that the session has kept every line.
async fn check(session: &SessionHandle<ProcessWorkload>, lines: usize) -> anyhow::Result<()> {
    let counted = session.snapshot().await?.state.lines;
    ensure!(counted == lines as u64, "{counted} lines are counted, and not {lines}");
    let (mut next, mut found) = (1, 0_usize);
    loop {
        let events = session.events(next..=u64::MAX, PAGE).await?;
        let Some(last) = events.last() else {
            break;
        };
        next = last.sequence + 1;
        for event in &events {
            if let Fact::Work(Event::Terminal { output, .. }) = &event.fact {
                for line in output.lines() {
                    found += 1;
                    let number = line.strip_prefix(LINE).and_then(|number| number.parse().ok());
                    ensure!(number == Some(found), "line {found} is {line:?}");
                }
            }
        }
    }
    ensure!(found == lines, "{found} lines are in the events, and not {lines}");
    Ok(())
}

async fn floor(lines: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut program = Command::new("seq")
        .args(arguments(lines))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pipe = program.stdout.take().context("its output is a pipe")?;
    let mut output = BufReader::with_capacity(BUFFER, pipe).lines();
    let (mut found, mut bytes) = (0, 0);
    while let Some(line) = output.next_line().await? {
        found += 1;
        bytes += line.len();
    }
    let status = program.wait().await?;
    let took = began.elapsed();
    ensure!(status.success(), "the program has failed: {status}");
    ensure!(found == lines, "{found} lines were read, and not {lines}");
    let digits: usize = (1..=lines).map(|number| number.to_string().len()).sum();
    ensure!(bytes == lines * LINE.len() + digits, "{bytes} bytes are in the lines");
    Ok(took)
}
