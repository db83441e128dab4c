//! The parts that the library is made of, bare: what the floors are built from.

pub(crate) mod actors;
