//! The three times of the library. Only [`crate::clock`] reads a clock; here they are numbers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Wall-clock time, in UTC. It labels records and events for people and decides nothing.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

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

/// Whole milliseconds of a span, rounded up so that a positive span is never zero.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
