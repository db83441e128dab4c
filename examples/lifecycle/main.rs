//! The life of a session, shown as it happens: start, heartbeats, pause and resume, stop and
//! resume, a panic, a silence, a completion, a shutdown, and a new worker that carries on.
//!
//! The sessions do real work: each counts every file of a folder. In the end all totals are
//! compared with those of one plain loop over the same files that nothing interrupted.
//!
//! `cargo run --example lifecycle [-- FOLDER]` (default: the `src` of this repository)

mod check;
mod story;

#[path = "../common/mod.rs"]
mod common;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use crate::common::{
    folder_count::{File, PLANNED_PANIC, Part, files_of},
    screen::Screen,
};

const USAGE: &str = "usage: lifecycle [FOLDER]";
/// With fewer files there is no middle to pause in.
const FEWEST_FILES: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let (folder, files) = match input().await {
        Ok(input) => input,
        Err(error) => {
            screen.line(format!("{error:#}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    keep_the_planned_panic_quiet();
    let ending = tokio::select! {
        ending = run(&screen, folder, files) => ending,
        pressed = tokio::signal::ctrl_c() => pressed
            .context("Ctrl-C cannot be listened to")
            .map(|()| Ending::Interrupted),
    };
    screen.clear();
    match ending {
        Ok(Ending::Equal) => ExitCode::SUCCESS,
        Ok(Ending::Different) => ExitCode::FAILURE,
        Ok(Ending::Interrupted) => {
            screen.line("interrupted; the store in the temporary folder is removed");
            ExitCode::from(130)
        }
        Err(error) => {
            screen.line(format!("the story broke off: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// What becomes of it is told by the log of its session; a message in between would spoil the
/// bars. Any other panic is shown as ever.
fn keep_the_planned_panic_quiet() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>();
        let planned = message.is_some_and(|message| message.starts_with(PLANNED_PANIC));
        if !planned {
            show(panic);
        }
    }));
}

enum Ending {
    Equal,
    Different,
    Interrupted,
}

/// The folder and its files.
async fn input() -> anyhow::Result<(PathBuf, Vec<File>)> {
    let mut arguments = std::env::args_os().skip(1);
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let folder = arguments.next().map_or_else(default, PathBuf::from);
    anyhow::ensure!(arguments.next().is_none(), "one folder is enough");
    let files = files_of(Part::Whole(folder.clone())).await?;
    anyhow::ensure!(
        files.len() >= FEWEST_FILES,
        "{} holds {} files; the story needs at least {FEWEST_FILES}",
        folder.display(),
        files.len()
    );
    Ok((folder, files))
}

async fn run(screen: &Screen, folder: PathBuf, files: Vec<File>) -> anyhow::Result<Ending> {
    let temporary = tempfile::tempdir().context("there is no temporary folder")?;
    let store = temporary.path().join("store");
    let told = story::tell(screen, &store, folder, files.len()).await;
    screen.clear();
    let equal = match &told {
        Ok(sessions) => check::totals(screen, sessions, &files).await?,
        Err(_) => false,
    };
    if !equal {
        screen.line(format!("the store is kept: {}", temporary.keep().display()));
    }
    told.map(|_| if equal { Ending::Equal } else { Ending::Different })
}
