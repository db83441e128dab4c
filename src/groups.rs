//! Verbs for many sessions at once: all of one user, of one project, of one kind.

use std::{fmt, future::Future};

use futures::{StreamExt, stream};

use crate::{
    model::{ids::SessionId, record::SessionRecord, state::State},
    runtime::error::SessionError,
    session::{Paused, Session, StopReport, StopTicket},
    store::{Query, StoreError},
    supervisor::Supervisor,
};

/// How many sessions are asked at once. Each answer is a commit, and commits share one write.
const AT_ONCE: usize = 512;

/// How many records are listed at once.
const PAGE: usize = 1000;

/// A verb for all sessions that match a [`Query`]: its `limit` is not regarded, and where it names no states, the
/// verb takes those in which it means something. The sessions are looked up first, and then each is asked as by its
/// [handle](Session): one that refuses or fails hinders no other. What is started meanwhile is not among them.
///
/// ```no_run
/// # use sessionkeeper::{Supervisor, store::Query};
/// # async fn example(supervisor: Supervisor) -> Result<(), Box<dyn std::error::Error>> {
/// let of_ada = Query { labels: vec![("user".into(), "ada".into())], ..Query::default() };
/// let report = supervisor.pause_all(of_ada).await?;
/// println!("{report}");
/// for (session, error) in report.failures() {
///     eprintln!("{session} was not paused: {error}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// A store that fails while the sessions are looked up; then none was asked.
///
/// # Cancel safety
/// Dropped, it withdraws nothing, and who was not asked by then is not asked.
impl Supervisor {
    /// Pauses all sessions that match: of those that are pending, active or paused, unless the query says which. See
    /// [`Session::pause`].
    pub async fn pause_all(&self, query: Query) -> Result<GroupReport<Paused>, StoreError> {
        let states = [State::Pending, State::Active, State::Paused];
        let sessions = self.group(query, &states).await?;
        Ok(ask_all(sessions, async |session| session.pause().await).await)
    }

    /// Resumes all sessions that match: of those that are paused, unless the query says which. Those that find
    /// no place under `max_active` wait for one, and it returns when the last has one. See [`Session::resume`].
    pub async fn resume_all(&self, query: Query) -> Result<GroupReport<()>, StoreError> {
        let sessions = self.group(query, &[State::Paused]).await?;
        Ok(ask_all(sessions, async |session| session.resume().await).await)
    }

    /// Stops all sessions that match: of those that are pending, active, paused or stopping, unless the query says
    /// which. On return `stopping` is durable for each; [`GroupReport::ended`] waits until nothing of them is
    /// alive. See [`Session::stop`].
    pub async fn stop_all(&self, query: Query) -> Result<GroupReport<StopTicket>, StoreError> {
        let states = [State::Pending, State::Active, State::Paused, State::Stopping];
        let sessions = self.group(query, &states).await?;
        Ok(ask_all(sessions, async |session| session.stop().await).await)
    }

    /// All that match.
    async fn group(&self, query: Query, states: &[State]) -> Result<Vec<Session>, StoreError> {
        let states = if query.states.is_empty() { states.to_vec() } else { query.states };
        let mut query = Query { states, limit: PAGE, ..query };
        let mut found = Vec::new();
        loop {
            let page = self.list(query.clone()).await?;
            found.extend(page.records.into_iter().map(|record| self.handle(&record)));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(found);
            }
        }
    }

    fn handle(&self, record: &SessionRecord) -> Session {
        Session::new(self.core().clone(), record.id, record.kind.clone())
    }
}

/// Asks each, many at once, and keeps their order.
async fn ask_all<T, A: Future<Output = Result<T, SessionError>>>(
    sessions: Vec<Session>,
    ask: impl Fn(Session) -> A,
) -> GroupReport<T> {
    let asked = stream::iter(sessions).map(|session| {
        let id = session.id();
        let answer = ask(session);
        async move { (id, answer.await) }
    });
    GroupReport { lines: asked.buffered(AT_ONCE).collect().await }
}

/// What each session of a group answered. Its `Display` is one line for each that refused or failed, and a sum.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "some sessions may have refused"]
pub struct GroupReport<T> {
    /// One line for each session, the newest first.
    pub lines: Vec<(SessionId, Result<T, SessionError>)>,
}

impl<T> GroupReport<T> {
    /// The sessions that did what was asked, with their answers.
    pub fn done(&self) -> impl Iterator<Item = (SessionId, &T)> {
        self.lines.iter().filter_map(|(session, answer)| Some((*session, answer.as_ref().ok()?)))
    }

    /// The sessions that refused or failed.
    pub fn failures(&self) -> impl Iterator<Item = (SessionId, &SessionError)> {
        self.lines.iter().filter_map(|(session, answer)| Some((*session, answer.as_ref().err()?)))
    }
}

impl GroupReport<StopTicket> {
    /// Waits until nothing of the stopped sessions is alive any more, see [`StopTicket::ended`]. Those that
    /// refused to be stopped keep their lines.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn ended(&self) -> GroupReport<StopReport> {
        let ending = self.lines.iter().map(async |(session, ticket)| match ticket {
            Ok(ticket) => (*session, ticket.ended().await),
            Err(error) => (*session, Err(error.clone())),
        });
        GroupReport { lines: futures::future::join_all(ending).await }
    }
}

impl<T> fmt::Display for GroupReport<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (session, error) in self.failures() {
            writeln!(f, "{session}  {error}")?;
        }
        let (done, failed) = (self.done().count(), self.failures().count());
        write!(f, "{done} done, {failed} refused or failed")
    }
}
