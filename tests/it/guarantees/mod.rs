//! What the library promises, proved by number.

mod facts;
mod g10_shutdown;
mod g1_durable_before_visible;
mod g2_full_disk;
mod g2_nothing_lost;
mod g3_one_run;
mod g4_exactly_once;
mod g4_rollover;
mod g4_steps;
mod g5_clean_up;
mod g5_control;
mod g6_no_false_expiry;
mod g6_wall_clock;
mod g7_no_late_expiry;
mod g8_alone;
mod held;
pub(crate) mod kit;
mod odd_stores;
mod recovery;
mod restart;
mod slow_stores;
mod snapshots;
mod steps;
mod steps_disturbed;
