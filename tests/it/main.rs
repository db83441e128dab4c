//! Everything that is tested through the public API, in one binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod lifecycle;
mod store;
mod support;
mod tidy;
mod verbs;
