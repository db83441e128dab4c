//! Whether a run is alive, by what it shows. Decided when a lazy timer fires, never by a sweep.

use super::Limit;
use crate::model::time::WorkerTime;

/// What a run is doing, as far as its signs tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It works and gave its last sign then.
    Working { last_sign: WorkerTime },
    /// It declared a silent operation that ends by then at the latest.
    Busy { until: WorkerTime },
    /// It waits for a person.
    Awaiting,
    /// It has waited for an input since then.
    Resting { since: WorkerTime },
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well, at least until then.
    Alive { until: Option<WorkerTime> },
    /// It gave no sign for longer than it may.
    Silent,
    /// It had nothing to do for longer than it may.
    Idle,
}

/// Judges a run at `now`. It is past its limit at the very moment the limit ends. A busy operation whose limit has passed leaves a full fresh window.
#[must_use]
pub(crate) fn verdict(
    now: WorkerTime,
    doing: Doing,
    heartbeat_timeout: Limit,
    idle_timeout: Limit,
) -> Verdict {
    let until = deadline(doing, heartbeat_timeout, idle_timeout);
    if until.is_none_or(|until| now < until) {
        return Verdict::Alive { until };
    }
    match doing {
        Doing::Resting { .. } => Verdict::Idle,
        Doing::Working { .. } | Doing::Busy { .. } | Doing::Awaiting => Verdict::Silent,
    }
}

/// When a run is past its limit; never, if it has none.
#[must_use]
pub(crate) fn deadline(
    doing: Doing,
    heartbeat_timeout: Limit,
    idle_timeout: Limit,
) -> Option<WorkerTime> {
    let (since, limit) = match doing {
        Doing::Awaiting => return None,
        Doing::Working { last_sign } => (last_sign, heartbeat_timeout),
        Doing::Busy { until } => (until, heartbeat_timeout),
        Doing::Resting { since } => (since, idle_timeout),
    };
    limit.duration().map(|limit| since.after(limit))
}
