//! What a store does when its files, its folder or its disk are not as they should be.

#![allow(clippy::indexing_slicing, reason = "a test that looks in the wrong place may panic")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what was tried, what was skipped, and what another process has to say"
)]

mod broken_stores;
mod call_sites;
mod corpus;
mod examine;
#[cfg(unix)]
mod full_disk;
mod mutation;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod unusable;
