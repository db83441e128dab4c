//! The three times of the library. Only [`crate::clock`] reads a clock; here they are numbers.

use std::time::Duration;

use chrono::{Datelike, Timelike};
use serde::{Deserialize, Serialize, Serializer};

/// Wall-clock time, in UTC. It labels records and events for people, says when an
/// [alarm](super::sleep::Alarm) rings, and decides nothing else.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Serializes a timestamp as chrono does itself. The clock's are of whole milliseconds, and those
/// take a tenth of the time: there are several in every record.
pub(crate) fn serialize_timestamp<S: Serializer>(
    at: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match in_milliseconds(at) {
        Some(text) => serializer.serialize_str(str::from_utf8(&text).expect("it is ASCII")),
        None => at.serialize(serializer),
    }
}

/// `2026-01-31T23:59:59.123Z`, if that says all of it and chrono says it so.
fn in_milliseconds(at: &Timestamp) -> Option<[u8; 24]> {
    let (year, nanos) = (u32::try_from(at.year()).ok()?, at.nanosecond());
    // Chrono leaves a fraction of zero out, and a leap second is one of more than a second.
    let is_plain = nanos.is_multiple_of(1_000_000) && (1..1_000_000_000).contains(&nanos);
    if year > 9999 || !is_plain {
        return None;
    }
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, mut number) in [
        (4, year),
        (7, at.month()),
        (10, at.day()),
        (13, at.hour()),
        (16, at.minute()),
        (19, at.second()),
        (23, nanos / 1_000_000),
    ] {
        for digit in text.get_mut(..end)?.iter_mut().rev() {
            if number == 0 {
                break;
            }
            *digit = b'0' + u8::try_from(number % 10).ok()?;
            number /= 10;
        }
    }
    Some(text)
}

macro_rules! running_time {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// From a count of milliseconds.
            pub const fn from_millis(millis: u64) -> Self {
                Self(millis)
            }

            /// The count of milliseconds.
            pub const fn as_millis(self) -> u64 {
                self.0
            }

            /// This moment and `span` more; stays at the end of time rather than overflow.
            #[must_use]
            pub fn after(self, span: Duration) -> Self {
                Self(self.0.saturating_add(millis(span)))
            }

            /// How long ago `earlier` was; zero if it lies ahead.
            pub const fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(self.0.saturating_sub(earlier.0))
            }
        }
    };
}

running_time! {
    /// Time that the worker was really running, counted from the start of its supervisor. A
    /// stopped process, a sleeping laptop and a changed clock add (almost) nothing to it.
    WorkerTime
}
running_time! {
    /// Time during which a worker had the store open: a running total kept in the store. A
    /// weekend without a worker adds nothing to it.
    SupervisedTime
}
running_time! {
    /// A moment in the time of a [`Lane`](super::record::Lane): supervised time, or, for alarms, the
    /// wall clock since 1970.
    LaneTime
}

impl From<SupervisedTime> for LaneTime {
    fn from(time: SupervisedTime) -> Self {
        Self(time.0)
    }
}

impl From<Timestamp> for LaneTime {
    /// What lies before 1970 is taken for its beginning.
    fn from(time: Timestamp) -> Self {
        Self(u64::try_from(time.timestamp_millis()).unwrap_or(0))
    }
}

/// Whole milliseconds of a span, rounded up so that a positive span is never zero.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
