//! The jobs of a file, each as a session that is started once and found again ever after.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use sessionkeeper::{
    Event, Fact, Name, SessionError, SessionHandle, Start, StartKey, State, Status, Supervisor,
    process::{ProcessEnd, ProcessSpec, ProcessState, ProcessWorkload},
};

use crate::screen::Screen;

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    name: String,
    run: ProcessSpec,
}

/// Reads a file of jobs.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Line>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the file {} cannot be read", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let jobs = lines.map(|(number, line)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}", file.display(), number + 1))
    });
    let jobs = jobs.collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!jobs.is_empty(), "there is no job in {}", file.display());
    Ok(jobs)
}

/// A job and its session.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) session: SessionHandle<ProcessWorkload>,
    /// What was told of it before this worker.
    told: u64,
}

impl Job {
    /// Starts a job. Its name is the key of its session, so one that was started before, by this worker or by one
    /// that was killed, is only found again.
    pub(crate) async fn start(supervisor: &Supervisor, line: Line) -> anyhow::Result<Self> {
        let start = Start::<ProcessWorkload>::new(ProcessState::from(line.run))
            .name(Name::new(&line.name)?)
            .key(StartKey::new(&line.name)?);
        let session = supervisor.start(start).await.with_context(|| line.name.clone())?;
        let session = session.into_handle();
        let told = session.status().await?.record().last_event;
        Ok(Self { name: line.name, session, told })
    }

    /// Shows what happens until the session has settled. If the worker ends before that, this never returns.
    pub(crate) async fn show(self, screen: Screen) {
        let name = self.name.clone();
        match self.try_show(&screen).await {
            Ok(status) => screen.tell(&name, status.state().as_str()),
            // What can fail here is only that the worker ends.
            Err(_) => std::future::pending().await,
        }
    }

    async fn try_show(mut self, screen: &Screen) -> Result<Status, SessionError> {
        let mut statuses = self.session.watch().await?;
        while let Some(status) = statuses.next().await {
            self.tell(screen, &status).await?;
            if status.state().is_terminal() {
                return Ok(status);
            }
            // A program that prints much is shown now and then.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending().await
    }

    async fn tell(&mut self, screen: &Screen, status: &Status) -> Result<(), SessionError> {
        let last = status.record().last_event;
        let mut printed = None;
        while self.told < last {
            for event in self.session.events(self.told + 1..=last, 256).await? {
                self.told = event.sequence;
                match event.fact {
                    Fact::Work(Event::Terminal { output, error, .. }) => {
                        let text = error.unwrap_or(output);
                        printed = text.lines().last().map(str::to_owned).or(printed);
                    }
                    Fact::Work(Event::Custom { name, data }) => {
                        screen.tell(&self.name, &in_words(&name, data));
                    }
                    Fact::Work(_) | Fact::Lifecycle(_) | Fact::Usage(_) => {}
                }
            }
        }
        if let Some(line) = printed {
            screen.tell(&self.name, &format!("> {line}"));
        }
        Ok(())
    }
}

/// What happened to a program.
fn in_words(name: &str, data: Value) -> String {
    let number = |field: &str| data.get(field).and_then(Value::as_u64).unwrap_or_default();
    match name {
        "process_started" => format!("started as process {}", number("pid")),
        "process_left_over" => {
            format!("{} processes that a lost worker had left are ended", number("killed"))
        }
        "process_stopped" => match ProcessEnd::deserialize(&data) {
            Ok(end) => format!("{}; it took {} ms", end.cause, end.ended_in_ms),
            Err(error) => error.to_string(),
        },
        other => format!("{} {data}", other.replace('_', " ")),
    }
}

/// Shows what became of each job; says whether all have succeeded.
pub(crate) async fn table(screen: &Screen, jobs: &[Job]) -> anyhow::Result<bool> {
    screen.heading("What became of them");
    screen.line(format!(
        "  {:<10} {:<10} {:>7} {:>9}  {:<34} {}",
        "job", "state", "took", "lines", "how it ended", "last line"
    ));
    let mut all_succeeded = true;
    for job in jobs {
        let status = job.session.status().await?;
        let state = job.session.snapshot().await?.state;
        let reason = status.record().history.back().and_then(|moved| moved.reason.clone());
        let (took, cause) = match &state.end {
            Some(end) => (end.ran_for_ms, end.cause.to_string()),
            None => (0, "not started".to_owned()),
        };
        all_succeeded &= status.state() == State::Completed;
        screen.line(format!(
            "  {:<10} {:<10} {:>5.1} s {:>9}  {:<34} {}",
            job.name,
            status.state().as_str(),
            Duration::from_millis(took).as_secs_f64(),
            state.lines,
            cause,
            state.last_line.unwrap_or_default()
        ));
        if state.end.is_none() {
            screen.line(format!("      {}", reason.unwrap_or_default()));
        }
    }
    Ok(all_succeeded)
}
