//! How a run is brought to its end: asked, then cancelled, then abandoned.

use std::time::Duration;

use crate::model::time::WorkerTime;

/// Where on the ladder a run stands. It only ever goes down, except that a request to pause can
/// be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ladder {
    /// Nothing is asked of it.
    Free,
    /// It was asked to yield, and is cancelled then.
    Asked { cancel_at: WorkerTime },
    /// Its future is to be dropped; if it is not gone by then, it is abandoned.
    Cancelled { abandon_at: WorkerTime },
    /// It is gone, or nobody waits for it any more.
    Over,
}

/// What is to be done with the run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Nothing yet.
    Wait,
    /// Cancel it.
    Cancel,
    /// Abandon it.
    Abandon,
}

impl Ladder {
    /// Asks the run to yield within a grace. A second request may only shorten it.
    pub(crate) fn ask(&mut self, now: WorkerTime, grace: Duration) {
        let asked = now.after(grace);
        match self {
            Self::Free => *self = Self::Asked { cancel_at: asked },
            Self::Asked { cancel_at } => *cancel_at = asked.min(*cancel_at),
            Self::Cancelled { .. } | Self::Over => {}
        }
    }

    /// Cancels the run, which then has a grace to be gone. `true` if it was not cancelled before.
    pub(crate) fn cancel(&mut self, now: WorkerTime, grace: Duration) -> bool {
        match self {
            Self::Free | Self::Asked { .. } => {
                *self = Self::Cancelled { abandon_at: now.after(grace) };
                true
            }
            Self::Cancelled { .. } | Self::Over => false,
        }
    }

    /// Withdraws the request to yield. `false` if it is too late for that.
    pub(crate) fn withdraw(&mut self) -> bool {
        match self {
            Self::Free | Self::Asked { .. } => {
                *self = Self::Free;
                true
            }
            Self::Cancelled { .. } | Self::Over => false,
        }
    }

    /// When it must be looked at again.
    pub(crate) const fn due(&self) -> Option<WorkerTime> {
        match self {
            Self::Asked { cancel_at } => Some(*cancel_at),
            Self::Cancelled { abandon_at } => Some(*abandon_at),
            Self::Free | Self::Over => None,
        }
    }

    /// What is due.
    pub(crate) fn look(&self, now: WorkerTime) -> Rung {
        match self {
            Self::Asked { cancel_at } if now >= *cancel_at => Rung::Cancel,
            Self::Cancelled { abandon_at } if now >= *abandon_at => Rung::Abandon,
            Self::Free | Self::Asked { .. } | Self::Cancelled { .. } | Self::Over => Rung::Wait,
        }
    }
}
