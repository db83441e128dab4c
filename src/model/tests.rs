//! What the words of the model promise.

mod json;
mod lifecycle;
mod names;
mod record;
mod snapshot;
mod time;
