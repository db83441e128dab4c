//! What can be said of programs without running one.

mod error;
mod exit;
mod json;
mod lines;
mod spec;
mod survey;
