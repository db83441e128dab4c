//! What became of each session in a shutdown.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    model::{event::RunEnd, ids::SessionId, record::SessionRecord, state::State},
    runtime::supervisor::Drained,
};

/// What a shutdown did. Its `Display` is one line for each session.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// One line for each session that was active.
    pub lines: Vec<ShutdownLine>,
    /// How long it took.
    pub took: Duration,
}

/// What became of one session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShutdownLine {
    /// The session.
    pub session: SessionId,
    /// What became of it.
    pub outcome: ShutdownOutcome,
    /// Its record after its last commit, if it came to rest.
    pub record: Option<Arc<SessionRecord>>,
}

/// What became of one session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ShutdownOutcome {
    /// It came to rest, or ended, and that is durable.
    Rested {
        /// The state that it is in.
        state: State,
        /// What became of its last run.
        end: Option<RunEnd>,
    },
    /// It did not come to rest within the budget; it resumes from its last checkpoint.
    Unsettled,
}

impl ShutdownReport {
    pub(crate) fn new(drained: Vec<Drained>, took: Duration) -> Self {
        let mut lines: Vec<ShutdownLine> = drained
            .into_iter()
            .map(|Drained { session, record }| ShutdownLine {
                session,
                outcome: record.as_deref().map_or(ShutdownOutcome::Unsettled, outcome),
                record,
            })
            .collect();
        lines.sort_by_key(|line| line.session);
        Self { lines, took }
    }
}

fn outcome(record: &SessionRecord) -> ShutdownOutcome {
    ShutdownOutcome::Rested {
        state: record.state(),
        end: record.runs.last.as_ref().map(|last| last.end.clone()),
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let took = Duration::from_millis(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX));
        let count = self.lines.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} session{plural} in {}", humantime::format_duration(took))
    }
}

impl fmt::Display for ShutdownLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.session, self.outcome)
    }
}

impl fmt::Display for ShutdownOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rested { state, end: Some(end) } => write!(f, "{state}, its run {end}"),
            Self::Rested { state, end: None } => write!(f, "{state}"),
            Self::Unsettled => f.write_str("not at rest; resumes from its last checkpoint"),
        }
    }
}
