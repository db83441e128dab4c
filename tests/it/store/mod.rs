//! The stores: one conformance suite for all of them, and what is special about each.

#![allow(clippy::indexing_slicing, reason = "a test that looks in the wrong place may panic")]

#[cfg(feature = "sled")]
mod archive;
#[cfg(feature = "sled")]
mod carried;
#[cfg(feature = "sled")]
mod chunks;
#[cfg(feature = "sled")]
mod counters;
mod faulty;
pub(crate) mod fixture;
#[cfg(feature = "sled")]
mod formats;
#[cfg(feature = "sled")]
mod guards;
#[cfg(feature = "sled")]
mod left;
mod memory;
#[cfg(feature = "sled")]
mod salvage;
#[cfg(feature = "sled")]
pub(crate) mod sled;
#[cfg(feature = "sled")]
mod slots;
#[cfg(feature = "sled")]
mod space;
#[cfg(feature = "sled")]
mod steps;
