//! What happens to sessions that nobody looks after: they begin to run when there is a place, and
//! their waiting ends when its limit is reached. Their due times are an index in the store, so
//! they hold no memory here.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::sync::oneshot;

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

/// How many sessions are woken or timed out at once.
pub(super) const AT_ONCE: usize = 32;
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
        let earliest = earliest(&core, Lane::Timeout).await;
        let wait = async {
            match earliest {
                Some(Due { at, .. }) => {
                    let at = SupervisedTime::from_millis(at.as_millis());
                    core.clock.sleep_until_supervised(at).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.timeouts.notified() => continue,
            () = wait => {}
        }
        // Those that cannot be ended now, such as damaged ones, keep nobody else from their end.
        let mut passed_over = HashSet::new();
        loop {
            let mut expired = due(&core, Lane::Timeout, AT_ONCE + passed_over.len()).await;
            expired.retain(|due| !passed_over.contains(&due.session));
            if expired.is_empty() {
                break;
            }
            let ended = expired.into_iter().map(|Due { session, .. }| {
                let (done, ended) = oneshot::channel();
                core.route(session, Op::TimeOut { done });
                async move { (session, ended.await) }
            });
            for (session, ended) in join_all(ended).await {
                if ended.is_err() {
                    passed_over.insert(session);
                }
            }
        }
        if !passed_over.is_empty() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Wakes sessions whose alarm rings. The one agenda of the wall clock.
pub(crate) async fn ring(core: Arc<Core>) {
    loop {
        let earliest = earliest(&core, Lane::Alarm).await;
        let wait = async {
            match earliest {
                Some(Due { at, .. }) => {
                    let rest = at.since(core.clock.now_in(Lane::Alarm));
                    let jumps = !faults::planted(Bug::TrustWallClock);
                    core.clock.sleep(if jumps { rest.min(WALL_LOOK) } else { rest }).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.sleepers.notified() => {}
            () = wait => {}
        }
        // Those that cannot be woken now, such as damaged ones, keep nobody else asleep.
        let mut passed_over = HashSet::new();
        loop {
            let mut rung = due(&core, Lane::Alarm, AT_ONCE + passed_over.len()).await;
            rung.retain(|due| !passed_over.contains(&due.session));
            if rung.is_empty() {
                break;
            }
            let woken = rung.into_iter().map(|Due { session, .. }| {
                let (done, woken) = oneshot::channel();
                core.route(session, Op::Wake { place: None, done });
                async move { (session, woken.await) }
            });
            for (session, woken) in join_all(woken).await {
                match woken {
                    Ok(Woken::Done) => {}
                    Ok(Woken::NotNow | Woken::NotHere) | Err(_) => {
                        passed_over.insert(session);
                    }
                }
            }
        }
        if !passed_over.is_empty() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

pub(super) async fn earliest(core: &Core, lane: Lane) -> Option<Due> {
    loop {
        let store = core.store().ok()?;
        match store.due(lane, LaneTime::from_millis(u64::MAX), 1).await {
            Ok(due) => return due.first().copied(),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

pub(super) async fn due(core: &Core, lane: Lane, limit: usize) -> Vec<Due> {
    due_until(core, lane, core.clock.now_in(lane), limit).await
}

pub(super) async fn due_until(core: &Core, lane: Lane, until: LaneTime, limit: usize) -> Vec<Due> {
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
