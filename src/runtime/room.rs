//! Ended sessions are deleted before their time where all sessions together hold more than they may.

use std::{collections::HashSet, num::NonZeroU64, sync::Arc};

use futures::future::join_all;

use super::{
    agenda::RETRY,
    core::Core,
    op::{Op, Reply},
};
use crate::{
    model::{deletion::Removal, ids::SessionId, time::LaneTime},
    store::{Due, Store, StoreError},
    telemetry,
};

/// How many sessions are looked at in one go.
const AT_ONCE: usize = 32;

/// Makes room whenever something was committed, once a second at most.
pub(crate) async fn keep(core: Arc<Core>) {
    let Some(limit) = core.retention.most_bytes() else { return };
    let mut is_told = false;
    loop {
        let made = make(&core, limit).await;
        match made {
            Ok(excess) => {
                if excess > 0 && !is_told {
                    telemetry::no_room(limit, excess);
                }
                is_told = excess > 0;
            }
            Err(_) => core.grown.notify_one(),
        }
        tokio::time::sleep(RETRY).await;
        core.grown.notified().await;
    }
}

/// Deletes sessions until all others hold no more than that, and says how much too much is left where nothing more may go.
async fn make(core: &Core, limit: NonZeroU64) -> Result<u64, StoreError> {
    // Such as one that was resumed meanwhile, or cannot be read.
    let mut passed_over = HashSet::new();
    loop {
        let store = core.store()?;
        let excess = store.held().await?.total().saturating_sub(limit.get());
        if excess == 0 {
            return Ok(0);
        }
        let mut ended = ended(core, &*store, AT_ONCE + passed_over.len()).await?;
        ended.retain(|due| !passed_over.contains(&due.session));
        ended.truncate(AT_ONCE);
        if ended.is_empty() {
            return Ok(excess);
        }
        for session in delete(core, &*store, &ended, excess).await? {
            passed_over.insert(session);
        }
    }
}

/// Those that may go, the one that ended first before the others.
async fn ended(core: &Core, store: &dyn Store, limit: usize) -> Result<Vec<Due>, StoreError> {
    let mut ended = Vec::new();
    for lane in core.retention.makes_room() {
        ended.extend(store.due(lane, LaneTime::from_millis(u64::MAX), limit).await?);
    }
    ended.sort_unstable();
    Ok(ended)
}

/// Deletes as many of these as make so much room, and gives those that could not be deleted.
async fn delete(
    core: &Core,
    store: &dyn Store,
    ended: &[Due],
    excess: u64,
) -> Result<Vec<SessionId>, StoreError> {
    let (mut room, mut left, mut asked) = (0_u64, Vec::new(), Vec::new());
    for Due { session, .. } in ended {
        if room >= excess {
            break;
        }
        let bytes = match store.load(*session).await {
            Ok(record) => record.map_or(0, |record| record.bytes()),
            Err(StoreError::Damaged { .. }) => 0,
            Err(error) => return Err(error),
        };
        if bytes == 0 {
            left.push(*session);
            continue;
        }
        room = room.saturating_add(bytes);
        let (reply, deleted) = Reply::new(*session);
        core.route(*session, Op::Delete { by: Removal::Space, reply });
        asked.push(async move { (*session, deleted.await) });
    }
    for (session, deleted) in join_all(asked).await {
        if !matches!(deleted, Ok(Ok(()))) {
            left.push(session);
        }
    }
    Ok(left)
}
