//! Which events are left, where only the newest are kept.

use std::ops::RangeInclusive;

use super::{Ms, Reference, Session};

/// What is to go can be read for so long.
const SHOWN: Ms = 10_000;
/// When it is gone at the latest: the statistics of the worker keep their place every ten seconds, and events go when those
/// have come to where the log ended; what is due just after that was looked at waits for the next time.
const GONE: Ms = 35_000;
/// The library may be so much later than the model.
const LATE: Ms = 20;

/// When a session has so many more than are kept, the older ones go.
const fn too_many(newest: u64) -> u64 {
    newest.div_ceil(2)
}

impl Reference {
    /// How many events of a session are gone: at least, and at most.
    pub(in crate::model) fn gone_events(&self, session: &Session) -> RangeInclusive<u64> {
        let Some(newest) = self.setup.newest else { return 0..=0 };
        let most = newest + too_many(newest);
        let shown = session.recorded(self.now.checked_sub(SHOWN - LATE));
        let at_most = if shown < most { 0 } else { shown - newest };
        // What came while others were about to go has its turn after those.
        let done = self.now.checked_sub(2 * GONE).filter(|done| *done >= self.began);
        (session.recorded(done) + 1).saturating_sub(most)..=at_most
    }

    /// Whether events can go: those up to one are gone, and then those up to this one.
    pub(in crate::model) fn may_go(&self, before: u64, gone: u64) -> bool {
        let newest = self.setup.newest.unwrap_or(0);
        gone == before || gone >= before + too_many(newest).max(1)
    }
}

impl Session {
    /// How many events there were at a time; none before there was one.
    fn recorded(&self, at: Option<Ms>) -> u64 {
        let is_before = |recorded: &Ms| at.is_some_and(|at| *recorded <= at);
        self.recorded.partition_point(is_before) as u64
    }

    /// How many there are, gone or not.
    pub(in crate::model) fn last_event(&self) -> u64 {
        self.log.len() as u64
    }
}
