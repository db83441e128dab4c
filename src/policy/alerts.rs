//! What in the numbers a person should hear of.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// From when on numbers are worth an [`Alert`].
///
/// ```
/// use sessionkeeper::Thresholds;
/// use std::time::Duration;
///
/// let thresholds = Thresholds::default().expiration_rate(0.25).least_ended(100);
/// assert!(thresholds != Thresholds::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    expiration_rate: f64,
    least_ended: u64,
    #[serde(with = "super::limit::duration")]
    quiet_for: Duration,
}

impl Default for Thresholds {
    /// More than one end in ten is an expiration, of ten at least; nothing for 35 minutes though sessions are active.
    fn default() -> Self {
        Self { expiration_rate: 0.1, least_ended: 10, quiet_for: Duration::from_secs(35 * 60) }
    }
}

impl Thresholds {
    /// How many of the ends may be expirations, from 0 to 1 (default 0.1).
    #[must_use]
    pub const fn expiration_rate(mut self, rate: f64) -> Self {
        self.expiration_rate = rate;
        self
    }

    /// How many ends it takes to speak of a rate (default 10).
    #[must_use]
    pub const fn least_ended(mut self, ended: u64) -> Self {
        self.least_ended = ended;
        self
    }

    /// How long nothing may happen though sessions are active (default 35 min). Only a window that is as long can tell.
    ///
    /// The default is longer than the `heartbeat_timeout` and the `idle_timeout` of a default [`Policy`](crate::Policy): by then a session
    /// has given an event, or was paused or expired, which is one. Choose more where yours are longer, or where runs wait for
    /// people.
    #[must_use]
    pub const fn quiet_for(mut self, quiet: Duration) -> Self {
        self.quiet_for = quiet;
        self
    }
}

/// Something that a person should hear of. Its `Display` is a line for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "alert", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Alert {
    /// Too many sessions expire.
    ExpirationRate {
        /// How many did.
        expired: u64,
        /// How many ended, those included.
        ended: u64,
        /// How many of them may.
        allowed: f64,
    },
    /// Sessions are active, and nothing happens.
    NoEvents {
        /// How many are active.
        active: u64,
        /// For how long at least nothing happened.
        quiet: Duration,
    },
    /// The store fails: nothing can be committed, or it cannot even be read.
    StoreFails {
        /// What it fails with.
        what: String,
    },
}

impl fmt::Display for Alert {
    #[expect(clippy::cast_precision_loss, reason = "a percentage is shown with one digit")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExpirationRate { expired, ended, allowed } => {
                let rate = *expired as f64 * 100.0 / *ended as f64;
                let allowed = allowed * 100.0;
                write!(
                    f,
                    "{expired} of {ended} sessions that ended have expired: {rate:.1} %, \
                     where {allowed:.1} % are allowed"
                )
            }
            Self::NoEvents { active, quiet } => {
                let quiet = humantime::format_duration(*quiet);
                write!(f, "{active} sessions are active, and nothing has happened for {quiet}")
            }
            Self::StoreFails { what } => write!(f, "the store fails: {what}"),
        }
    }
}

/// What alerts follow from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) active: u64,
    pub(crate) ended: u64,
    pub(crate) expired: u64,
    /// How many events there were in a window of this length that was read to its end, if it was.
    pub(crate) events: Option<(u64, Duration)>,
    pub(crate) store_error: Option<String>,
}

/// What a person should hear of.
#[expect(clippy::cast_precision_loss, reason = "it is a ratio")]
pub(crate) fn alerts(observed: &Observed, thresholds: &Thresholds) -> Vec<Alert> {
    let Observed { active, ended, expired, events, store_error } = observed;
    let mut alerts = Vec::new();
    if let Some(what) = store_error {
        alerts.push(Alert::StoreFails { what: what.clone() });
    }
    let allowed = thresholds.expiration_rate;
    if *ended >= thresholds.least_ended.max(1) && *expired as f64 > allowed * *ended as f64 {
        alerts.push(Alert::ExpirationRate { expired: *expired, ended: *ended, allowed });
    }
    if let Some((0, quiet)) = events
        && *active > 0
        && *quiet >= thresholds.quiet_for
    {
        alerts.push(Alert::NoEvents { active: *active, quiet: *quiet });
    }
    alerts
}
