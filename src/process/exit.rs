//! How a program ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a program is not running any more. A death by a signal is never a success, and what was asked
/// for is never a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitCause {
    /// It ended by itself, with this code.
    Exited {
        /// The code, 0 to 255.
        code: i32,
    },
    /// A signal that we did not send ended it.
    Signaled {
        /// The number of the signal.
        signal: i32,
    },
    /// The system ended it because there was no memory. It is known on Linux only, where the control group of
    /// the worker counts such deaths; else it looks like SIGKILL from elsewhere.
    OutOfMemory,
    /// We ended it, because somebody had asked for that.
    Stopped {
        /// What it made of it.
        by: StoppedBy,
    },
    /// It ended, and the system does not say how.
    Unknown,
    /// It was never started.
    NotStarted,
}

/// What ended a program that was to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StoppedBy {
    /// It took the request, and exited with this code.
    Code {
        /// The code, 0 to 255.
        code: i32,
    },
    /// The request itself ended it, or the force that followed.
    Signal {
        /// The number of the signal: 15 for the request, 9 for force.
        signal: i32,
    },
}

impl ExitCause {
    /// The one number that a shell would give: the code, or 128 and the number of the signal. `None` where that is not
    /// known.
    pub const fn shell_code(self) -> Option<i32> {
        match self {
            Self::Exited { code } | Self::Stopped { by: StoppedBy::Code { code } } => Some(code),
            Self::Signaled { signal } | Self::Stopped { by: StoppedBy::Signal { signal } } => {
                Some(128 + signal)
            }
            Self::OutOfMemory => Some(128 + KILL),
            Self::Unknown | Self::NotStarted => None,
        }
    }
}

const KILL: i32 = 9;

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Signaled { signal } => write!(f, "ended by {}", SignalName(*signal)),
            Self::OutOfMemory => f.write_str("ended by the system, which had no memory left"),
            Self::Stopped { by } => write!(f, "stopped: {by}"),
            Self::Unknown => f.write_str("ended, nobody knows how"),
            Self::NotStarted => f.write_str("was not started"),
        }
    }
}

impl fmt::Display for StoppedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code { code } => write!(f, "exited with code {code}"),
            Self::Signal { signal } => write!(f, "ended by {}", SignalName(*signal)),
        }
    }
}

/// A signal by its name where that is the same everywhere, and by its number else.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "SIGHUP",
            2 => "SIGINT",
            3 => "SIGQUIT",
            4 => "SIGILL",
            5 => "SIGTRAP",
            6 => "SIGABRT",
            8 => "SIGFPE",
            9 => "SIGKILL",
            11 => "SIGSEGV",
            13 => "SIGPIPE",
            14 => "SIGALRM",
            15 => "SIGTERM",
            other => return write!(f, "signal {other}"),
        };
        f.write_str(name)
    }
}

/// How a program was ended, with all that it had started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessEnd {
    /// What became of the program itself.
    #[serde(flatten)]
    pub cause: ExitCause,
    /// From the start of the program to its exit, in milliseconds.
    pub ran_for_ms: u64,
    /// From the first signal of ours until nothing of the tree was alive, in milliseconds. 0 where none was needed.
    pub ended_in_ms: u64,
    /// How many processes besides the program itself had to be ended by force.
    pub killed: u32,
    /// How many of all that were ended had left its process group.
    pub strays: u32,
}

impl ProcessEnd {
    /// Of a program that was never started.
    pub(super) const fn never_started() -> Self {
        Self { cause: ExitCause::NotStarted, ran_for_ms: 0, ended_in_ms: 0, killed: 0, strays: 0 }
    }
}
