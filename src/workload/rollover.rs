//! What follows a session that is rolled over, as its workload or a caller asks for it.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::Serialize;

use super::Workload;
use crate::{
    model::{
        ids::{Name, StartKey},
        json::{Encoded, encode},
        labels::{Labels, MAX_NESTING, Metadata, is_too_deep},
    },
    policy::Policy,
};

/// What becomes of the inputs that a session has not worked off when it is rolled over. The one in hand is among them,
/// unless its turn is committed first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unread {
    /// The successor has them, in their order and with their ids, and what is urgent stays so. They are numbered from
    /// 1, and the limits of the inbox do not hold for them: they were accepted once.
    ///
    /// One that was begun goes on there: [`attempt`](super::Input::attempt) counts on, and the [steps](super::Run::step) of its turn give
    /// their recorded results or say that they were interrupted, under the same idempotency keys.
    #[default]
    Move,
    /// They stay with the session that ends, and are never worked off.
    Leave,
}

/// The successor of a session: its first state, and whatever else is not to be as it was.
///
/// It inherits the kind, the name, labels, metadata, a policy of its own, and what the session
/// [holds while it is paused](super::Run::hold_while_paused). Its usage, its runs and its failures are counted from
/// zero; the external id and the start key stay with the session that ends, and so do steps, but for those in the turn of an input that
/// [moves](Unread::Move).
///
/// See [`SessionHandle::rollover`](crate::SessionHandle::rollover) and [`Context::rollover`](super::Context::rollover).
#[must_use = "a session is rolled over by `SessionHandle::rollover` or `Context::rollover`"]
pub struct Rollover<W> {
    state: Encoded,
    input: Option<Encoded>,
    name: Option<Name>,
    labels: Option<Labels>,
    metadata: Option<Metadata>,
    policy: Option<Box<Policy>>,
    unread: Unread,
    pub(crate) key: Option<StartKey>,
    pub(crate) within: Option<Duration>,
    typed: PhantomData<fn() -> W>,
}

impl<W: Workload> Rollover<W> {
    /// A successor that begins with this state.
    pub fn new(state: W::State) -> Self {
        Self::of(&state)
    }

    /// A first input for the successor. It comes after those that move, and is accepted whatever waits there; but it must
    /// not be larger than the whole inbox.
    pub fn input(mut self, input: W::Input) -> Self {
        self.input = Some(encode(&input));
        self
    }
}

impl<W> Rollover<W> {
    /// A successor that begins with a state of whatever type.
    pub(crate) fn of<S: Serialize>(state: &S) -> Self {
        Self {
            state: encode(state),
            input: None,
            name: None,
            labels: None,
            metadata: None,
            policy: None,
            unread: Unread::default(),
            key: None,
            within: None,
            typed: PhantomData,
        }
    }

    pub(crate) fn with_input<I: Serialize>(mut self, input: &I) -> Self {
        self.input = Some(encode(input));
        self
    }

    /// What becomes of the inputs that are not worked off (default: they move).
    pub const fn unread(mut self, unread: Unread) -> Self {
        self.unread = unread;
        self
    }

    /// Another unique name. It is refused while a session that has not ended holds it.
    pub fn name(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// Other labels.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Other metadata.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Another policy of its own.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// An idempotency key, as that of a [start](crate::Start::key): a rollover that is repeated with it gives the same
    /// successor. It is a caller's: a run needs none, since its rollover is committed with its end.
    pub fn key(mut self, key: StartKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How long a turn that is under way may take to end before it is cancelled (default: `pause_grace` of the policy).
    /// It is a caller's: a run that asks for its own rollover is over.
    pub const fn within(mut self, grace: Duration) -> Self {
        self.within = Some(grace);
        self
    }

    /// What is asked for, encoded by this version of the workload.
    pub(crate) fn into_next(self, state_version: u32) -> Result<Next, NotEncoded> {
        if self.metadata.as_ref().is_some_and(is_too_deep) {
            return Err(NotEncoded::MetadataTooDeep);
        }
        Ok(Next {
            state: self.state.map_err(NotEncoded::State)?.into(),
            input: self.input.transpose().map_err(NotEncoded::Input)?.map(Into::into),
            state_version,
            name: self.name,
            labels: self.labels,
            metadata: self.metadata,
            policy: self.policy,
            unread: self.unread,
        })
    }
}

impl<W> fmt::Debug for Rollover<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollover")
            .field("unread", &self.unread)
            .field("name", &self.name)
            .field("key", &self.key)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// What is asked for of a successor.
#[derive(Debug, Clone)]
pub(crate) struct Next {
    pub(crate) state: Arc<[u8]>,
    pub(crate) input: Option<Arc<[u8]>>,
    pub(crate) state_version: u32,
    pub(crate) name: Option<Name>,
    pub(crate) labels: Option<Labels>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) policy: Option<Box<Policy>>,
    pub(crate) unread: Unread,
}

impl Next {
    /// The policy of the successor, where this is the one of the session before it.
    pub(crate) fn policy<'a>(&'a self, inherited: &'a Policy) -> &'a Policy {
        self.policy.as_deref().unwrap_or(inherited)
    }
}

/// Why there is no successor to ask for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEncoded {
    #[error("the state of the successor cannot be encoded")]
    State(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("the first input of the successor cannot be encoded")]
    Input(#[source] Arc<dyn std::error::Error + Send + Sync>),
    #[error("metadata of the successor that is nested more than {MAX_NESTING} deep")]
    MetadataTooDeep,
}
