//! What the policies promise.

mod liveness;
mod recovery;
mod restart;
mod values;
