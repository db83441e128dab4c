//! What the words of the model promise.

mod family;
mod inbox;
mod json;
mod labels;
mod lifecycle;
mod names;
mod record;
mod snapshot;
mod statistics;
mod time;
mod vocabulary;
