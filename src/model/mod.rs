//! Pure data and decisions: no clock, no tasks, no randomness.

pub(crate) mod by_state;
pub(crate) mod counts;
pub(crate) mod deletion;
pub(crate) mod event;
pub(crate) mod event_type;
pub(crate) mod family;
pub(crate) mod footprint;
pub(crate) mod ids;
pub(crate) mod inbox;
pub(crate) mod json;
pub(crate) mod labels;
pub(crate) mod lineage;
pub(crate) mod log_cursor;
pub(crate) mod projection;
pub(crate) mod record;
pub(crate) mod sleep;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub(crate) mod trimmed;
pub(crate) mod usage;
pub mod vocabulary;
