//! What differs between the systems.

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
