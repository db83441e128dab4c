//! What a new worker does first: it looks at what the last one left, and takes it up.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, oneshot};

use super::{
    agenda,
    core::Core,
    error::SessionError,
    op::{Op, Recovered},
};
use crate::{
    faults::{self, Bug},
    model::{
        ids::{Kind, SessionId},
        state::{PauseCause, Phase, State},
    },
    policy::recovery::{self, PROVEN_AFTER, Plan},
    store::{Damage, Query, StoreError},
};

/// How many records are looked at at a time.
const PAGE: usize = 512;

/// What a recovery is to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    ordinary: Vec<(SessionId, Plan)>,
    suspects: Vec<(SessionId, Plan)>,
    /// Sessions that would have run, but for a workload of their kind.
    unregistered: Vec<(SessionId, Kind)>,
    damaged: Vec<Damage>,
}

/// What a recovery did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Sessions that run again from their last checkpoint, or wait out their backoff.
    pub resumed: Vec<SessionId>,
    /// Sessions whose stop was finished.
    pub stopped: Vec<SessionId>,
    /// Sessions that were paused as `interrupted`, because policy does not resume them.
    pub interrupted: Vec<SessionId>,
    /// Sessions that were quarantined: their workers died of them again and again.
    pub quarantined: Vec<SessionId>,
    /// Sessions that stay as they are, because no workload of their kind is registered.
    pub unregistered: Vec<(SessionId, Kind)>,
    /// Sessions that could not be resumed and stay as they are, and why.
    pub failed: Vec<(SessionId, SessionError)>,
    /// What in the store cannot be read. Its bytes are kept.
    pub damaged: Vec<Damage>,
}

/// Looks at every session that may need something, and changes nothing.
pub(crate) async fn survey(core: &Core) -> Result<Work, StoreError> {
    let store = core.store()?;
    let mut work = Work { damaged: store.damaged().await?, ..Work::default() };
    let mut states = vec![State::Active, State::Stopping, State::Paused];
    if cfg!(feature = "metrics") {
        // They need nothing now, and are counted.
        states.push(State::Pending);
    }
    let mut after = None;
    loop {
        let query = Query { states: states.clone(), after, limit: PAGE, ..Query::default() };
        let page = store.list(query).await?;
        for record in &page.records {
            core.meters.found(record.state());
            let registered = core.registry.get(&record.kind).is_some();
            let lost = |worker| core.is_lost(worker);
            match recovery::plan(record, core.recover, registered, lost) {
                Plan::Leave => {
                    let would_run = match &record.phase {
                        Phase::Active { worker, .. } => core.is_lost(*worker),
                        Phase::Paused { cause, .. } => match cause {
                            PauseCause::Shutdown | PauseCause::Interrupted => true,
                            PauseCause::Asked
                            | PauseCause::Idle
                            | PauseCause::Quarantined
                            | PauseCause::Asleep(_)
                            | PauseCause::AlarmRang
                            | PauseCause::Parent => false,
                        },
                        Phase::Pending { .. }
                        | Phase::Stopping { .. }
                        | Phase::Stopped
                        | Phase::Completed
                        | Phase::Failed
                        | Phase::Expired => false,
                    };
                    if !registered && would_run {
                        work.unregistered.push((record.id, record.kind.clone()));
                    }
                }
                plan @ Plan::ResumeSuspect => work.suspects.push((record.id, plan)),
                plan @ (Plan::FinishStop | Plan::Interrupt | Plan::Resume | Plan::Quarantine) => {
                    work.ordinary.push((record.id, plan));
                }
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(work);
        }
    }
}

/// How fast sessions are resumed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) at_once: usize,
    pub(crate) jitter: Duration,
}

/// Does the work: first what is harmless, as many at once as the pace allows; then the suspects,
/// one at a time.
pub(crate) async fn recover(core: Arc<Core>, work: Work, pace: Pace) -> RecoveryReport {
    let Work { ordinary, suspects, unregistered, damaged } = work;
    let mut report = RecoveryReport { unregistered, damaged, ..RecoveryReport::default() };
    // What is owed to families needs no place: it does not wait for those who wait for theirs.
    core.keep_agenda(tokio::spawn(super::family::serve(Arc::clone(&core))).abort_handle());
    let at_once = Arc::new(Semaphore::new(pace.at_once.max(1)));
    let mut tasks = tokio::task::JoinSet::new();
    for (session, plan) in ordinary {
        let Ok(turn) = Arc::clone(&at_once).acquire_owned().await else {
            break;
        };
        let core = Arc::clone(&core);
        tasks.spawn(async move {
            let recovered = recover_one(&core, session, plan, pace.jitter).await;
            drop(turn);
            (session, recovered)
        });
        while let Some(done) = tasks.try_join_next() {
            if let Ok((session, recovered)) = done {
                report.note(session, recovered);
            }
        }
    }
    while let Some(done) = tasks.join_next().await {
        if let Ok((session, recovered)) = done {
            report.note(session, recovered);
        }
    }
    // Those that had a place before have theirs again; what is left is for those who wait.
    core.keep_agenda(tokio::spawn(agenda::fill_places(Arc::clone(&core))).abort_handle());
    core.keep_agenda(tokio::spawn(agenda::ring(Arc::clone(&core))).abort_handle());
    for (session, plan) in suspects {
        let mut watch = core.hub.watch(session);
        let recovered = recover_one(&core, session, plan, Duration::ZERO).await;
        let resumed = matches!(recovered, Some(Recovered::Resumed));
        report.note(session, recovered);
        if resumed && !faults::planted(Bug::RecoverSuspectsTogether) {
            let proven = async {
                while let Some(record) = watch.changed().await {
                    if record.recoveries == 0 || record.state() != State::Active {
                        return;
                    }
                }
            };
            // It has had its chance; the next one gets its own.
            let _ = tokio::time::timeout(PROVEN_AFTER, proven).await;
        }
    }
    report
}

async fn recover_one(
    core: &Core,
    session: SessionId,
    plan: Plan,
    jitter: Duration,
) -> Option<Recovered> {
    let place = match plan {
        Plan::Resume | Plan::ResumeSuspect => {
            let jitter = jitter.mul_f64(core.random());
            if !jitter.is_zero() {
                tokio::time::sleep(jitter).await;
            }
            Some(Arc::clone(&core.places).acquire_owned().await.ok()?)
        }
        Plan::Leave | Plan::FinishStop | Plan::Interrupt | Plan::Quarantine => None,
    };
    let (done, recovered) = oneshot::channel();
    core.route(session, Op::Recover { place, done });
    let recovered = recovered.await.ok()?;
    // Any word on a session finishes its stop: it was done here, if not for the recovery.
    let was_faster = plan == Plan::FinishStop && matches!(recovered, Recovered::Left);
    Some(if was_faster { Recovered::Stopped } else { recovered })
}

impl RecoveryReport {
    fn note(&mut self, session: SessionId, recovered: Option<Recovered>) {
        match recovered {
            Some(Recovered::Resumed) => self.resumed.push(session),
            Some(Recovered::Stopped) => self.stopped.push(session),
            Some(Recovered::Interrupted) => self.interrupted.push(session),
            Some(Recovered::Quarantined) => self.quarantined.push(session),
            Some(Recovered::Failed(error)) => self.failed.push((session, error)),
            // Somebody was faster; or the worker is over.
            Some(Recovered::Left) | None => {}
        }
    }
}
