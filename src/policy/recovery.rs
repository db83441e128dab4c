//! What a new worker does with each session that another one left.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    faults::{self, Bug},
    model::{
        ids::WorkerGeneration,
        record::SessionRecord,
        state::{PauseCause, Phase},
    },
};

/// Which sessions a new worker resumes by itself. It never resumes what a person paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoverWhat {
    /// Those that a crash interrupted and those that a shutdown paused.
    #[default]
    All,
    /// Those that a shutdown paused; what a crash interrupted is paused as `interrupted`.
    ShutdownOnly,
    /// None; what a crash interrupted is paused as `interrupted`.
    Nothing,
}

/// After how many lost workers a session is quarantined.
pub(crate) const MAX_RECOVERIES: u32 = 3;

/// After this long a session is not suspected of having killed its last worker any more.
pub(crate) const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// What is done with one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it is as it should be, or not ours.
    Leave,
    /// Its stop is finished.
    FinishStop,
    /// It is paused as interrupted.
    Interrupt,
    /// It runs again from its last checkpoint, after what remains of its backoff.
    Resume,
    /// The same, after all others and alone: it may be what its last worker died of.
    ResumeSuspect,
    /// It is what its workers died of. A session that is paused already changes its cause alone.
    Quarantine,
}

/// Decides for one session. `registered`: whether a workload of its kind is there to run it, else
/// it waits as it is for a worker that has one; `lost`: whether the worker that it names is known
/// to be gone.
///
/// What counts against a session is its recoveries alone, however it was left: a suspect that was
/// paused in between is still a suspect.
#[must_use]
pub(crate) fn plan(
    record: &SessionRecord,
    what: RecoverWhat,
    registered: bool,
    lost: impl Fn(WorkerGeneration) -> bool,
) -> Plan {
    match &record.phase {
        Phase::Stopping { .. } if faults::planted(Bug::LeaveStopping) => Plan::Leave,
        Phase::Stopping { worker, .. } if lost(*worker) => Plan::FinishStop,
        Phase::Active { worker, .. } if lost(*worker) && registered => match what {
            RecoverWhat::ShutdownOnly | RecoverWhat::Nothing => Plan::Interrupt,
            RecoverWhat::All => resume(record.recoveries),
        },
        Phase::Paused { cause, .. } if registered => match (cause, what) {
            (PauseCause::Shutdown, RecoverWhat::All | RecoverWhat::ShutdownOnly)
            | (PauseCause::Interrupted, RecoverWhat::All) => resume(record.recoveries),
            (
                PauseCause::Asked
                | PauseCause::Idle
                | PauseCause::Quarantined
                | PauseCause::Asleep(_)
                | PauseCause::AlarmRang
                | PauseCause::Parent,
                _,
            )
            | (PauseCause::Shutdown, RecoverWhat::Nothing)
            | (PauseCause::Interrupted, RecoverWhat::ShutdownOnly | RecoverWhat::Nothing) => {
                Plan::Leave
            }
        },
        Phase::Pending { .. }
        | Phase::Active { .. }
        | Phase::Paused { .. }
        | Phase::Stopping { .. }
        | Phase::Stopped
        | Phase::Completed
        | Phase::Failed
        | Phase::Expired => Plan::Leave,
    }
}

/// How a session is resumed that took `recoveries` workers with it.
const fn resume(recoveries: u32) -> Plan {
    match recoveries {
        0 => Plan::Resume,
        1..MAX_RECOVERIES => Plan::ResumeSuspect,
        MAX_RECOVERIES.. => Plan::Quarantine,
    }
}
