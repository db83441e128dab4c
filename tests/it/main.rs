//! Everything that is tested through the public API, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail loudly"
)]

mod guarantees;
mod lifecycle;
mod store;
mod support;
mod tidy;
mod traces;
mod verbs;
