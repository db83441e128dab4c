//! What the policies promise.

mod alerts;
mod liveness;
mod recovery;
mod restart;
mod retention;
mod values;
