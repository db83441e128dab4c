//! What is left of deleted sessions is removed, and ended ones are deleted when they were kept for long enough. Their due
//! times are an index in the store: nothing looks for them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    agenda::{self, RETRY, Waited},
    core::Core,
    error::SessionError,
    live::Live,
    op::{Op, Reply},
};
use crate::{
    model::{
        deletion::Removal,
        record::Lane,
        state::State,
        time::{LaneTime, SupervisedTime},
    },
    policy::Retention,
    store::{LogQuery, StoreError},
};

/// How long what was deleted waits for sinks and hooks that have not come to it.
const READ_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// Passes a request to the actor of a session, and gives back what waits for the end of the actor.
pub(super) fn pass_on(live: &Live, op: Op) -> Option<Op> {
    let record = live.record();
    let (session, state) = (record.id, record.state());
    let has_run = match state {
        State::Pending | State::Active | State::Stopping => true,
        State::Paused | State::Stopped | State::Completed | State::Failed | State::Expired => false,
    };
    let Op::Delete { reply, by } = op else { return live.send(op).err() };
    if has_run {
        reply.send(Err(SessionError::NotAtRest { session, state }));
        return None;
    }
    // It has come to rest, and its run is about to be gone.
    Some(Op::Delete { reply, by })
}

/// Removes what is left of sessions that were deleted.
pub(crate) async fn purge(core: Arc<Core>) {
    let mut mark = None;
    loop {
        if agenda::wait(&core, Lane::Removal, &core.removals).await == Waited::Told {
            continue;
        }
        let is_done = match removable(&core, &mut mark).await {
            Ok(Removable::Until(at)) => purge_until(&core, at).await,
            // Those who read are looked at again after a while.
            Ok(Removable::Unread(at)) => {
                purge_until(&core, at).await;
                false
            }
            Err(_) => false,
        };
        if !is_done {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Removes what was due then, and says whether that is all.
async fn purge_until(core: &Arc<Core>, until: LaneTime) -> bool {
    let owed = match &core.hooks {
        Some(hooks) => hooks.owed(),
        None => Some(HashSet::new()),
    };
    let Some(owed) = owed else { return false };
    let all = agenda::work_off(
        core,
        Lane::Removal,
        || until,
        |session| {
            let purged = (!owed.contains(&session)).then(|| {
                let (done, purged) = oneshot::channel();
                core.route(session, Op::Purge { done });
                purged
            });
            async move {
                match purged {
                    Some(purged) => purged.await.is_ok(),
                    None => false,
                }
            }
        },
    );
    all.await
}

/// Where the log ended at a time.
type Mark = (LaneTime, u64);

/// Until when what is due may be removed.
enum Removable {
    /// Until then: all who read the log for this worker have come to where it ended at that time.
    Until(LaneTime),
    /// Somebody has not, and is waited for no longer than a day.
    Unread(LaneTime),
}

async fn removable(core: &Core, mark: &mut Option<Mark>) -> Result<Removable, StoreError> {
    let now = core.clock.now_in(Lane::Removal);
    let store = core.store()?;
    let (at, end) = match *mark {
        Some(mark) => mark,
        None => {
            let newest = LogQuery { limit: 1, ..LogQuery::default() };
            *mark.insert((now, store.log(newest).await?.end.last))
        }
    };
    let bookmarks = store.bookmarks().await?;
    let mut readers = core.readers().map(|reader| {
        bookmarks.iter().find(|kept| kept.reader == *reader).map(|kept| kept.cursor.position())
    });
    if readers.all(|position| position >= Some(end)) {
        *mark = None;
        return Ok(Removable::Until(at));
    }
    let long_ago = now.as_millis().saturating_sub(millis(READ_WITHIN));
    Ok(Removable::Unread(LaneTime::from_millis(long_ago)))
}

/// Deletes ended sessions when they were kept for long enough.
///
/// Nobody has to say that a session ended: it is kept for as long as the shortest retention at least, and so long at most
/// is waited before the lanes are looked at again.
pub(crate) async fn retain(core: Arc<Core>) {
    let kept: Vec<_> = Retention::LANES
        .into_iter()
        .filter_map(|lane| Some((lane, core.retention.keeps(lane)?)))
        .collect();
    if kept.is_empty() {
        return;
    }
    loop {
        let mut next = SupervisedTime::from_millis(u64::MAX);
        for (lane, keep) in &kept {
            let now = core.clock.supervised();
            let all = match now.as_millis().checked_sub(millis(*keep)) {
                Some(until) => delete_until(&core, *lane, LaneTime::from_millis(until)).await,
                None => true,
            };
            let earliest = if all { agenda::earliest(&core, *lane).await } else { None };
            let from = earliest.map_or(now, |due| SupervisedTime::from_millis(due.at.as_millis()));
            next = next.min(from.after(*keep));
        }
        let soonest = core.clock.supervised().after(RETRY);
        core.clock.sleep_until_supervised(next.max(soonest)).await;
    }
}

/// Deletes those that had ended by then, and says whether that is all. Such as one that was resumed meanwhile, or cannot be read, is
/// passed over.
async fn delete_until(core: &Arc<Core>, lane: Lane, until: LaneTime) -> bool {
    let all = agenda::work_off(
        core,
        lane,
        || until,
        |session| {
            let (reply, deleted) = Reply::new(session);
            core.route(session, Op::Delete { by: Removal::Age, reply });
            async move { matches!(deleted.await, Ok(Ok(()))) }
        },
    );
    all.await
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
