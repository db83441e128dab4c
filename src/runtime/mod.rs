//! What keeps the sessions: actors, one for each run, and those who look after them.

pub(crate) mod agenda;
pub(crate) mod alarms;
pub(crate) mod checkpointer;
pub(crate) mod core;
mod desk;
pub(crate) mod draft;
mod drive;
pub(crate) mod error;
pub(crate) mod family;
pub(crate) mod hooks;
pub(crate) mod hub;
mod kept;
mod ladder;
pub(crate) mod live;
pub(crate) mod op;
mod reader;
pub(crate) mod recovery;
pub(crate) mod removal;
mod session;
pub(crate) mod shutdown;
pub(crate) mod sinks;
pub(crate) mod statistics;
pub(crate) mod store_cell;
pub(crate) mod supervisor;
pub(crate) mod tail;
mod wait;
pub(crate) mod watchdog;
