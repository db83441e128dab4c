//! The same without the feature `metrics`: nothing is counted, and nothing is kept for it.

use std::time::Duration;

use crate::{
    model::{event::Cause, ids::SessionId, state::State},
    store::Commit,
};

#[derive(Clone)]
pub(crate) struct Meters;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp;

impl Stamp {
    pub(crate) const fn now() -> Self {
        Self
    }
}

impl Meters {
    pub(crate) const fn begin() -> Self {
        Self
    }

    pub(crate) const fn found(&self, _: State) {}

    pub(crate) const fn committed(&self, _: &Commit, _: Stamp) {}

    pub(crate) const fn batch(&self, _: usize) {}

    pub(crate) const fn store_failed(&self) {}

    pub(crate) const fn asked_to_pause(&self, _: SessionId, _: Stamp) {}

    pub(crate) const fn asked_to_stop(&self, _: SessionId, _: Stamp) {}

    pub(crate) const fn pause_withdrawn(&self, _: SessionId) {}

    pub(crate) const fn withdrawn(&self, _: SessionId) {}

    pub(crate) const fn expired(&self, _: Cause, _: Duration) {}

    pub(crate) const fn end(&self) {}
}
