//! What is left of deleted sessions is removed, and so are the older events of others; and ended ones are deleted when they were kept for
//! long enough. Their due times are an index in the store: nothing looks for them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::{Mutex, Notify, oneshot};

use super::{
    agenda::{self, Asked, RETRY, Waited},
    core::Core,
    error::SessionError,
    live::Live,
    op::{Op, Reply},
};
use crate::{
    faults::{self, Bug},
    model::{
        deletion::Removal,
        ids::SessionId,
        record::Lane,
        state::State,
        time::{LaneTime, SupervisedTime},
    },
    policy::Retention,
    store::{LogQuery, Purged, Refusal, StoreError, Trim},
    telemetry,
};

/// How many rows of events are removed in one transaction of a session that goes on: less than of one that was deleted, as others and
/// itself wait for it.
const PORTION: usize = 256;

/// How long what is to be removed waits for sinks and hooks that have not come to it.
const READ_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How long an ended session that cannot be deleted is left alone.
const STUCK_AGAIN: Duration = Duration::from_secs(3600);

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
    let ask = |session| {
        let (done, purged) = oneshot::channel();
        core.route(session, Op::Purge { done });
        async move { purged.await.is_ok() }
    };
    remove(&core, Lane::Removal, &core.removals, ask).await;
}

/// Removes the older events of sessions that go on.
pub(crate) async fn trim(core: Arc<Core>) {
    // A portion at a time: whoever commits meanwhile waits for one, and not for one of each session.
    let turn = Mutex::new(());
    let ask = |session| trim_session(&core, session, &turn);
    remove(&core, Lane::Trim, &core.trims, ask).await;
}

/// Asks sessions in a lane to be removed, or a part of them, when all who read the log for this worker have read it.
async fn remove<A: Future<Output = bool>>(
    core: &Core,
    lane: Lane,
    told: &Notify,
    ask: impl Fn(SessionId) -> A,
) {
    let mut mark = None;
    loop {
        if agenda::wait(core, lane, told).await == Waited::Told {
            continue;
        }
        let is_done = match removable(core, lane, &mut mark).await {
            Ok(Removable::Until(at)) => remove_until(core, lane, at, &ask).await,
            // Those who read are looked at again after a while.
            Ok(Removable::Unread(at)) => {
                remove_until(core, lane, at, &ask).await;
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
async fn remove_until<A: Future<Output = bool>>(
    core: &Core,
    lane: Lane,
    until: LaneTime,
    ask: impl Fn(SessionId) -> A,
) -> bool {
    let owed = match &core.hooks {
        Some(hooks) => hooks.owed(),
        None => Some(HashSet::new()),
    };
    let Some(owed) = owed else { return false };
    let all = agenda::work_off(
        core,
        lane,
        || until,
        |session| {
            let removed = (!owed.contains(&session)).then(|| ask(session));
            async move {
                match removed {
                    Some(removed) => removed.await,
                    None => false,
                }
            }
        },
    );
    all.await
}

/// Removes the events of a session of which its record says that they are to go, and says whether that is done. What was removed stays
/// removed, so whoever is interrupted goes on later.
async fn trim_session(core: &Core, session: SessionId, turn: &Mutex<()>) -> bool {
    let to = match trim_events(core, session, turn).await {
        Ok(Ok(to)) => to,
        Ok(Err(refusal)) => {
            if refusal == Refusal::GenerationEnded {
                core.taken_over();
            }
            telemetry::session_trouble(session, "its older events were not removed", &refusal);
            return false;
        }
        Err(error) => {
            let what = "its older events could not be removed yet";
            telemetry::session_trouble(session, what, &error);
            return false;
        }
    };
    let (done, noted) = oneshot::channel();
    core.route(session, Op::Trimmed { to, done });
    noted.await.is_ok()
}

async fn trim_events(
    core: &Core,
    session: SessionId,
    turn: &Mutex<()>,
) -> Result<Result<u64, Refusal>, StoreError> {
    let record = core.store()?.load(session).await?;
    let to = record.map_or(0, |record| record.trimmed_to());
    let trim = Trim { generation: core.generation, session, to, rows: PORTION };
    loop {
        let _turn = turn.lock().await;
        match core.store()?.trim(trim).await? {
            Ok(Purged::More) => {}
            Ok(Purged::Done) => {
                telemetry::trimmed(session, to);
                return Ok(Ok(to));
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
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

async fn removable(
    core: &Core,
    lane: Lane,
    mark: &mut Option<Mark>,
) -> Result<Removable, StoreError> {
    let now = core.clock.now_in(lane);
    let store = core.store()?;
    let (at, end) = match *mark {
        Some(mark) => mark,
        None => {
            let newest = LogQuery { limit: 1, ..LogQuery::default() };
            *mark.insert((now, store.log(newest).await?.end.last))
        }
    };
    let bookmarks = store.bookmarks().await?;
    let waits = !(lane == Lane::Trim && faults::planted(Bug::TrimUnread));
    let mut readers = core.readers().filter(|_| waits).map(|reader| {
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
    let mut kept: Vec<_> = Retention::LANES
        .into_iter()
        .filter_map(|lane| Some(Kept { lane, keep: core.retention.keeps(lane)?, stuck: None }))
        .collect();
    if kept.is_empty() {
        return;
    }
    loop {
        let mut next = SupervisedTime::from_millis(u64::MAX);
        for kept in &mut kept {
            next = next.min(kept.look(&core).await);
        }
        let soonest = core.clock.supervised().after(RETRY);
        core.clock.sleep_until_supervised(next.max(soonest)).await;
    }
}

/// The ended sessions of a lane, and how long they are kept.
struct Kept {
    lane: Lane,
    keep: Duration,
    stuck: Option<Stuck>,
}

/// Sessions that cannot be deleted, such as damaged ones. They are looked at again from time to time, however often others are.
struct Stuck {
    sessions: HashSet<SessionId>,
    until: SupervisedTime,
}

impl Kept {
    /// Deletes those whose time is over, and says when to look again.
    async fn look(&mut self, core: &Arc<Core>) -> SupervisedTime {
        let now = core.clock.supervised();
        let again = now.after(STUCK_AGAIN);
        let mut stuck = self
            .stuck
            .take()
            .filter(|stuck| now < stuck.until)
            .unwrap_or_else(|| Stuck { sessions: HashSet::new(), until: again });
        let all = match now.as_millis().checked_sub(millis(self.keep)) {
            Some(until) => {
                let until = LaneTime::from_millis(until);
                delete_until(core, self.lane, until, &mut stuck.sessions).await
            }
            None => true,
        };
        let mut next = now;
        if all {
            let earliest = agenda::earliest_of_others(core, self.lane, &stuck.sessions).await;
            let from = earliest.map_or(now, |due| SupervisedTime::from_millis(due.at.as_millis()));
            next = from.after(self.keep);
        } else if faults::planted(Bug::RetainMuchLater) {
            next = now.after(self.keep);
        }
        if !stuck.sessions.is_empty() {
            next = next.min(stuck.until);
            self.stuck = Some(stuck);
        }
        next
    }
}

/// Deletes those that had ended by then, and says whether all were asked that can be deleted. Such as one that was resumed meanwhile, or
/// cannot be read, is passed over; while the store fails, nobody is asked in vain.
async fn delete_until(
    core: &Arc<Core>,
    lane: Lane,
    until: LaneTime,
    passed_over: &mut HashSet<SessionId>,
) -> bool {
    let ask = |session| {
        let (reply, deleted) = Reply::new(session);
        core.route(session, Op::Delete { by: Removal::Age, reply });
        async move {
            match deleted.await {
                Ok(answer) => asked(answer),
                // A request that was dropped unseen is made again.
                Err(_) => Asked::NotNow,
            }
        }
    };
    agenda::work_off_others(core, lane, || until, ask, passed_over).await
}

/// What the answer to a delete says about the next look.
fn asked(answer: Result<(), SessionError>) -> Asked {
    let Err(error) = answer else { return Asked::Done };
    match error {
        SessionError::NotFound { .. } => Asked::Done,
        SessionError::Store { source, .. } => match *source {
            StoreError::Damaged { .. } => Asked::PassedOver,
            StoreError::InUse { .. }
            | StoreError::Open { .. }
            | StoreError::StoreDamaged { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Closed => Asked::NotNow,
        },
        SessionError::ShuttingDown { .. } | SessionError::OutcomeUnknown { .. } => Asked::NotNow,
        SessionError::RolledOver { .. }
        | SessionError::Refused(_)
        | SessionError::Superseded { .. }
        | SessionError::NotCurrentRun { .. }
        | SessionError::RunStillAlive { .. }
        | SessionError::NotAtRest { .. }
        | SessionError::NoWorkload { .. }
        | SessionError::WrongKind { .. }
        | SessionError::NewerState { .. }
        | SessionError::Unreadable { .. }
        | SessionError::Undecodable { .. }
        | SessionError::MetadataTooDeep { .. } => Asked::PassedOver,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
