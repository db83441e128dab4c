//! The rows, in the order of the table.

use crate::row::Row;

mod asleep;
mod checkpoint;
mod control;
mod crowd;
mod delete;
mod disk;
mod events;
mod expiry;
mod fan_out;
mod heartbeat;
mod large;
#[cfg(unix)]
mod lines;
mod memory;
mod open;
mod pause_all;
mod restart;
mod resume_all;
mod start;
mod status;
#[cfg(unix)]
mod stop;

pub(crate) static ALL: &[&Row] = &[
    &start::ROW,
    &memory::ROW,
    &asleep::ROW,
    &heartbeat::ROW,
    &status::ROW,
    &control::ROW,
    &expiry::ROW,
    &restart::ROW,
    &checkpoint::ROW,
    &crowd::ROW,
    &pause_all::ROW,
    &resume_all::ROW,
    &open::ROW,
    &events::ROW,
    &fan_out::ROW,
    &delete::ROW,
    &disk::ROW,
    &large::ROW,
    #[cfg(unix)]
    &lines::ROW,
    #[cfg(unix)]
    &stop::ROW,
];
