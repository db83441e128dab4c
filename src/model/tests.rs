//! What the words of the model promise.

mod lifecycle;
mod names;
mod record;
mod snapshot;
mod time;
