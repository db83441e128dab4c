//! Requests to sessions that have no actor: a short task loads the record, decides, commits,
//! answers, and says what the session needs next.

use std::{sync::Arc, time::Duration};

use super::{
    checkpointer::Answer,
    core::Core,
    draft::Draft,
    error::StartError,
    op::{NewSession, Op, Place, TakenIds},
};
use crate::{
    faults::{self, Bug, Point},
    model::{
        ids::SessionId,
        record::{SessionRecord, StoredInput},
        snapshot::SnapshotEnvelope,
        state::{Phase, Restarting, State},
        step::StoredStep,
    },
    store::{Commit, Refusal, StoreError},
    telemetry,
    workload::erased::ErasedWorkload,
};

mod begin;
mod decide;
mod decided;
mod deleted;
mod failing;
mod keep;
mod loaded;
mod roll_over;

use self::{decide::Desk, decided::Decided, loaded::Loaded};

/// How long a desk waits before it asks a failing store again.
const RETRY: Duration = Duration::from_millis(500);

/// What a desk reports.
pub(crate) struct Report {
    pub(crate) session: SessionId,
    /// The place that the session takes, if it took one.
    pub(crate) place: Option<Place>,
    pub(crate) after: After,
    /// Requests that somebody else must serve.
    pub(crate) left: Vec<Op>,
    /// The record after the last commit.
    pub(crate) record: Option<Arc<SessionRecord>>,
    /// The verb that won over every resume before it, if one did.
    pub(crate) won: Option<&'static str>,
}

/// What the session needs next.
pub(crate) enum After {
    /// Nothing.
    Rest,
    /// An actor.
    Launch(Box<Prepared>),
    /// To wait out its backoff.
    Backoff(Restarting),
    /// A place, for these resumes.
    WaitForPlace(Vec<Op>),
}

/// A session that can run, and what its run needs.
pub(crate) struct Prepared {
    pub(crate) record: Arc<SessionRecord>,
    pub(crate) workload: Arc<dyn ErasedWorkload>,
    pub(crate) snapshot: Arc<SnapshotEnvelope>,
    pub(crate) inputs: Vec<StoredInput>,
    pub(crate) steps: Vec<StoredStep>,
}

/// Works off requests to one session. Its record is `known` where its last keeper left it, and is
/// loaded otherwise.
pub(super) async fn serve(
    core: Arc<Core>,
    session: SessionId,
    ops: Vec<Op>,
    has_place: bool,
    known: Option<Arc<SessionRecord>>,
) -> Report {
    let (mut ops, mut known) = (ops, known);
    if let Some(record) = known.take() {
        // A run that came to rest before it was to stop has left what a stop waits for.
        known = Some(let_go(&core, record).await);
    }
    let mut taken = TakenIds::new();
    let mut place = None;
    let rest = |place, left| {
        let after = After::Rest;
        Report { session, place, after, left, record: None, won: None }
    };
    loop {
        if let Some(error) = core.checkpointer.health().error() {
            let waiting = ops.into_iter();
            ops = waiting.filter_map(|op| refuse_a_caller(op, session, &error)).collect();
            if ops.is_empty() {
                return rest(place, Vec::new());
            }
        }
        // A new session is not in the store. One with an id of the caller's choice may be, and the
        // store cannot tell two first commits of one worker apart.
        let record = if matches!(ops.as_slice(), [Op::Start(new)] if new.has_new_id) {
            None
        } else if let Some(known) = known.take() {
            Some(known)
        } else {
            match load(&core, session, &mut ops).await {
                Ok(record) => record.map(Arc::new),
                Err(Unloadable) => return rest(place, Vec::new()),
            }
        };
        if let Some(tombstone) = record.as_deref().filter(|record| record.is_deleted()) {
            for op in ops {
                deleted::serve(&core, tombstone, op).await;
            }
            return rest(place, Vec::new());
        }
        let mut desk = Desk::new(&core, session, record.as_deref(), has_place, taken, place.take());
        let left = desk.decide_all(ops).await;
        taken = std::mem::take(&mut desk.taken);
        place = desk.place.take();
        let Desk { draft, decided, loaded, waiting, won, .. } = desk;
        let (committed, new_inputs) = match draft.filter(Draft::is_changed) {
            None => {
                answer(decided, record.as_deref());
                (record, Vec::new())
            }
            Some(draft) => {
                let inputs = draft.inputs().to_vec();
                match commit(&core, draft.finish(&core.retention), decided).await {
                    Committed::Done(record, decided) => {
                        faults::reach(Point::BeforeAcknowledge);
                        answer(decided, Some(&*record));
                        faults::reach(Point::AfterAcknowledge);
                        (Some(let_go(&core, record).await), inputs)
                    }
                    Committed::Refused(refusal, decided) => {
                        ops = refused(&core, session, refusal, decided, &mut taken).await;
                        ops.extend(waiting);
                        ops.extend(left);
                        if ops.is_empty() {
                            return rest(None, Vec::new());
                        }
                        continue;
                    }
                    Committed::Ended => return rest(place, left),
                }
            }
        };
        let after = match (&committed, loaded) {
            (Some(record), Some(loaded)) => {
                After::Launch(Box::new(loaded.prepared(record, new_inputs)))
            }
            (Some(record), None) => match record.phase {
                Phase::Active { restarting: Some(restarting), worker, .. }
                    if worker == core.generation =>
                {
                    After::Backoff(restarting)
                }
                Phase::Pending { .. }
                | Phase::Active { .. }
                | Phase::Paused { .. }
                | Phase::Stopping { .. }
                | Phase::Stopped
                | Phase::Completed
                | Phase::Failed
                | Phase::Expired => after_waiting(waiting),
            },
            (None, _) => After::Rest,
        };
        return Report { session, place, after, left, record: committed, won };
    }
}

/// While the store fails, tells a caller so at once; gives back what can wait.
pub(super) fn refuse_a_caller(op: Op, session: SessionId, error: &Arc<StoreError>) -> Option<Op> {
    failing::store_failed(op, session, error, false)
}

/// Resumes that found no place wait for one.
fn after_waiting(waiting: Vec<Op>) -> After {
    if waiting.is_empty() { After::Rest } else { After::WaitForPlace(waiting) }
}

/// Loads the record. Where it cannot be read, callers are told; what the supervisor itself wants
/// waits for the store.
async fn load(
    core: &Core,
    session: SessionId,
    ops: &mut Vec<Op>,
) -> Result<Option<SessionRecord>, Unloadable> {
    loop {
        let loaded = match core.store() {
            Ok(store) => store.load(session).await,
            Err(error) => Err(error),
        };
        let error = match loaded {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        let lasting = match &error {
            StoreError::Damaged { .. } | StoreError::Closed => true,
            StoreError::InUse { .. }
            | StoreError::Open { .. }
            | StoreError::StoreDamaged { .. }
            | StoreError::Unavailable { .. } => false,
        };
        telemetry::session_trouble(session, "its record cannot be loaded", &error);
        let error = Arc::new(error);
        let mut patient = Vec::new();
        for op in ops.drain(..) {
            if let Some(op) = failing::store_failed(op, session, &error, lasting) {
                patient.push(op);
            }
        }
        *ops = patient;
        if ops.is_empty() {
            return Err(Unloadable);
        }
        tokio::time::sleep(RETRY).await;
        if let Ok(store) = core.store() {
            // A store that cannot be healed yet shows it in the next load.
            let _ = store.heal().await;
        }
    }
}

/// The record cannot be loaded, and everybody has been told.
struct Unloadable;

/// A session that will not run again by itself holds nothing: closes what it held, and then
/// settles a stop that waited for it.
async fn let_go(core: &Arc<Core>, record: Arc<SessionRecord>) -> Arc<SessionRecord> {
    match record.state() {
        State::Pending | State::Active | State::Paused => return record,
        State::Stopping | State::Stopped | State::Completed | State::Failed | State::Expired => {}
    }
    let words = core.close_held(record.id).await;
    if record.state() != State::Stopping {
        return record;
    }
    let mut draft = Draft::of(&record, core.moment());
    draft.take_last_words(words);
    draft.end_lost_run(|worker| core.is_lost(worker) && !faults::planted(Bug::SettleWithoutEnd));
    let settled = draft.settle_stop();
    debug_assert!(settled.is_ok(), "what is stopping can be stopped");
    match commit(core, draft.finish(&core.retention), Vec::new()).await {
        Committed::Done(record, _) => record,
        // The next worker finishes the stop.
        Committed::Refused(..) | Committed::Ended => record,
    }
}

enum Committed {
    Done(Arc<SessionRecord>, Vec<Decided>),
    Refused(Refusal, Vec<Decided>),
    /// The worker is over.
    Ended,
}

async fn commit(core: &Arc<Core>, commit: Commit, mut decided: Vec<Decided>) -> Committed {
    let commit = Arc::new(commit);
    faults::reach(Point::Decided);
    let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let on_answer = move |answer| {
        let _ = sender.send(answer);
    };
    core.checkpointer.submit(Arc::clone(&commit), Box::new(on_answer));
    loop {
        match answers.recv().await {
            Some(Answer::Done) => {
                faults::reach(Point::BeforePublish);
                core.announce_successor(&commit);
                core.announce(&commit.record, &commit.events);
                return Committed::Done(Arc::clone(&commit.record), decided);
            }
            Some(Answer::Delayed(error)) => {
                for decided in &mut decided {
                    decided.store_failed(&error);
                }
            }
            Some(Answer::Refused(refusal)) => return Committed::Refused(refusal, decided),
            None => return Committed::Ended,
        }
    }
}

/// A refused commit: tells those whom the refusal concerns, and gives back what is to be decided
/// again.
async fn refused(
    core: &Core,
    session: SessionId,
    refusal: Refusal,
    decided: Vec<Decided>,
    taken: &mut TakenIds,
) -> Vec<Op> {
    core.meters.withdrawn(session);
    if refusal == Refusal::GenerationEnded {
        // Replies are dropped, and say that nothing is known.
        core.taken_over();
        return Vec::new();
    }
    if let Refusal::InputTaken { id, sequence, checksum } = &refusal {
        taken.insert(id.clone(), (*sequence, *checksum));
    }
    let mut again = Vec::new();
    for decided in decided {
        let decided = match (decided, &refusal) {
            // Others that came after it are decided again without it.
            (Decided::Rollover { asked, answer: Ok(()) }, Refusal::Successor(why)) => {
                asked.refuse(Refusal::clone(why));
                continue;
            }
            (decided, _) => decided,
        };
        match (decided.undo(), &refusal) {
            (Op::Start(new), Refusal::Version { found: Some(_) }) => {
                exists(core, session, *new).await;
            }
            (Op::Start(new), Refusal::Deleted) => new.deleted(session),
            (Op::Start(new), Refusal::StartKeyTaken { holder, digest }) => {
                key_taken(core, *holder, *digest, *new).await;
            }
            (Op::Start(new), Refusal::NameTaken { holder }) => {
                let name = new.record.name.clone();
                new.reply.send(Err(match name {
                    Some(name) => StartError::NameTaken { session, name, holder: *holder },
                    None => StartError::Exists { session: *holder },
                }));
            }
            // Somebody else wrote meanwhile, such as a commit that an actor left under way.
            (op, _) => again.push(op),
        }
    }
    again
}

/// A session with this id exists: answers from its stored record.
async fn exists(core: &Core, session: SessionId, new: NewSession) {
    let stored = match core.store() {
        Ok(store) => store.load(session).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(Some(stored)) => new.already(&stored),
        Ok(None) => new.reply.send(Err(StartError::Exists { session })),
        Err(error) => new.reply.store_failed(&Arc::new(error)),
    }
}

/// Another session has the start key: it is the one that was asked for, unless it was deleted.
async fn key_taken(core: &Core, holder: SessionId, digest: u64, new: NewSession) {
    let stored = match core.store() {
        Ok(store) => store.load(holder).await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(Some(stored)) if stored.is_deleted() => new.deleted(holder),
        // The index knows what the request was, also where the record cannot be read.
        Ok(_) | Err(StoreError::Damaged { .. }) => new.repeats(holder, digest),
        Err(error) => new.reply.store_failed(&Arc::new(error)),
    }
}

fn answer(decided: Vec<Decided>, record: Option<&SessionRecord>) {
    for decided in decided {
        decided.answer(record);
    }
}
