//! A place in the log of all sessions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A place in the log of all sessions of a store: behind an event. To go on from there is to miss
/// nothing and to see nothing twice, also after restarts of the worker.
///
/// It reads and writes as text, `0123456789abcdef-42`: which log, and how many events of it are
/// before this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogCursor {
    log: u64,
    position: u64,
}

impl LogCursor {
    pub(crate) const fn new(log: u64, position: u64) -> Self {
        Self { log, position }
    }

    /// Which log it belongs to: each store has its own.
    pub const fn log(&self) -> u64 {
        self.log
    }

    /// The position of the event that it is behind, counted from 1 over all sessions; 0 is before all.
    pub const fn position(&self) -> u64 {
        self.position
    }
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.log, self.position)
    }
}

impl From<LogCursor> for String {
    fn from(cursor: LogCursor) -> Self {
        cursor.to_string()
    }
}

impl FromStr for LogCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (log, position) = text.split_once('-')?;
            let log = u64::from_str_radix(log, 16).ok()?;
            Some(Self { log, position: position.parse().ok()? })
        };
        let cursor = read().filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| InvalidCursor { text: text.chars().take(64).collect() })
    }
}

impl TryFrom<String> for LogCursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A text that is no place in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no cursor of a log; give back one as it was given out")]
pub struct InvalidCursor {
    /// The text, as far as it is shown.
    pub text: String,
}
