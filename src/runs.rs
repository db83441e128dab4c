//! Runs by their ids, for callers who know a session by a run that they have seen.

use crate::{
    model::{
        event::{Fact, Lifecycle, RunEnd},
        ids::RunId,
    },
    runtime::error::SessionError,
    session::{EventPage, EventQuery, Session, StopTicket},
    store::StoredRun,
    supervisor::{FindError, Supervisor},
};

/// A run, found by its id.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunStatus {
    /// The run.
    pub run: RunId,
    /// Its session.
    pub session: Session,
    /// The number of the event that it began with, in the log of its session.
    pub began: u64,
    /// What has become of it.
    pub state: RunState,
}

impl RunStatus {
    /// Whether it is the present run of its session.
    pub fn is_current(&self) -> bool {
        self.state == RunState::Current
    }
}

/// What has become of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunState {
    /// It is the present one of its session.
    Current,
    /// Its session has ended without it, and it is on its way out. Where its worker was lost then, it stays so.
    Ending,
    /// It is over.
    Ended(RunEnd),
}

impl Supervisor {
    /// The run of this id, present or past, with its session. Every run is known as long as its session, or where only the
    /// [newest events](crate::Retention::events) of that are kept, as long as the event is that it ended with.
    ///
    /// ```
    /// use sessionkeeper::{FindError, RunId, RunState, Supervisor};
    ///
    /// # async fn example(supervisor: Supervisor, id: RunId) -> Result<(), FindError> {
    /// let found = supervisor.run(id).await?;
    /// match found.state {
    ///     RunState::Ended(how) => println!("session {}: {how}", found.session.id()),
    ///     _ => {
    ///         supervisor.stop_run(id).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`FindError::NoSuchRun`], or a store that fails.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn run(&self, run: RunId) -> Result<RunStatus, FindError> {
        let (session, found) = self.run_at(run).await?;
        // Read first: where it is the present one here and has not ended then, it is.
        let current = session.status().await.map_err(|error| gone(run, error))?.run();
        let StoredRun { began, ended, .. } = self.stored_run(run).await?.unwrap_or(found);
        let state = match ended {
            Some(event) => {
                let events = session.events(event..=event, 1).await;
                let events = events.map_err(|error| gone(run, error))?;
                let how = events.into_iter().find_map(|event| match event.fact {
                    Fact::Lifecycle(Lifecycle::RunEnded { how }) => Some(how),
                    Fact::Lifecycle(_) | Fact::Work(_) | Fact::Usage(_) => None,
                });
                RunState::Ended(how.ok_or(FindError::NoSuchRun { run })?)
            }
            None if current == Some(run) => RunState::Current,
            None => RunState::Ending,
        };
        Ok(RunStatus { run, session, began, state })
    }

    /// Stops the session of this run, if that is its present one: see [`Session::stop_run`].
    ///
    /// # Errors
    /// [`FindError::NoSuchRun`]; [`SessionError::NotCurrentRun`], which names the present run; what a stop is refused for.
    pub async fn stop_run(&self, run: RunId) -> Result<StopTicket, FindError> {
        let (session, _) = self.run_at(run).await?;
        Ok(session.stop_run(run).await?)
    }

    /// The events of this run, a page at a time, as [`Session::query_events`] gives those of a session: from the one that it
    /// began with to the one that says how it ended. What its session does next is told there; what is gone of it, by
    /// [`EventPage::gap`](crate::EventPage::gap).
    ///
    /// # Errors
    /// [`FindError::NoSuchRun`], or a store that fails.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn run_events(&self, run: RunId, query: EventQuery) -> Result<EventPage, FindError> {
        let (session, mut found) = self.run_at(run).await?;
        loop {
            let range = found.began..=found.ended.unwrap_or(u64::MAX);
            let page = session.events_within(query, range, |event| event.run == Some(run)).await;
            let page = page.map_err(|error| gone(run, error))?;
            if found.ended.is_some() {
                return Ok(page);
            }
            // If it has ended meanwhile, what its session did next may be among them.
            match self.stored_run(run).await?.filter(|now| now.ended.is_some()) {
                Some(ended) => found = ended,
                None => return Ok(page),
            }
        }
    }

    async fn run_at(&self, run: RunId) -> Result<(Session, StoredRun), FindError> {
        let found = self.stored_run(run).await?.ok_or(FindError::NoSuchRun { run })?;
        let session = self.session(found.session).await.map_err(|error| gone(run, error))?;
        Ok((session, found))
    }

    async fn stored_run(&self, run: RunId) -> Result<Option<StoredRun>, FindError> {
        Ok(self.core().store()?.run(run).await?)
    }
}

/// A run of a session that was deleted is gone with it.
fn gone(run: RunId, error: SessionError) -> FindError {
    if let SessionError::NotFound { .. } = error {
        FindError::NoSuchRun { run }
    } else {
        error.into()
    }
}
