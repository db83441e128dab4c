//! Rollovers: a session ends, and a new one takes its place.

use std::sync::Arc;

use crate::{
    model::{
        ids::{Kind, Name, SessionId},
        record::StartRequest,
    },
    runtime::{
        core::Core,
        error::{RolloverError, SendError, SessionError, StartError},
        op::{NewInput, NewRollover, NewSuccessor, Op},
    },
    session::{self, Receipt, Session, SessionHandle},
    start::{self, Fnv, Json},
    store::Key,
    supervisor::{Origin, StartedSession},
    workload::{
        Rollover, Workload,
        rollover::{Next, NotEncoded, Unread},
        threads::UserCode,
    },
};

impl Rollover<Json> {
    /// A successor that begins with a state as JSON, for callers that know no types.
    pub fn json(state: &serde_json::Value) -> Self {
        Self::of(state)
    }

    /// A first input as JSON for the successor. It comes after those that move.
    pub fn input_json(self, input: &serde_json::Value) -> Self {
        self.with_input(input)
    }
}

/// Rolling a session over, an agent's `/clear`: it ends, and a successor begins with a state of its own and takes its place.
///
/// Both happen in one commit, so that there is never none and never two. The session is `completed`
/// ([`Cause::RolledOver`](crate::Cause::RolledOver)), its successor `pending` and then `active`: it has the place of
/// the session under `max_active`. Their records name each other ([`Links`](crate::Links)), and so do their logs. After a crash between
/// the commit and the first run of the successor the next worker begins it.
///
/// It happens only at a safe point. A turn that is under way is asked to end
/// ([`YieldReason::Rollover`](crate::YieldReason::Rollover)), and is cancelled after a [grace](Rollover::within); its input
/// counts as not worked off then. A session without a run, such as a paused one, is rolled over at once, and its successor
/// runs, also that of a child that was paused with its parent. What is asked of the run first comes first: a pause that is under
/// way is finished, and then the paused session is rolled over; where a resume withdraws it, the rollover is next. What comes
/// while a rollover waits for its turn:
///
/// - a stop, `complete`, `fail`, or the run's own completion wins, and the rollover is refused;
/// - a pause gets [`SessionError::RolledOver`], which names the successor, and so does every verb that comes later;
/// - a second rollover too, unless it is the same by its [key](Rollover::key), which gets the same successor.
///
/// ```no_run
/// # use sessionkeeper::{Context, Outcome, Rollover, SessionHandle, Workload, WorkloadError};
/// # struct Coder;
/// # impl Workload for Coder {
/// #     const KIND: &'static str = "coder";
/// #     const STATE_VERSION: u32 = 1;
/// #     type State = Vec<String>;
/// #     type Input = String;
/// #     async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
/// #         Ok(Outcome::Yielded)
/// #     }
/// # }
/// # async fn example(session: SessionHandle<Coder>) -> Result<(), Box<dyn std::error::Error>> {
/// let fresh = session.rollover(Rollover::new(Vec::new())).await?;
/// assert_eq!(session.latest().await?.id(), fresh.id());
/// session.following().send("goes to the successor".into()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`RolloverError`]; unless it says otherwise, the session is as it was, but for a turn that was asked to end.
///
/// # Cancel safety
/// Once polled, dropping it withdraws nothing. With a [key](Rollover::key) it can be repeated without harm.
impl<W: Workload> SessionHandle<W> {
    /// Rolls the session over. On return the successor is durable.
    pub async fn rollover(&self, next: Rollover<W>) -> Result<StartedSession<W>, RolloverError> {
        let (successor, origin) = roll_over(self, next, Checked::ByType).await?;
        Ok(StartedSession::new(successor.typed()?, origin))
    }

    /// The last of the chain that begins with this session; itself, where it has no successor. Before the handle is used
    /// the chain may have grown.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], which may name a successor that is gone; or a store that fails.
    pub async fn latest(&self) -> Result<Self, SessionError> {
        self.session.latest().await?.typed()
    }

    /// The same handle, whose inputs go along: see [`Session::following`].
    pub fn following(&self) -> Self {
        Self { session: self.session.following(), workload: Arc::clone(&self.workload) }
    }
}

impl Session {
    /// Rolls the session over, for callers that know no types: see [`SessionHandle::rollover`]. A state or input that is not one
    /// of the kind is refused.
    ///
    /// # Errors
    /// [`RolloverError`]; unless it says otherwise, the session is as it was, but for a turn that was asked to end.
    pub async fn rollover_json(
        &self,
        next: Rollover<Json>,
    ) -> Result<(Self, Origin), RolloverError> {
        roll_over(self, next, Checked::Here).await
    }

    /// The last of the chain that begins with this session: see [`SessionHandle::latest`].
    ///
    /// # Errors
    /// [`SessionError::NotFound`], which may name a successor that is gone; or a store that fails.
    pub async fn latest(&self) -> Result<Self, SessionError> {
        let mut latest = self.clone();
        // Each was made after the one before it, so the chain has an end.
        while let Some(next) = latest.status().await?.record().links().transitioned_to {
            latest = latest.at(next);
        }
        Ok(latest)
    }

    /// The same handle, whose inputs go along: where the session was rolled over, they are sent to its successor, and
    /// on to the last of the chain. The [receipt](Receipt::session) says who has it. An input that was accepted under
    /// its id before the rollover is not sent again. All other verbs are for this session alone.
    pub fn following(&self) -> Self {
        let mut following = self.clone();
        following.follows = true;
        following
    }

    /// Another session of the chain.
    pub(crate) fn at(&self, session: SessionId) -> Self {
        let mut next = Self::new(Arc::clone(self.core()), session, self.kind().clone());
        next.follows = self.follows;
        next
    }

    /// Sends an input to the last of the chain. It is a task of its own, so that dropping the future of a caller withdraws
    /// nothing on the way from one to the next.
    pub(crate) async fn send_along(&self, input: NewInput) -> Result<Receipt, SendError> {
        let (mut latest, session) = (self.clone(), self.id());
        let sending = self.core().runtime.spawn(async move {
            loop {
                match latest.send_input(&input).await {
                    Err(SendError::RolledOver { successor, .. }) => latest = latest.at(successor),
                    sent => return sent,
                }
            }
        });
        match sending.await {
            Ok(sent) => sent,
            // The runtime is going down with the task.
            Err(_) => Err(SessionError::OutcomeUnknown { session }.into()),
        }
    }
}

/// Whether a state is one of the kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// Its type says so.
    ByType,
    /// It is to be looked at.
    Here,
}

async fn roll_over<W>(
    session: &Session,
    asked: Rollover<W>,
    checked: Checked,
) -> Result<(Session, Origin), RolloverError> {
    let core = session.core();
    let id = core.clock.session_id();
    let kind = session.kind();
    let Some(workload) = core.registry.get(kind) else {
        return Err(SessionError::NoWorkload { session: session.id(), kind: kind.clone() }.into());
    };
    let (key, grace) = (asked.key.clone(), asked.within);
    let next =
        asked.into_next(workload.state_version()).map_err(|why| not_encoded(id, kind, why))?;
    if checked == Checked::Here {
        let _decoding = session.enter(UserCode::Decode);
        let state = workload.check_state(&next.state);
        state.map_err(|error| StartError::Invalid {
            session: id,
            kind: kind.clone(),
            source: Arc::from(error),
        })?;
        if let Some(input) = &next.input {
            let input = workload.check_input(input);
            input.map_err(|error| StartError::from(SendError::invalid(id, error)))?;
        }
    }
    let digest = digest(session.id(), &next);
    let start_key = key.map(|key| StartRequest { key, digest });
    let successor = NewSuccessor { id, start_key, next: Arc::new(next) };
    let making = make(Arc::clone(core), session.id(), successor, grace);
    match core.runtime.spawn(making).await {
        Ok(made) => {
            let (successor, origin) = made?;
            let core = Arc::clone(session.core());
            Ok((Session::new(core, successor, session.kind().clone()), origin))
        }
        // The runtime is going down with the task.
        Err(_) => Err(SessionError::OutcomeUnknown { session: session.id() }.into()),
    }
}

async fn make(
    core: Arc<Core>,
    session: SessionId,
    successor: NewSuccessor,
    grace: Option<std::time::Duration>,
) -> Result<(SessionId, Origin), RolloverError> {
    // What can be refused is refused before a turn is asked to end.
    if let Some(made) = made_before(&core, session, &successor).await? {
        return Ok((made, Origin::Repeated));
    }
    if let Some(name) = &successor.next.name {
        // Else it may be its own successor that holds the name, and is to be asked.
        if let Some(successor) =
            session::status(&core, session).await?.record().links().transitioned_to
        {
            return Err(SessionError::RolledOver { session, successor }.into());
        }
        is_free(&core, session, &successor, name).await?;
    }
    let made = session::ask(&core, session, |reply| {
        let successor = successor.clone();
        Op::Rollover(Box::new(NewRollover { successor, grace, reply }))
    });
    match made.await {
        Ok(made) if made == successor.id => Ok((made, Origin::New)),
        Ok(made) => Ok((made, Origin::Repeated)),
        // The same request may have been faster.
        Err(
            error @ (RolloverError::Session(SessionError::RolledOver { .. })
            | RolloverError::Refused { .. }),
        ) => {
            let made = made_before(&core, session, &successor).await?;
            made.map(|made| (made, Origin::Repeated)).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// The successor that the same request has made before.
async fn made_before(
    core: &Core,
    session: SessionId,
    asked: &NewSuccessor,
) -> Result<Option<SessionId>, RolloverError> {
    let Some(request) = &asked.start_key else {
        return Ok(None);
    };
    let made = start::made_before(core, session, request).await?;
    Ok(made.map(|record| record.id))
}

/// Finds out whether a name is free, as far as it can be known before the commit.
async fn is_free(
    core: &Core,
    session: SessionId,
    asked: &NewSuccessor,
    name: &Name,
) -> Result<(), RolloverError> {
    match start::holder(core, session, Key::Name(name.clone())).await? {
        Some(holder)
            if holder.id != session
                && !holder.state().is_terminal()
                && holder.name.as_ref() == Some(name) =>
        {
            let (session, name, holder) = (asked.id, name.clone(), holder.id);
            Err(StartError::NameTaken { session, name, holder }.into())
        }
        Some(_) | None => Ok(()),
    }
}

fn not_encoded(session: SessionId, kind: &Kind, why: NotEncoded) -> StartError {
    match why {
        NotEncoded::State(source) => StartError::Invalid { session, kind: kind.clone(), source },
        NotEncoded::Input(source) => SendError::Invalid { session, source }.into(),
        NotEncoded::MetadataTooDeep => SessionError::MetadataTooDeep { session }.into(),
    }
}

/// What makes a repeated rollover recognisable: everything that was asked for. It is stored, so it must not change.
fn digest(session: SessionId, next: &Next) -> u64 {
    let moves = match next.unread {
        Unread::Move => true,
        Unread::Leave => false,
    };
    let name = next.name.as_ref().map(Name::as_str);
    let asked = ("rollover", session, name, &next.labels, &next.metadata, &next.policy, moves);
    let mut digest = Fnv::default();
    digest.add(&serde_json::to_vec(&asked).unwrap_or_default());
    digest.add(&next.state);
    if let Some(input) = &next.input {
        digest.add(input);
    }
    digest.0
}
