//! A plain worker: it counts every subfolder of a folder in a session of its own, and never loses
//! one. Ctrl-C (or SIGTERM) pauses them all; running it again carries on, also after `kill -9`.
//!
//! `cargo run --example worker -- FOLDER [--data DIR] [--pace MILLISECONDS]`

mod options;
mod sessions;

#[path = "../common/mod.rs"]
mod common;

use std::{process::ExitCode, sync::Arc, time::Duration};

use sessionkeeper::{ShutdownOutcome, ShutdownReport, Supervisor, store::SledStore};
use tokio::task::JoinSet;

use crate::{
    common::{
        folder_count::{FolderCount, Heartbeats},
        screen::Screen,
    },
    options::{Options, USAGE},
    sessions::Counting,
};

/// How many sessions work at once; further ones wait for their place.
const AT_ONCE: usize = 8;
/// How long a shutdown may take. Kubernetes and systemd allow 30 s and more.
const BUDGET: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    let options = match Options::read(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            screen.line(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            screen.line(format!("{error:#}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(&screen, &options).await {
        Ok(code) => code,
        Err(error) => {
            screen.clear();
            screen.line(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(screen: &Screen, options: &Options) -> anyhow::Result<ExitCode> {
    let data = options.data.clone();
    let store = tokio::task::spawn_blocking(|| SledStore::open(data)).await??;
    let heartbeats = Heartbeats::default();
    let supervisor = Supervisor::builder(store)
        .workload(FolderCount::new(options.pace, heartbeats.clone()))
        .max_active(AT_ONCE)
        .start()
        .await?;
    let sessions = sessions::start(screen, &supervisor, &options.folder).await?;

    let mut working = JoinSet::new();
    for session in sessions.clone() {
        working.spawn(session.show(screen.clone(), heartbeats.clone()));
    }
    let all_settled = async { while working.join_next().await.is_some() {} };

    tokio::select! {
        report = supervisor.run_until_signal(BUDGET) => {
            working.shutdown().await;
            screen.clear();
            say_goodbye(screen, &sessions, &*report?);
            Ok(ExitCode::SUCCESS)
        }
        () = all_settled => {
            screen.clear();
            let complete = sessions::table(screen, &sessions).await?;
            supervisor.shutdown(BUDGET).await;
            Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// What became of each session, and how to carry on.
fn say_goodbye(screen: &Screen, sessions: &[Arc<Counting>], report: &ShutdownReport) {
    screen.line("");
    for line in &report.lines {
        let session = sessions.iter().find(|one| one.handle.id() == line.session);
        let name = session.map_or("", |session| &session.name);
        let became = match &line.outcome {
            ShutdownOutcome::Rested { state, .. } => state.as_str(),
            ShutdownOutcome::Unsettled | _ => {
                "not at rest in time; it carries on from its last checkpoint"
            }
        };
        screen.tell(name, became);
    }
    screen.line(format!(
        "\n{} sessions came to rest in {:.0?}. The same command carries on.",
        report.lines.len(),
        report.took
    ));
}
