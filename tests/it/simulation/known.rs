//! Seeds that found something, and what, for as long as they play the life that showed it.
//!
//! A seed plays the same only while the tables of deeds, plays and faults, and what else the dice are asked for, stay as they
//! are. So an entry is here for the time in which what it found is mended: it must fail without the mend, in the tables of
//! that time. What it found has a deterministic test of its own, which stays; and whoever changes a table takes those entries out that
//! do not fail any more when the mend is taken back.

pub(super) const FOUND: &[(u64, &str)] = &[];
