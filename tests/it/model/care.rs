//! The policies that sessions live under, as plain numbers.

use std::time::Duration;

use sessionkeeper::{Backoff, Limit, OnExhausted, OnIdle, OnSilence, Policy, RestartPolicy};

use super::reference::Ms;

/// A policy. The first is the supervisor's.
///
/// No two limits are alike, and none is a whole second: so hardly ever two things are due at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Care {
    /// Silence expires, idleness pauses, three failures within a minute are one too many.
    Usual,
    /// Silence restarts; restarts come at once; waiting has limits.
    Restless,
    /// Silence quarantines, idleness expires, failures are final; waiting has limits.
    Strict,
}

impl Care {
    pub(super) const ALL: [Self; 3] = [Self::Usual, Self::Restless, Self::Strict];
    /// The grace of a clean-up.
    const CANCEL_GRACE: Ms = 5_000;
    /// How many inputs may wait.
    pub(super) const INPUTS: u64 = 4;
    /// How many urgent ones may, besides.
    pub(super) const URGENT: u64 = 2;
    /// How many children of a session may be alive.
    pub(super) const CHILDREN: usize = 2;
    /// A run of this length makes the backoff forget.
    pub(super) const HEALTHY: Ms = 45_170;
    /// In this window failures count.
    pub(super) const WINDOW: Ms = 60_130;
    /// How many failures without a checkpoint are answered by a restart.
    pub(super) const WITHOUT_CHECKPOINT: u32 = 4;

    pub(super) const fn heartbeat(self) -> Ms {
        match self {
            Self::Usual => 41_110,
            Self::Restless => 27_310,
            Self::Strict => 33_730,
        }
    }

    pub(super) const fn on_silence(self) -> OnSilence {
        match self {
            Self::Usual => OnSilence::Expire,
            Self::Restless => OnSilence::Restart,
            Self::Strict => OnSilence::Pause,
        }
    }

    pub(super) const fn idle(self) -> Ms {
        match self {
            Self::Usual => 70_390,
            Self::Restless => 54_470,
            Self::Strict => 90_610,
        }
    }

    pub(super) const fn on_idle(self) -> OnIdle {
        match self {
            Self::Usual | Self::Restless => OnIdle::Pause,
            Self::Strict => OnIdle::Expire,
        }
    }

    pub(super) const fn pause_grace(self) -> Ms {
        match self {
            Self::Usual => 12_230,
            Self::Restless => 7_530,
            Self::Strict => 0,
        }
    }

    pub(super) const fn stop_grace(self) -> Ms {
        match self {
            Self::Usual => 9_270,
            Self::Restless => 6_830,
            Self::Strict => 3_370,
        }
    }

    pub(super) const fn paused_timeout(self) -> Option<Ms> {
        match self {
            Self::Usual => None,
            Self::Restless => Some(150_910),
            Self::Strict => Some(80_770),
        }
    }

    pub(super) const fn pending_timeout(self) -> Option<Ms> {
        match self {
            Self::Usual => None,
            Self::Restless => Some(60_430),
            Self::Strict => Some(100_590),
        }
    }

    pub(super) const fn restarts(self) -> u32 {
        match self {
            Self::Usual | Self::Restless => 2,
            Self::Strict => 1,
        }
    }

    pub(super) const fn on_exhausted(self) -> OnExhausted {
        match self {
            Self::Usual | Self::Restless => OnExhausted::Quarantine,
            Self::Strict => OnExhausted::Fail,
        }
    }

    /// The wait after so many failures in a row.
    pub(super) fn backoff(self, in_a_row: u32) -> Ms {
        let (first, most) = self.backoffs();
        most.min(first << (in_a_row - 1).min(10))
    }

    const fn backoffs(self) -> (Ms, Ms) {
        match self {
            Self::Usual => (2_330, 30_190),
            Self::Restless => (0, 0),
            Self::Strict => (10_570, 20_630),
        }
    }

    /// The same for the library.
    pub(super) fn policy(self) -> Policy {
        let ms = Duration::from_millis;
        let limit = |limit: Option<Ms>| limit.map_or(Limit::Never, |limit| ms(limit).into());
        let (first, most) = self.backoffs();
        let restart = RestartPolicy {
            max_restarts: self.restarts(),
            within: ms(Self::WINDOW),
            max_without_checkpoint: Self::WITHOUT_CHECKPOINT,
            backoff: Backoff { initial: ms(first), factor: 2.0, max: ms(most), jitter: 0.0 },
            healthy_after: ms(Self::HEALTHY),
            on_exhausted: self.on_exhausted(),
            ..RestartPolicy::default()
        };
        Policy::builder()
            .heartbeat_timeout(ms(self.heartbeat()))
            .on_silence(self.on_silence())
            .idle_timeout(ms(self.idle()))
            .on_idle(self.on_idle())
            .pause_grace(ms(self.pause_grace()))
            .stop_grace(ms(self.stop_grace()))
            .cancel_grace(ms(Self::CANCEL_GRACE))
            .paused_timeout(limit(self.paused_timeout()))
            .pending_timeout(limit(self.pending_timeout()))
            .restart(restart)
            .max_inputs(u32::try_from(Self::INPUTS).unwrap())
            .max_children(u32::try_from(Self::CHILDREN).unwrap())
            .max_urgent_inputs(u32::try_from(Self::URGENT).unwrap())
            .build()
            .unwrap()
    }
}
