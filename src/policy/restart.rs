//! What follows a failure. The vocabulary is that of OTP supervisors: at most `max_restarts`
//! within a window. Unlike there, the window is counted for each session alone, and between two
//! runs lies a growing backoff.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    builder::{InvalidPolicy, MAX_SPAN},
    limit,
};
use crate::{
    faults::{self, Bug},
    model::{event::RunEnd, record::Failures, time::SupervisedTime},
};

/// When, how often and how soon a failed run is replaced.
///
/// The defaults are for errors that pass: a session that fails at once each time uses its restarts
/// up in about seven seconds. For longer outages take a wider window, so that the backoff has room
/// to grow:
///
/// ```
/// use sessionkeeper::{Policy, RestartPolicy};
/// use std::time::Duration;
///
/// let patient = RestartPolicy {
///     max_restarts: 20,
///     max_without_checkpoint: 20,
///     within: Duration::from_secs(3600),
///     ..RestartPolicy::default()
/// };
/// let policy = Policy::builder().restart(patient).build()?;
/// # Ok::<(), sessionkeeper::InvalidPolicy>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// Whether it is replaced at all (default: on failure).
    pub restart: Restart,
    /// How many failures within [`within`](Self::within) are answered by a restart (default 3, at
    /// most 1000: the record of the session remembers each).
    pub max_restarts: u32,
    /// The window, in supervised time (default 60 s).
    #[serde(with = "limit::duration")]
    pub within: Duration,
    /// How many failures in all are answered by a restart while no checkpoint is reached
    /// (default 10).
    pub max_without_checkpoint: u32,
    /// How long the session waits before the next run.
    pub backoff: Backoff,
    /// A run of this length makes the backoff forget the failures before it (default 10 min).
    #[serde(with = "limit::duration")]
    pub healthy_after: Duration,
    /// What follows when the restarts are used up (default: quarantine).
    pub on_exhausted: OnExhausted,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            restart: Restart::OnFailure,
            max_restarts: 3,
            within: Duration::from_secs(60),
            max_without_checkpoint: 10,
            backoff: Backoff::default(),
            healthy_after: Duration::from_secs(10 * 60),
            on_exhausted: OnExhausted::Quarantine,
        }
    }
}

/// Whether a failed run is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// The first failure ends the session as failed.
    Never,
    /// A failure is answered by a new run from the last checkpoint.
    #[default]
    OnFailure,
}

/// What follows when the restarts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The session is paused until a person resumes it, which clears the counters.
    #[default]
    Quarantine,
    /// The session ends as failed.
    Fail,
}

/// How long a session waits before its next run: exponential, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// After the first failure (default 1 s; zero for none at all).
    #[serde(with = "limit::duration")]
    pub initial: Duration,
    /// How much longer after each further one (default 2).
    pub factor: f64,
    /// The longest wait (default 5 min).
    #[serde(with = "limit::duration")]
    pub max: Duration,
    /// The part of the wait that is random, from 0 to 1 (default 0.2): the wait is shortened by
    /// up to this much, so that sessions that failed together do not come back together.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(5 * 60),
            jitter: 0.2,
        }
    }
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self =
        Self { initial: Duration::ZERO, factor: 1.0, max: Duration::ZERO, jitter: 0.0 };

    /// The wait after `failures` failures in a row; `random` is between 0 and 1.
    pub(crate) fn wait(&self, failures: u32, random: f64) -> Duration {
        if self.initial.is_zero() {
            return Duration::ZERO;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        if faults::planted(Bug::UncapBackoff) {
            return Duration::try_from_secs_f64(seconds).unwrap_or(MAX_SPAN);
        }
        let capped = seconds.min(self.max.as_secs_f64());
        let shortened = capped * (1.0 - self.jitter * random.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(shortened).map_or(self.max, |wait| wait.min(self.max))
    }
}

/// Bounds what a record remembers of its failures: they are written with every commit.
const MAX_RESTARTS: u32 = 1000;

impl RestartPolicy {
    pub(super) fn validate(&self) -> Result<(), InvalidPolicy> {
        let rules = [
            (self.max_restarts > MAX_RESTARTS, "restart.max_restarts", "at most 1000"),
            (self.within.is_zero(), "restart.within", "longer than nothing"),
            (self.within > MAX_SPAN, "restart.within", "at most 100 years"),
            (self.healthy_after > MAX_SPAN, "restart.healthy_after", "at most 100 years"),
            (self.backoff.max > MAX_SPAN, "restart.backoff.max", "at most 100 years"),
            (
                self.backoff.initial > self.backoff.max,
                "restart.backoff.initial",
                "no longer than backoff.max",
            ),
            (
                !(self.backoff.factor.is_finite() && self.backoff.factor >= 1.0),
                "restart.backoff.factor",
                "a finite number of at least 1",
            ),
            (
                !(0.0..=1.0).contains(&self.backoff.jitter),
                "restart.backoff.jitter",
                "between 0 and 1",
            ),
        ];
        match rules.into_iter().find(|(broken, _, _)| *broken) {
            Some((_, setting, must_be)) => Err(InvalidPolicy::new(setting, must_be)),
            None => Ok(()),
        }
    }
}

/// What an error says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Nothing: the policy decides.
    ByPolicy,
    /// It would fail again: the session fails.
    Never,
    /// It names its own wait.
    After(Duration),
}

/// What follows a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A new run after a wait.
    Restart { attempt: u32, delay: Duration },
    /// The session is quarantined.
    Quarantine { why: String },
    /// The session fails.
    Fail,
}

/// Counts a failure and decides what follows. `ran_for` is how long the failed run was alive;
/// `random` is between 0 and 1.
///
/// `max_restarts` failures within the window are answered by a restart, the next one exhausts
/// them. A failure that lies exactly one window back does not count any more.
#[must_use]
pub(crate) fn on_failure(
    policy: &RestartPolicy,
    failures: &mut Failures,
    end: RunEnd,
    retry: Retry,
    now: SupervisedTime,
    ran_for: Duration,
    random: f64,
) -> Verdict {
    failures.last = Some(end);
    failures.recent.retain(|at| now.since(*at) < policy.within);
    failures.recent.push(now);
    failures.without_checkpoint = failures.without_checkpoint.saturating_add(1);
    if ran_for >= policy.healthy_after {
        failures.in_a_row = 0;
    }
    failures.in_a_row = failures.in_a_row.saturating_add(1);

    match (policy.restart, retry) {
        (Restart::Never, _) | (Restart::OnFailure, Retry::Never) => return Verdict::Fail,
        (Restart::OnFailure, Retry::ByPolicy | Retry::After(_)) => {}
    }
    let in_window = u32::try_from(failures.recent.len()).unwrap_or(u32::MAX);
    let one_less = u32::from(faults::planted(Bug::RestartOnceTooFew));
    let why = if in_window + one_less > policy.max_restarts {
        format!("{} within {}", counted(in_window), humantime::format_duration(policy.within))
    } else if failures.without_checkpoint > policy.max_without_checkpoint {
        format!("{} without a checkpoint", counted(failures.without_checkpoint))
    } else {
        let delay = match retry {
            Retry::After(delay) => delay.min(MAX_SPAN),
            Retry::ByPolicy | Retry::Never => policy.backoff.wait(failures.in_a_row, random),
        };
        return Verdict::Restart { attempt: failures.in_a_row, delay };
    };
    match policy.on_exhausted {
        OnExhausted::Quarantine => Verdict::Quarantine { why },
        OnExhausted::Fail => Verdict::Fail,
    }
}

fn counted(failures: u32) -> String {
    let plural = if failures == 1 { "" } else { "s" };
    format!("{failures} failure{plural}")
}
