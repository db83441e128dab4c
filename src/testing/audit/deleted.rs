//! What is left of sessions that were deleted.

use std::collections::BTreeMap;

use super::{Findings, Rule, log, whole_log};
use crate::{
    model::{
        event::{Fact, Lifecycle},
        ids::SessionId,
        record::{Lane, SessionRecord},
        step::Turn,
        time::LaneTime,
    },
    store::{Store, StoreError},
};

/// Looks at all tombstones, which nothing but their due times leads to, and gives them.
pub(super) async fn audit_deleted<S: Store + ?Sized>(
    store: &S,
    records: &BTreeMap<SessionId, SessionRecord>,
    findings: &mut Findings,
) -> Result<Vec<SessionRecord>, StoreError> {
    let mut tombstones = Vec::new();
    let end = LaneTime::from_millis(u64::MAX);
    // One that owes something is not removed before that is done.
    for due in store.due(Lane::Family, end, usize::MAX).await? {
        if let Ok(Some(record)) = store.load(due.session).await
            && record.is_deleted()
            && record.removed_from().is_none()
        {
            audit_tombstone(store, &record, findings).await?;
            tombstones.push(record);
        }
    }
    for due in store.due(Lane::Removal, end, usize::MAX).await? {
        let loaded = store.load(due.session).await?;
        let mut about = findings.about(Some(due.session));
        let is_listed = records.contains_key(&due.session);
        about.check(!is_listed, Rule::Deleted, || "it was deleted, and is listed".to_owned());
        let Some(tombstone) = loaded.filter(SessionRecord::is_deleted) else {
            about.add(Rule::Deleted, "it is due to be removed, and was not deleted".to_owned());
            continue;
        };
        audit_tombstone(store, &tombstone, findings).await?;
        tombstones.push(tombstone);
    }
    Ok(tombstones)
}

async fn audit_tombstone<S: Store + ?Sized>(
    store: &S,
    tombstone: &SessionRecord,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let session = tombstone.id;
    let log = whole_log(store, session).await?;
    let is_purged = tombstone.deleted.is_some_and(|deleted| deleted.purged);
    let inputs = store.inputs(session, 0, 1).await?.len();
    let steps = store.steps(session, Turn::default()).await?.len();
    let mut about = findings.about(Some(session));
    if is_purged {
        let left = log.len() + inputs + steps;
        about.same(Rule::Deleted, "what is left of it", &left, &0);
        let says_more = tombstone.name.is_some()
            || tombstone.external_id.is_some()
            || !tombstone.labels.is_empty()
            || !tombstone.metadata.is_empty();
        about.check(!says_more, Rule::Deleted, || {
            "all else of it is removed, and its record still says what it was called".to_owned()
        });
        return Ok(());
    }
    // A purge that was interrupted has removed the events last, and from the first on.
    let is_whole = log.first().is_some_and(|first| first.sequence == 1);
    if is_whole && log.len() as u64 == tombstone.last_event {
        log::replay(tombstone, &log, &mut about);
    }
    let ends = log.last().is_none_or(|last| {
        matches!(last.fact, Fact::Lifecycle(Lifecycle::Deleted { .. }))
            && last.sequence == tombstone.last_event
    });
    about.check(ends, Rule::Deleted, || format!("its log ends with {:?}", log.last()));
    Ok(())
}
