//! A large state of which little changes.

use std::{hint::black_box, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::Instant;

use crate::{
    disk,
    floor::{
        sled::{TREES, Write},
        template::{self, Template},
        writer::Writer,
    },
    readings::{Readings, Times},
    row::{Allocator, Figure, Reach, Row, Scene, Side, Unit},
    workloads::{self, Chat, Chatting, Commits, Signals, random_text},
};

pub(crate) const ROW: Row = Row {
    name: "large",
    what: "a conversation of 10 MiB that gains 4 KiB a turn: the bytes given to sled for each that \
           was gained, what sled makes of them, and the time of a turn at the median",
    floor: "a row of what was gained, by one thread that writes; for the time, the state is \
            encoded too",
    figures: &[
        Figure { name: "rows", unit: Unit::Times, reach: Reach::Below(3.0) },
        Figure { name: "written", unit: Unit::Times, reach: Reach::Below(3.0) },
        Figure { name: "turn", unit: Unit::Time, reach: Reach::Any },
    ],
    allocator: Allocator::AsItIs,
    run,
};

/// What a turn gains.
const MESSAGE: usize = 4 << 10;
/// How many turns are looked at row by row.
const SEEN: usize = 5;

#[tokio::main]
async fn run(side: Side, scene: &Scene) -> anyhow::Result<Readings> {
    // All of it where there are ten thousand sessions, and less where little is to be done.
    let messages = (scene.sessions / 4).clamp(25, 2_560);
    let turns = (messages / 5).min(50);
    let folder = tempfile::tempdir_in(&scene.folder)?;
    let (rows, written, mut times) = match side {
        Side::Ours => {
            let (signals, mut conductor) = Signals::new(1);
            let supervisor = workloads::supervise(folder.path(), Chatting(signals)).await?;
            let state = Chat::new(messages, MESSAGE);
            let session = workloads::start_one::<Chatting>(&supervisor, state).await?;
            // The first turn may still write what was there before.
            session.send(Commits { beginnings: 1, each: 1, bytes: MESSAGE }).await?;
            conductor.step().await?;
            let turning = Commits { beginnings: 1, each: turns as u64, bytes: MESSAGE };
            session.send(turning).await?;
            tokio::time::sleep(Duration::from_millis(250)).await;
            let before = disk::written()?;
            let times = conductor.step().await?;
            let written = disk::written()? - before;
            let watched = Commits { beginnings: SEEN as u64, each: 1, bytes: MESSAGE };
            session.send(watched).await?;
            let mut rows = 0;
            let mut before = template::rows(folder.path()).await?;
            for _ in 0..SEEN {
                conductor.step().await?;
                let after = template::rows(folder.path()).await?;
                rows += Template::of(session.id(), &before, &after)?.written();
                before = after;
            }
            let Chat(found) = session.snapshot().await?.state;
            let expected = messages + 1 + turns + SEEN;
            ensure!(found.len() == expected, "{} messages are there", found.len());
            ensure!(found.iter().all(|message| message.len() == MESSAGE), "some are shorter");
            (rows / SEEN, written, times)
        }
        Side::Floor => {
            let writer = Writer::open(folder.path())?;
            let line = writer.line();
            let rows = row(0, random_text(MESSAGE).to_owned())?.bytes();
            let before = disk::written()?;
            let writing = tokio::spawn(async move {
                let (mut times, mut state) = (Times::default(), Chat::new(messages, MESSAGE));
                for turn in 0..turns {
                    let text = random_text(MESSAGE).to_owned();
                    state.0.push(text.clone());
                    let began = Instant::now();
                    black_box(serde_json::to_vec(&state)?);
                    line.write(vec![row(turn, text)?]).await?;
                    times.push(began.elapsed());
                }
                Ok::<_, anyhow::Error>(times)
            });
            let times = writing.await??;
            let written = disk::written()? - before;
            writer.close()?.expect("pieces", &[], turns)?;
            (rows, written, times)
        }
    };
    let gained = (turns * MESSAGE) as f64;
    Ok(Readings::of("rows", rows as f64 / MESSAGE as f64)
        .and("written", written / gained)
        .time("turn", times.quantile(0.5)))
}

fn row(number: usize, text: String) -> anyhow::Result<Write> {
    let tree = TREES.iter().position(|tree| *tree == "pieces").context("there is the tree")?;
    let key = (number as u64).to_be_bytes().to_vec();
    Ok(Write { tree, key, value: Some(text.into_bytes()) })
}
