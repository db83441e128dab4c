//! One session for each subfolder: started once, found again ever after.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use sessionkeeper::{
    Kind, Origin, PauseCause, SessionError, SessionHandle, SessionId, SessionRecord, Start,
    StartKey, State, Supervisor, Workload, store::Query,
};
use sha2::{Digest, Sha256};

use crate::common::{
    folder_count::{FolderCount, Heartbeats, Part, Progress, Totals, files_of, hex},
    follow::{Follower, Seen, doing},
    screen::Screen,
};

/// A session that counts a part of the folder.
pub(crate) struct Counting {
    pub(crate) name: String,
    pub(crate) handle: SessionHandle<FolderCount>,
    found: Found,
    seen: Seen,
}

/// How this worker found a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    New,
    Unfinished,
    Finished,
}

/// Starts a session for each part of the folder. The key of a start says which part it is, so one
/// that was started before, by this worker or by one that was killed, is only found again.
pub(crate) async fn start(
    screen: &Screen,
    supervisor: &Supervisor,
    folder: &Path,
) -> anyhow::Result<Vec<Arc<Counting>>> {
    let mut sessions = Vec::new();
    for (name, part) in parts(folder).await? {
        let key = hex(&Sha256::digest(serde_json::to_vec(&part)?));
        let start = Start::new(Progress::of(part)).key(StartKey::new(key)?);
        let started = supervisor.start(start).await?;
        let origin = started.origin();
        let session = Counting::find(Some(name), started.into_handle(), origin).await?;
        if session.handle.status().await?.pause_cause() == Some(PauseCause::Quarantined) {
            // It failed too often. Running the worker again is a person's word to try again.
            session.handle.resume().await?;
        }
        sessions.push(session);
    }
    let count = |what| sessions.iter().filter(|one| one.found == what).count();
    screen.line(format!(
        "{} sessions: {} new, {} carry on, {} had finished before",
        sessions.len(),
        count(Found::New),
        count(Found::Unfinished),
        count(Found::Finished)
    ));

    // Another folder that was begun on the same store is not forgotten either.
    let mine: Vec<_> = sessions.iter().map(|one| one.handle.id()).collect();
    for id in unfinished(supervisor).await? {
        if !mine.contains(&id) {
            let handle = supervisor.session(id).await?.typed()?;
            sessions.push(Counting::find(None, handle, Origin::Repeated).await?);
        }
    }
    Ok(sessions.into_iter().map(Arc::new).collect())
}

/// The subfolders, and as one part the files that lie in none of them.
async fn parts(folder: &Path) -> anyhow::Result<Vec<(String, Part)>> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut parts = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await.with_context(unreadable)?;
    while let Some(entry) = entries.next_entry().await.with_context(unreadable)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().await.with_context(unreadable)?.is_dir() && !name.starts_with('.') {
            parts.push((format!("{name}/"), Part::Whole(entry.path())));
        }
    }
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    let loose = Part::Loose(folder.to_owned());
    if !files_of(loose.clone()).await?.is_empty() {
        parts.insert(0, ("(files)".to_owned(), loose));
    }
    anyhow::ensure!(!parts.is_empty(), "{} is empty", folder.display());
    Ok(parts)
}

/// All sessions of the store that have something left to do.
async fn unfinished(supervisor: &Supervisor) -> anyhow::Result<Vec<SessionId>> {
    let mut found = Vec::new();
    let mut query = Query {
        states: vec![State::Pending, State::Active, State::Paused],
        kind: Some(Kind::new(FolderCount::KIND)?),
        limit: 256,
        ..Query::default()
    };
    loop {
        let page = supervisor.list(query.clone()).await?;
        // A session that failed too often waits for a person.
        let goes_on =
            |record: &&SessionRecord| record.phase.pause_cause() != Some(PauseCause::Quarantined);
        found.extend(page.records.iter().filter(goes_on).map(|record| record.id));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(found),
        }
    }
}

impl Counting {
    /// A session as it stands. What happened to one before this worker is not shown again.
    async fn find(
        name: Option<String>,
        handle: SessionHandle<FolderCount>,
        origin: Origin,
    ) -> anyhow::Result<Self> {
        let progress = handle.snapshot().await?.state;
        let status = handle.status().await?;
        let (found, seen) = match origin {
            Origin::New => (Found::New, Seen::default()),
            Origin::Repeated => {
                let found =
                    if status.state().is_terminal() { Found::Finished } else { Found::Unfinished };
                let seen =
                    Seen { event: status.record().last_event, runs: progress.began_at.len() };
                (found, seen)
            }
        };
        let name = name.unwrap_or_else(|| match &progress.part {
            Part::Whole(folder) | Part::Loose(folder) => folder.display().to_string(),
        });
        Ok(Self { name, handle, found, seen })
    }

    /// Shows the session from the moment it has a place until there is nothing left to do for it.
    /// If the worker ends before that, this never returns.
    pub(crate) async fn show(self: Arc<Self>, screen: Screen, heartbeats: Heartbeats) {
        if self.found == Found::Finished {
            return;
        }
        // What can fail here is only that the worker ends.
        match self.try_show(&screen, heartbeats).await {
            Ok(text) => screen.tell(&self.name, &text),
            Err(_) => std::future::pending().await,
        }
    }

    async fn try_show(
        &self,
        screen: &Screen,
        heartbeats: Heartbeats,
    ) -> Result<String, SessionError> {
        let follow = async {
            self.handle.wait_for(&[State::Active]).await?;
            let follower = Follower::new(screen.row(&self.name), heartbeats, self.seen);
            follower.follow(self.handle.clone()).await;
            std::future::pending().await
        };
        let settled = tokio::select! {
            followed = follow => return followed,
            settled = self.handle.settled() => settled?,
        };
        let Progress { totals, found, .. } = self.handle.snapshot().await?.state;
        Ok(format!("{}, {} of {found} files", doing(settled.status()), totals.files))
    }
}

/// Shows what was counted; says whether everything was.
pub(crate) async fn table(screen: &Screen, sessions: &[Arc<Counting>]) -> anyhow::Result<bool> {
    screen.heading("What was counted");
    screen.line(format!(
        "  {:<20} {:<20} {:>7} {:>9} {:>10} {:>12}  {}",
        "part", "state", "files", "lines", "words", "bytes", "digest"
    ));
    let mut sum = Totals::default();
    let mut unfinished = 0;
    for session in sessions {
        let settled = session.handle.settled().await?;
        let totals = session.handle.snapshot().await?.state.totals;
        let status = settled.status();
        show_totals(screen, &session.name, &doing(status), &totals);
        sum.files += totals.files;
        sum.lines += totals.lines;
        sum.words += totals.words;
        sum.bytes += totals.bytes;
        if status.state() != State::Completed {
            unfinished += 1;
            let moved = status.record().history.back();
            let reason = moved.and_then(|moved| moved.reason.as_deref());
            screen.line(format!("      {}", reason.unwrap_or("no reason is known")));
        }
    }
    show_totals(screen, "all", "", &sum);
    if unfinished > 0 {
        screen.line(format!(
            "\n{unfinished} of {} sessions could not finish; the same command tries again",
            sessions.len()
        ));
    }
    Ok(unfinished == 0)
}

fn show_totals(screen: &Screen, name: &str, state: &str, totals: &Totals) {
    screen.line(format!(
        "  {name:<20} {state:<20} {:>7} {:>9} {:>10} {:>12}  {}",
        totals.files,
        totals.lines,
        totals.words,
        totals.bytes,
        totals.digest.get(..8).unwrap_or_default()
    ));
}
