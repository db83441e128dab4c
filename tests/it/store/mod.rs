//! The stores: one conformance suite for all of them, and what is special about each.

mod contract;
mod fixture;
mod memory;
