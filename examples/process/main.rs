//! Programs as sessions: runs each line of a file as one, and shows what becomes of it. Ctrl-C pauses them
//! all; the same command carries on, also after `kill -9`.
//!
//! `cargo run --features process --example process -- examples/process/jobs.jsonl`

mod jobs;

#[path = "../common/screen.rs"]
#[allow(dead_code, reason = "this example has no bars")]
mod screen;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use sessionkeeper::{
    Policy, Restart, RestartPolicy, Supervisor,
    process::{Launcher, ProcessWorkload},
    store::SledStore,
};
use tokio::task::JoinSet;

use crate::{jobs::Job, screen::Screen};

/// Where sessions are kept.
const DATA: &str = "data/process";
/// How many programs run at once; further ones wait for their place.
const AT_ONCE: usize = 16;
/// How long a shutdown may take. Kubernetes and systemd allow 30 s and more.
const BUDGET: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    match run(&screen).await {
        Ok(code) => code,
        Err(error) => {
            screen.line(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(screen: &Screen) -> anyhow::Result<ExitCode> {
    let file = std::env::args_os().nth(1).map(PathBuf::from);
    let file = file.context("which file has the jobs? usage: process JOBS.jsonl")?;
    let specs = jobs::read(&file)?;
    let store = tokio::task::spawn_blocking(|| SledStore::open(DATA)).await??;
    // A job that fails has failed: it is not run again.
    let restart = RestartPolicy { restart: Restart::Never, ..RestartPolicy::default() };
    let supervisor = Supervisor::builder(store)
        .workload(ProcessWorkload::new(Launcher::new()?))
        .policy(Policy::builder().restart(restart).build()?)
        .max_active(AT_ONCE)
        .start()
        .await?;

    let mut all = Vec::new();
    for spec in specs {
        all.push(Job::start(&supervisor, spec).await?);
    }
    let mut running = JoinSet::new();
    for job in all.clone() {
        running.spawn(job.show(screen.clone()));
    }
    let all_ended = async { while running.join_next().await.is_some() {} };

    tokio::select! {
        report = supervisor.run_until_signal(BUDGET) => {
            let report = report?;
            screen.line("");
            for line in &report.lines {
                let job = all.iter().find(|job| job.session.id() == line.session);
                screen.tell(job.map_or("", |job| &job.name), &line.outcome.to_string());
            }
            screen.line(format!("\nat rest after {:.1?}; the same command carries on", report.took));
            Ok(ExitCode::SUCCESS)
        }
        () = all_ended => {
            let all_succeeded = jobs::table(screen, &all).await?;
            supervisor.shutdown(BUDGET).await;
            screen.line(format!("\nto run them again, remove {DATA}"));
            Ok(if all_succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
