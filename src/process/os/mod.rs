//! What differs between the systems.

use rustix::process::WaitIdStatus;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code, reason = "tests use some of it"))]
mod posix;
#[cfg(test)]
mod tests;

#[cfg(target_os = "linux")]
pub(super) use self::linux::{
    Exit, become_subreaper, gone, identity, memory_kills, realm, signal, spawn, survey,
};
#[cfg(not(target_os = "linux"))]
pub(super) use self::posix::{
    Exit, become_subreaper, gone, identity, memory_kills, realm, signal, spawn, survey,
};

/// How a process has exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    Code(i32),
    Signal(i32),
    Unknown,
}

impl From<WaitIdStatus> for Death {
    fn from(status: WaitIdStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}
