//! Following a session through the public API: its status as it changes, its committed state, and
//! its numbered events.

use std::time::Duration;

use futures::StreamExt;
use sessionkeeper::{Cause, Fact, Lifecycle, RunEnd, SessionError, SessionHandle, Status};

use super::{
    folder_count::{FolderCount, Heartbeats, Progress},
    screen::Row,
};

/// Shows a session until its worker ends.
pub(crate) struct Follower {
    row: Row,
    heartbeats: Heartbeats,
    seen: Seen,
}

/// What has been shown of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// The last event. Events are numbered without gaps, also across workers, so this is all it
    /// takes to miss none and to tell none twice.
    pub(crate) event: u64,
    /// How many runs have begun.
    pub(crate) runs: usize,
}

impl Follower {
    pub(crate) fn new(row: Row, heartbeats: Heartbeats, seen: Seen) -> Self {
        Self { row, heartbeats, seen }
    }

    /// Follows a session; gives itself back when the worker has ended.
    pub(crate) async fn follow(mut self, session: SessionHandle<FolderCount>) -> Self {
        // The worker may end at any moment. What could not be read then is told by the next one.
        let _ = self.try_follow(&session).await;
        self.row.message("its worker has ended".to_owned());
        self
    }

    async fn try_follow(
        &mut self,
        session: &SessionHandle<FolderCount>,
    ) -> Result<(), SessionError> {
        let mut statuses = session.watch().await?;
        let mut refresh = tokio::time::interval(Duration::from_millis(100));
        loop {
            let changed = tokio::select! {
                status = statuses.next() => match status {
                    Some(status) => Some(status),
                    None => return Ok(()),
                },
                _ = refresh.tick() => None,
            };
            if let Some(status) = &changed {
                self.tell_events(session, status).await?;
                let progress = session.snapshot().await?.state;
                self.tell_where_it_carries_on(&progress);
                self.row.progress(progress.totals.files, progress.found);
            }
            let status = match changed {
                Some(status) => status,
                None => session.status().await?,
            };
            let beats = self.heartbeats.of(session.id());
            self.row.message(format!("{}   ♥ {beats}", doing(&status)));
        }
    }

    /// The state itself remembers where each run began.
    fn tell_where_it_carries_on(&mut self, progress: &Progress) {
        if progress.began_at.len() > self.seen.runs {
            self.seen.runs = progress.began_at.len();
            if let Some(after) = progress.began_at.last().filter(|after| **after > 0) {
                let text = format!("carries on with file {} of {}", after + 1, progress.found);
                self.row.tell(&text);
            }
        }
    }

    async fn tell_events(
        &mut self,
        session: &SessionHandle<FolderCount>,
        status: &Status,
    ) -> Result<(), SessionError> {
        let last = status.record().last_event;
        while self.seen.event < last {
            for event in session.events(self.seen.event + 1..=last, 256).await? {
                self.seen.event = event.sequence;
                if let Fact::Lifecycle(fact) = &event.fact
                    && let Some(text) = in_words(fact)
                {
                    self.row.tell(&text);
                }
            }
        }
        Ok(())
    }
}

/// What a session does, or how it ended.
pub(crate) fn doing(status: &Status) -> String {
    if status.state().is_terminal() {
        status.state().to_string()
    } else {
        status.activity().to_string()
    }
}

/// What happened, where it is worth a line.
fn in_words(fact: &Lifecycle) -> Option<String> {
    match fact {
        // The report of the shutdown has a line for each session.
        Lifecycle::StateChanged { cause: Cause::Shutdown, .. }
        | Lifecycle::RunEnded { how: RunEnd::Yielded | RunEnd::Completed } => None,
        Lifecycle::StateChanged { from, to, cause, reason, .. } => {
            let cause = cause.as_str().replace('_', " ");
            let reason = reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
            Some(format!("{from} → {to} ({cause}){reason}"))
        }
        Lifecycle::RunEnded { how } => Some(format!("its run {how}")),
        Lifecycle::RestartScheduled { attempt, delay_ms } => {
            Some(format!("restart {attempt} follows in {delay_ms} ms"))
        }
        Lifecycle::Created { .. }
        | Lifecycle::PauseCauseChanged { .. }
        | Lifecycle::FellAsleep(_)
        | Lifecycle::AbandonedRunReturned
        | Lifecycle::SnapshotFellBack { .. }
        | Lifecycle::ExternalIdSet { .. }
        | Lifecycle::LabelsSet { .. }
        | Lifecycle::MetadataSet
        | _ => None,
    }
}
