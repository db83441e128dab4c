//! Seeds that found something, and what. A seed plays the same as long as the tables of the
//! simulation stay as they are; what it found has a test of its own too.

pub(super) const FOUND: &[(u64, &str)] = &[
    (20, "a status read from the store was ahead of the next, which the actor showed"),
    (71, "the same, seen by one caller"),
    (223, "a run that was to begin and could not be read for had no end"),
    (238, "the limit of what a paused session holds was waited for after the worker was over"),
    (385, "both of them"),
    (4599, "a start repeated while the first waited for its place began a run of its own"),
    (810, "a panic of the store in a read took the desk of a session, and its callers hung"),
];
