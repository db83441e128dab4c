//! The story, act by act.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use futures::StreamExt;
use sessionkeeper::{
    Backoff, Kind, Policy, RestartPolicy, SessionHandle, ShutdownOutcome, Start, Supervisor,
    Workload, store::SledStore,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    check::Final,
    common::{
        folder_count::{FolderCount, Heartbeats, Mishap, Part, Progress},
        follow::{Follower, Seen},
        screen::Screen,
    },
};

/// How long a session takes for all files if nothing happens to it: long enough to be watched.
const WALK: Duration = Duration::from_secs(9);
/// A working session that gives no sign of life for this long expires.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(1_200);
/// Longer than that: it takes heartbeats to survive it.
const SLOW_FILE: Duration = Duration::from_millis(2_000);
const MOMENT: Duration = Duration::from_millis(800);
/// So that what the log of a session says comes before what follows from it.
const BLINK: Duration = Duration::from_millis(100);
const BUDGET: Duration = Duration::from_secs(5);

/// Tells the whole story, and gives every session as it stands at its end.
pub(crate) async fn tell(
    screen: &Screen,
    store: &Path,
    folder: PathBuf,
    files: usize,
) -> anyhow::Result<Vec<Final>> {
    let mut stage = Stage::open(screen, store, folder, files).await?;

    screen.heading("1  Start: three sessions count a folder, with a checkpoint after each file");
    screen.line(format!("   {files} files in {}", stage.folder.display()));
    screen.line(format!("   the store is in {}", store.display()));
    stage.start("steady", FolderCount::KIND).await?;
    stage.start("napping", FolderCount::KIND).await?;
    stage.start("parked", FolderCount::KIND).await?;
    sleep(MOMENT).await;

    stage.heartbeats().await?;
    stage.pause_and_resume("napping").await?;
    stage.stop_and_resume("parked").await?;

    screen.heading("5  Panic: the workload panics, and is restarted from its last checkpoint");
    stage.start("clumsy", CLUMSY).await?;
    stage.restarted("clumsy").await?;
    sleep(MOMENT).await;

    screen.heading(&format!(
        "6  Silence: a run gives no sign of life for {HEARTBEAT_TIMEOUT:?}, and expires"
    ));
    stage.start("silent", SILENT).await?;
    let expired = timeout(HEARTBEAT_TIMEOUT * 10, stage.session("silent")?.settled()).await;
    expired.context("nobody noticed that it was silent")??;
    sleep(BLINK).await;

    screen.heading("7  Completion: one session has counted every file");
    stage.session("steady")?.settled().await?;

    sleep(BLINK).await;

    let stage = stage.change_workers().await?;
    screen.heading("9  Carrying on: each takes the next file after its last checkpoint");
    stage.conclude().await
}

/// One worker, and the sessions that play in the story.
struct Stage {
    screen: Screen,
    store: PathBuf,
    folder: PathBuf,
    files: usize,
    /// How long each file takes.
    pace: Duration,
    heartbeats: Heartbeats,
    supervisor: Supervisor,
    cast: Vec<Player>,
}

struct Player {
    name: String,
    session: SessionHandle<FolderCount>,
    follower: JoinHandle<Follower>,
}

/// The kinds of the sessions to which something happens: the same workload, registered again.
const PATIENT: &str = "folder-count-slow";
const CLUMSY: &str = "folder-count-clumsy";
const SILENT: &str = "folder-count-silent";

impl Stage {
    async fn open(
        screen: &Screen,
        store: &Path,
        folder: PathBuf,
        files: usize,
    ) -> anyhow::Result<Self> {
        let heartbeats = Heartbeats::default();
        let pace = WALK / u32::try_from(files)?;
        Ok(Self {
            supervisor: begin(store, pace, files, &heartbeats).await?,
            pace,
            screen: screen.clone(),
            store: store.to_owned(),
            folder,
            files,
            heartbeats,
            cast: Vec::new(),
        })
    }

    async fn start(&mut self, name: &str, kind: &str) -> anyhow::Result<()> {
        let start = Start::new(Progress::of(Part::Whole(self.folder.clone())))
            .kind(Kind::new(kind)?)
            .name(name.parse()?);
        let session = self.supervisor.start(start).await?.into_handle();
        let follower =
            Follower::new(self.screen.row(name), self.heartbeats.clone(), Seen::default());
        self.cast.push(Player {
            name: name.to_owned(),
            follower: tokio::spawn(follower.follow(session.clone())),
            session,
        });
        Ok(())
    }

    async fn heartbeats(&mut self) -> anyhow::Result<()> {
        self.screen.heading(&format!(
            "2  Heartbeats: a file takes {SLOW_FILE:?}; {HEARTBEAT_TIMEOUT:?} of silence would be the end"
        ));
        self.start("patient", PATIENT).await?;
        let session = self.session("patient")?;
        let end = Instant::now() + SLOW_FILE;
        while Instant::now() < end {
            sleep(SLOW_FILE / 4).await;
            let beats = self.heartbeats.of(session.id());
            let status = session.status().await?;
            let text = format!("♥ {beats} heartbeats: {}", status.state());
            self.screen.tell("patient", &text);
        }
        Ok(())
    }

    async fn pause_and_resume(&self, name: &str) -> anyhow::Result<()> {
        self.screen.heading("3  Pause and warm resume");
        let session = self.session(name)?;
        let began = Instant::now();
        session.pause().await?;
        let took = began.elapsed();
        sleep(BLINK).await;
        let at = session.snapshot().await?.state.totals.files;
        let text = format!("pause() returned in {took:.0?}: file {at} is its last, and is on disk");
        self.screen.tell(name, &text);
        sleep(MOMENT).await;
        let still = session.snapshot().await?.state.totals.files;
        anyhow::ensure!(still == at, "a paused session went on from {at} to {still}");
        session.resume().await?;
        sleep(MOMENT / 2).await;
        Ok(())
    }

    async fn restarted(&self, name: &str) -> anyhow::Result<()> {
        let mut statuses = self.session(name)?.watch().await?;
        while let Some(status) = statuses.next().await {
            if status.record().runs.restarts > 0 {
                return Ok(());
            }
        }
        bail!("the worker ended before {name} was restarted")
    }

    async fn stop_and_resume(&self, name: &str) -> anyhow::Result<()> {
        self.screen.heading("4  Stop: a person's explicit word. It keeps its snapshot");
        let session = self.session(name)?;
        let stop = session.stop().await?;
        self.screen.tell(name, "stop() returned: `stopping` is on disk");
        let report = stop.ended().await?;
        sleep(BLINK).await;
        let end = report.end.context("its run had ended before the stop")?;
        let at = session.snapshot().await?.state.totals.files;
        let text = format!("ended(): its run {end}, file {at} is its last");
        self.screen.tell(name, &text);
        sleep(MOMENT).await;
        session.resume().await?;
        sleep(MOMENT / 2).await;
        Ok(())
    }

    /// Shuts this worker down and begins another one on the same store.
    async fn change_workers(self) -> anyhow::Result<Self> {
        self.screen.heading("8  Shutdown, and a new worker on the same store");
        let report = self.supervisor.shutdown(BUDGET).await;
        drop(self.supervisor);
        for line in &report.lines {
            let player = self.cast.iter().find(|one| one.session.id() == line.session);
            let name = player.map_or("", |player| &player.name);
            let became = match &line.outcome {
                ShutdownOutcome::Rested { state, .. } => state.to_string(),
                ShutdownOutcome::Unsettled | _ => {
                    "not at rest; it resumes from its last checkpoint".to_owned()
                }
            };
            self.screen.tell(name, &became);
        }
        let text = format!("shutdown() returned in {:.0?}", report.took);
        self.screen.tell("", &text);
        sleep(MOMENT).await;

        let supervisor = begin(&self.store, self.pace / 2, self.files, &self.heartbeats).await?;
        let recovered = supervisor.recovered().await?;
        let text = format!("a new worker resumed {} sessions", recovered.resumed.len());
        self.screen.tell("", &text);
        let mut cast = Vec::new();
        for player in self.cast {
            let id = player.session.id();
            let session = supervisor.session(id).await?.typed()?;
            let follower = player.follower.await?;
            cast.push(Player {
                name: player.name,
                follower: tokio::spawn(follower.follow(SessionHandle::clone(&session))),
                session,
            });
        }
        Ok(Self { supervisor, cast, ..self })
    }

    /// Waits until every session has come to its end, and says how each stands.
    async fn conclude(self) -> anyhow::Result<Vec<Final>> {
        let (mut finals, mut followers) = (Vec::new(), Vec::new());
        for player in self.cast {
            let settled = player.session.settled().await?;
            finals.push(Final {
                name: player.name,
                status: settled.status().clone(),
                progress: player.session.snapshot().await?.state,
            });
            followers.push(player.follower);
        }
        sleep(BLINK).await;
        self.supervisor.shutdown(BUDGET).await;
        for follower in followers {
            follower.await?;
        }
        Ok(finals)
    }

    fn session(&self, name: &str) -> anyhow::Result<&SessionHandle<FolderCount>> {
        match self.cast.iter().find(|player| player.name == name) {
            Some(player) => Ok(&player.session),
            None => bail!("{name} was not started"),
        }
    }
}

/// Begins a worker. The second one is as the first, only faster: it needs less watching.
async fn begin(
    store: &Path,
    pace: Duration,
    files: usize,
    heartbeats: &Heartbeats,
) -> anyhow::Result<Supervisor> {
    let path = store.to_owned();
    let store = tokio::task::spawn_blocking(|| SledStore::open(path)).await??;
    let backoff = Backoff { initial: Duration::from_millis(500), ..Backoff::default() };
    let policy = Policy::builder()
        .heartbeat_timeout(HEARTBEAT_TIMEOUT)
        .restart(RestartPolicy { backoff, ..RestartPolicy::default() })
        .build()?;

    let calm = || FolderCount::new(pace, heartbeats.clone());
    let (slow, early) = (Mishap::Slow(SLOW_FILE), (files as u64 / 20).max(1));
    let supervisor = Supervisor::builder(store)
        .policy(policy)
        .workload(calm())
        .workload_as(Kind::new(PATIENT)?, calm().with_mishap(slow, 0))
        .workload_as(Kind::new(CLUMSY)?, calm().with_mishap(Mishap::Panic, early))
        .workload_as(Kind::new(SILENT)?, calm().with_mishap(Mishap::Silence, early))
        .start()
        .await?;
    Ok(supervisor)
}
