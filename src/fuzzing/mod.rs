//! What every decoder of bytes from outside promises, as functions over any bytes.
//!
//! Each takes what a fuzzer thinks of and panics where a promise is broken: what is decoded is
//! encoded to the same and decoded again to the same, what is damaged is a typed error, and
//! nothing takes memory or time out of proportion to its input (the fuzzer in `fuzz/` watches
//! both). Most values carry a checksum, which no fuzzer guesses: there the bytes are also put into
//! a frame whose checksum is right.
//!
//! Not part of the API: it is compiled for the fuzzer and for the tests, which replay the inputs
//! in `fuzz/corpus`.

mod plain;
#[cfg(test)]
mod tests;

use crate::store::fuzzing as store;

/// A decoder and what is checked of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// How many bytes of memory it may have at once, whatever its input.
    pub memory: usize,
}

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check, memory: 1 << 20 }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("archive", store::archive),
    // A snapshot may be as long as its head says, which here is up to 64 KiB of chunks of one byte.
    Target { name: "chunks", check: store::sled::chunks, memory: 8 << 20 },
    target("events", store::events),
    target("frame", store::frame),
    target("index", store::index),
    target("input", store::input),
    target("mark", store::sled::mark),
    target("meta", store::sled::meta),
    target("names", plain::names),
    target("policy", plain::policy),
    target("record", store::record),
    target("snapshot", plain::snapshot),
    target("step", store::step),
    target("value", store::sled::value),
    // A database is made and opened for each input.
    Target { name: "import", check: store::sled::import, memory: 256 << 20 },
];
