//! The rows, in the order of the table.

use crate::row::Row;

mod heartbeat;
mod memory;

pub(crate) static ALL: &[&Row] = &[&memory::ROW, &heartbeat::ROW];
