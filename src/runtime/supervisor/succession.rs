//! What passes from a session that is rolled over to its successor.

use tokio::sync::oneshot;

use super::Sessions;
use crate::{
    faults::{self, Bug},
    model::{ids::SessionId, record::SessionRecord, state::State},
    runtime::op::{Op, Place},
};

impl Sessions {
    /// Takes the place of a session that came to rest, and hands it on to its successor, if it has just been rolled over: that
    /// has its run next, before all others who wait. Gives a place that nobody inherits. Where the worker shuts down nobody
    /// does: the next one begins with the successor as with all that is ready.
    pub(super) fn hand_on(
        &mut self,
        session: SessionId,
        record: Option<&SessionRecord>,
    ) -> Option<Place> {
        let place = self.kept.get_mut(&session).and_then(|kept| kept.place.take());
        let successor = record.and_then(|record| record.links().transitioned_to);
        let (Some(successor), None) = (successor, &self.draining) else {
            return place;
        };
        let place = place.filter(|_| !faults::planted(Bug::FreePlaceBetween))?;
        // Nobody waits for the answer: one that cannot begin now waits for a place as others do.
        let (done, _) = oneshot::channel();
        self.on_route(successor, Op::Wake { place: Some(place), done });
        None
    }
}

/// Whether a session without a run may hold what stays outside its memory.
pub(super) const fn may_hold(state: State) -> bool {
    match state {
        State::Pending | State::Paused => true,
        State::Active
        | State::Stopping
        | State::Stopped
        | State::Completed
        | State::Failed
        | State::Expired => false,
    }
}
