//! What the words of the model promise.

mod json;
mod labels;
mod lifecycle;
mod names;
mod record;
mod snapshot;
mod time;
mod vocabulary;
