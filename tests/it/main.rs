//! Everything that is tested through the public API, in one binary.

mod lifecycle;
mod store;
mod support;
mod tidy;
