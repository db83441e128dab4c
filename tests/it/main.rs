//! Everything that is tested through the public API, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly"
)]

#[cfg(feature = "sled")]
mod damage;
mod guarantees;
mod hostile;
mod lifecycle;
#[cfg(feature = "metrics")]
mod metrics;
mod model;
mod oracle;
mod planted;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod programs;
mod races;
mod simulation;
mod store;
mod support;
mod testing;
mod tidy;
mod traces;
mod verbs;
