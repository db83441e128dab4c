//! The starts that are under way in this process. A supervisor that is dropped may leave one behind, and what looks for
//! leftovers of the session before that has begun would miss it.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::SessionId;

static UNDER_WAY: LazyLock<UnderWay> = LazyLock::new(UnderWay::default);

/// How many starts of a session's program are under way.
#[derive(Default)]
struct UnderWay {
    counts: Mutex<HashMap<SessionId, usize>>,
    changed: Notify,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A start that is under way: until somebody holds the program, or nothing is left of it.
#[derive(Debug)]
pub(super) struct Starting(SessionId);

impl Starting {
    pub(super) fn begin(session: SessionId) -> Self {
        *UNDER_WAY.lock().entry(session).or_default() += 1;
        Self(session)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut counts = UNDER_WAY.lock();
        if let Some(count) = counts.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.0);
            }
        }
        drop(counts);
        UNDER_WAY.changed.notify_waiters();
    }
}

/// Waits until no start of a session's program is under way.
pub(super) async fn none_under_way(session: SessionId) {
    loop {
        let mut changed = std::pin::pin!(UNDER_WAY.changed.notified());
        changed.as_mut().enable();
        if !UNDER_WAY.lock().contains_key(&session) {
            return;
        }
        changed.await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};
    use uuid::Uuid;

    use super::{SessionId, Starting, none_under_way};

    #[test]
    fn nobody_looks_for_what_is_left_while_a_start_is_under_way() {
        let [session, other] = [1, 2].map(|number| SessionId::from_uuid(Uuid::from_u128(number)));
        let [first, second] = [session, session].map(Starting::begin);
        assert_ready!(task::spawn(none_under_way(other)).poll());
        let mut waits = task::spawn(none_under_way(session));
        assert_pending!(waits.poll());
        drop(first);
        assert_pending!(waits.poll());
        drop(second);
        assert!(waits.is_woken());
        assert_ready!(waits.poll());
    }
}
