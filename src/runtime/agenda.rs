//! What happens to sessions that nobody looks after: they begin to run when there is a place, and
//! their waiting ends when its limit is reached. Their due times are an index in the store, so
//! they hold no memory here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::sync::{Notify, oneshot};

use super::{
    core::Core,
    op::{Op, Place, Woken},
    supervisor::Message,
};
use crate::{
    faults::{self, Bug},
    model::{
        ids::SessionId,
        record::Lane,
        time::{LaneTime, SupervisedTime},
    },
    store::Due,
};

/// How many sessions are asked at once.
const AT_ONCE: usize = 32;
/// How often the wall clock is read again while a session sleeps: it may jump, and timers stand still
/// while the machine does.
const WALL_LOOK: Duration = Duration::from_secs(30);
/// How long to wait before a failing store is asked again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// Gives places to those who wait for one: resumes first, then sessions that are ready, the one
/// that became ready first before the others.
pub(crate) async fn fill_places(core: Arc<Core>) {
    // Sessions that this worker cannot run, such as those of an unknown kind.
    let mut not_here = HashSet::new();
    loop {
        core.ready.notified().await;
        // With those that cannot be run now; the next change of a ready session tries them again.
        let mut passed_over = not_here.clone();
        while let Some(first) = ready_for_place(&core, &passed_over).await {
            let mut places = vec![first];
            while places.len() < AT_ONCE
                && let Ok(place) = Arc::clone(&core.places).try_acquire_owned()
            {
                places.push(place);
            }
            let ready = due(&core, Lane::Ready, places.len() + passed_over.len()).await;
            let ready: Vec<SessionId> = ready
                .into_iter()
                .map(|due| due.session)
                .filter(|session| !passed_over.contains(session))
                .collect();
            if ready.is_empty() {
                break;
            }
            let woken = ready.into_iter().zip(places).map(|(session, place)| {
                let (done, woken) = oneshot::channel();
                core.route(session, Op::Wake { place: Some(place), done });
                async move { (session, woken.await) }
            });
            for (session, woken) in join_all(woken).await {
                match woken {
                    Ok(Woken::NotHere) => {
                        not_here.insert(session);
                        passed_over.insert(session);
                    }
                    Ok(Woken::NotNow) => {
                        passed_over.insert(session);
                    }
                    // A request that was dropped unseen is made again.
                    Ok(Woken::Done) | Err(_) => {}
                }
            }
        }
    }
}

/// Waits for a place that no resume wants; `None` if nobody is ready.
async fn ready_for_place(core: &Core, passed_over: &HashSet<SessionId>) -> Option<Place> {
    loop {
        let place = Arc::clone(&core.places).acquire_owned().await.ok()?;
        let (back, given) = oneshot::channel();
        core.tell(Message::Place { place, back });
        // A resume took it: the next one may be ours.
        let Some(place) = given.await.ok()? else {
            continue;
        };
        let ready = due(core, Lane::Ready, 1 + passed_over.len()).await;
        let any = ready.iter().any(|due| !passed_over.contains(&due.session));
        return any.then_some(place);
    }
}

/// Ends the waiting of sessions whose limit is reached.
pub(crate) async fn time_out(core: Arc<Core>) {
    loop {
        if wait(&core, Lane::Timeout, &core.timeouts).await == Waited::Told {
            continue;
        }
        let now = || core.clock.now_in(Lane::Timeout);
        let all = work_off(&core, Lane::Timeout, now, |session| {
            let (done, ended) = oneshot::channel();
            core.route(session, Op::TimeOut { done });
            async move { ended.await.is_ok() }
        });
        if !all.await {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Wakes sessions whose alarm rings. The one agenda of the wall clock.
pub(crate) async fn ring(core: Arc<Core>) {
    loop {
        wait(&core, Lane::Alarm, &core.sleepers).await;
        let now = || core.clock.now_in(Lane::Alarm);
        let all = work_off(&core, Lane::Alarm, now, |session| {
            let (done, woken) = oneshot::channel();
            core.route(session, Op::Wake { place: None, done });
            async move {
                match woken.await {
                    Ok(Woken::Done) => true,
                    Ok(Woken::NotNow | Woken::NotHere) | Err(_) => false,
                }
            }
        });
        if !all.await {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// How a wait for a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// The earliest may be due.
    Due,
    /// Another one may be earlier than was known.
    Told,
}

/// Waits until the earliest of a lane is due, or until told that there may be an earlier one.
pub(super) async fn wait(core: &Core, lane: Lane, told: &Notify) -> Waited {
    let earliest = earliest(core, lane).await;
    let due = async {
        match earliest {
            Some(due) => sleep_until(core, lane, due.at).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = told.notified() => Waited::Told,
        () = due => Waited::Due,
    }
}

/// Sleeps until a time of a lane, or for a while where its clock may jump.
async fn sleep_until(core: &Core, lane: Lane, at: LaneTime) {
    if lane == Lane::Alarm {
        let rest = at.since(core.clock.now_in(lane));
        let jumps = !faults::planted(Bug::TrustWallClock);
        core.clock.sleep(if jumps { rest.min(WALL_LOOK) } else { rest }).await;
    } else {
        let at = SupervisedTime::from_millis(at.as_millis());
        core.clock.sleep_until_supervised(at).await;
    }
}

/// Asks every session that is due in a lane until then, some at a time. Those of which the answer is not that it is done, such as
/// damaged ones, are passed over and keep nobody else; says whether there were none.
pub(super) async fn work_off<A: Future<Output = bool>>(
    core: &Core,
    lane: Lane,
    until: impl Fn() -> LaneTime,
    ask: impl Fn(SessionId) -> A,
) -> bool {
    let mut passed_over = HashSet::new();
    let ask = |session| {
        let answer = ask(session);
        async move { if answer.await { Asked::Done } else { Asked::PassedOver } }
    };
    work_off_others(core, lane, until, ask, &mut passed_over).await;
    passed_over.is_empty()
}

/// What came of asking a session that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is due no more.
    Done,
    /// It cannot do what is asked, and keeps nobody else.
    PassedOver,
    /// Nobody can do it now.
    NotNow,
}

/// The same for all but those who are `passed_over` already; who cannot do what is asked joins them. Says whether nobody is left who could
/// not do it just now. Where none of those who are asked at once could, the others are not asked in vain.
pub(super) async fn work_off_others<A: Future<Output = Asked>>(
    core: &Core,
    lane: Lane,
    until: impl Fn() -> LaneTime,
    ask: impl Fn(SessionId) -> A,
    passed_over: &mut HashSet<SessionId>,
) -> bool {
    let mut later = HashSet::new();
    loop {
        let limit = AT_ONCE + passed_over.len() + later.len();
        let mut due = due_until(core, lane, until(), limit).await;
        due.retain(|due| !passed_over.contains(&due.session) && !later.contains(&due.session));
        if due.is_empty() {
            return later.is_empty();
        }
        let asked = due.into_iter().map(|Due { session, .. }| {
            let answer = ask(session);
            async move { (session, answer.await) }
        });
        let mut any = false;
        for (session, asked) in join_all(asked).await {
            any |= asked != Asked::NotNow;
            match asked {
                Asked::Done => {}
                Asked::PassedOver => {
                    passed_over.insert(session);
                }
                Asked::NotNow => {
                    later.insert(session);
                }
            }
        }
        if !any {
            return false;
        }
    }
}

pub(super) async fn earliest(core: &Core, lane: Lane) -> Option<Due> {
    earliest_of_others(core, lane, &HashSet::new()).await
}

/// The earliest of a lane but for these.
pub(super) async fn earliest_of_others(
    core: &Core,
    lane: Lane,
    passed_over: &HashSet<SessionId>,
) -> Option<Due> {
    let due = due_until(core, lane, LaneTime::from_millis(u64::MAX), 1 + passed_over.len()).await;
    due.into_iter().find(|due| !passed_over.contains(&due.session))
}

async fn due(core: &Core, lane: Lane, limit: usize) -> Vec<Due> {
    due_until(core, lane, core.clock.now_in(lane), limit).await
}

async fn due_until(core: &Core, lane: Lane, until: LaneTime, limit: usize) -> Vec<Due> {
    loop {
        let Ok(store) = core.store() else {
            return Vec::new();
        };
        match store.due(lane, until, limit).await {
            Ok(due) => return due,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
