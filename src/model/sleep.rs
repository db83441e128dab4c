//! How a session sleeps: until an alarm rings, and perhaps until an input comes.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};

use super::time::{Timestamp, serialize_timestamp};

/// Until when a workload wants its session to sleep: see
/// [`Outcome::SleepUntil`](crate::Outcome::SleepUntil).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Alarm {
    /// When it rings, by the wall clock.
    #[serde(serialize_with = "serialize_timestamp")]
    pub at: Timestamp,
    /// What an input does meanwhile.
    pub inputs: WhileAsleep,
}

/// What an input does to a session that sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhileAsleep {
    /// It waits until the alarm has rung.
    Wait,
    /// It wakes the session.
    Wake,
}

impl Alarm {
    /// The shortest sleep. A workload that asks again and again for a time that has passed is run
    /// no more often than this.
    pub const SHORTEST: Duration = Duration::from_secs(1);

    /// An alarm that alone ends the sleep: inputs wait until it has rung.
    pub const fn at(at: Timestamp) -> Self {
        Self { at, inputs: WhileAsleep::Wait }
    }

    /// The same, and an input that comes earlier wakes the session too.
    #[must_use]
    pub const fn or_input(self) -> Self {
        Self { inputs: WhileAsleep::Wake, ..self }
    }

    /// When the alarm of a session that falls asleep now rings: in whole milliseconds, never
    /// early, after [`SHORTEST`](Self::SHORTEST) and before the year 10,000.
    pub(crate) fn rings(self, now: Timestamp) -> Timestamp {
        let shortest = TimeDelta::from_std(Self::SHORTEST).unwrap_or_default();
        let earliest = now.checked_add_signed(shortest).unwrap_or(now).timestamp_millis();
        let part = i64::from(!self.at.timestamp_subsec_nanos().is_multiple_of(1_000_000));
        let at = self.at.timestamp_millis() + part;
        DateTime::from_timestamp_millis(at.max(earliest).min(END)).unwrap_or(now)
    }
}

/// The last millisecond of the year 9999.
const END: i64 = 253_402_300_799_999;

/// The sleep of a session, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sleep {
    /// When the alarm rings, by the wall clock.
    #[serde(serialize_with = "serialize_timestamp")]
    pub until: Timestamp,
    /// Inputs with a higher number than this wake the session. `None`: none does. Those up to it were
    /// there when the last run began, or were given to it, and it went to sleep all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woken_after: Option<u64>,
}

impl Sleep {
    /// Whether an input, when so many were accepted, has come that wakes the session.
    pub(crate) fn is_woken_by(&self, accepted: u64) -> bool {
        self.woken_after.is_some_and(|known| accepted > known)
    }
}

impl std::fmt::Display for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.until.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}
