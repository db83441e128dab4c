//! A conversation on the terminal that is never lost: a line in, the answer of a text tool out. What an agent CLI does
//! with a session is here too: `/clear` begins anew, `/fork` tries something else, `/pause` and `/resume`, `/history`
//! and `/stats`. Ctrl-C, also in the middle of an answer, or `kill -9`: the same command carries on.
//!
//! `cargo run --example chat -- [NAME] [--data DIR]`

#![allow(clippy::print_stdout, reason = "an example talks to a person")]

mod talk;
mod terminal;
mod tool;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use sessionkeeper::{Name, StatisticsOptions, Supervisor, store::SledStore};

use crate::{talk::Talk, terminal::Terminal, tool::Texts};

const USAGE: &str = "\
usage: chat [NAME] [--data DIR]
  NAME          which conversation (default: chat)
  --data DIR    where they are kept (default: data/chat)";

/// How long a shutdown may take.
const BUDGET: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("{error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = run(&options).await;
    if let Err(error) = &done {
        println!("{error:#}");
    }
    // A thread waits for a line that may never come: it is not waited for.
    std::process::exit(i32::from(done.is_err()));
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let data = options.data.clone();
    let store = tokio::task::spawn_blocking(|| SledStore::open(data)).await??;
    let supervisor = Supervisor::builder(store)
        .workload(Texts)
        .statistics(StatisticsOptions::default())
        .start()
        .await?;
    let terminal = Terminal::begin();
    tokio::select! {
        report = supervisor.run_until_signal(BUDGET) => {
            report?;
            println!();
        }
        talked = converse(&supervisor, &options.name, terminal) => {
            supervisor.shutdown(BUDGET).await;
            talked?;
        }
    }
    println!("Nothing is lost: the same command carries on.");
    Ok(())
}

async fn converse(
    supervisor: &Supervisor,
    name: &Name,
    mut terminal: Terminal,
) -> anyhow::Result<()> {
    let mut talk = Talk::begin(supervisor, name).await?;
    while let Some(line) = terminal.line().await? {
        match line.split_once(' ').map_or((line.as_str(), ""), |(word, rest)| (word, rest.trim())) {
            ("", _) => {}
            ("/clear", _) => talk.clear().await?,
            ("/fork", name) => talk.fork(name).await?,
            ("/pause", _) => talk.pause().await?,
            ("/resume", _) => talk.resume().await?,
            ("/history", _) => talk.history().await?,
            ("/stats", _) => talk.stats().await?,
            ("/quit", _) => break,
            ("/help", _) => println!("{}", terminal::HELP),
            (unknown, _) if unknown.starts_with('/') => {
                println!("There is no {unknown}.\n{}", terminal::HELP);
            }
            _ => talk.say(line).await?,
        }
    }
    Ok(())
}

struct Options {
    name: Name,
    data: PathBuf,
}

impl Options {
    /// `None` if all that is asked for is what they are.
    fn read(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut name = None;
        let mut data = PathBuf::from("data/chat");
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--data" => data = arguments.next().context("--data needs a folder")?.into(),
                flag if flag.starts_with('-') => bail!("there is no option {flag}"),
                text => {
                    ensure!(name.is_none(), "one conversation at a time");
                    name = Some(Name::new(text)?);
                }
            }
        }
        let name = name.map_or_else(|| Name::new("chat"), Ok)?;
        Ok(Some(Self { name, data }))
    }
}
