//! Starts of sessions, and their repetitions.

use sessionkeeper::{Name, OnParent, Origin, SendError, SessionId, Start, StartError, StartKey};

use super::{
    super::{
        cues::{Cue, on_parent},
        player::{Played, Player},
        policies,
    },
    Caller, Known, SECOND, not_done, nothing,
};
use crate::oracle::ledger::{Answer, Verb};

/// A start that can be repeated.
#[derive(Debug, Clone)]
pub(super) struct Started {
    id: SessionId,
    key: StartKey,
    name: Option<Name>,
    cue: Option<Cue>,
    parent: Option<(SessionId, OnParent)>,
}

impl<const V: u32> Caller<V> {
    pub(super) async fn start(&mut self, in_slot: bool) {
        if self.shared.lock().unwrap().known.len() >= self.most_sessions {
            return;
        }
        let id = SessionId::from_uuid(
            uuid::Builder::from_random_bytes(self.dice.u128(..).to_be_bytes()).into_uuid(),
        );
        let key = StartKey::new(format!("key {id}")).unwrap();
        let name = self.dice.bool().then(|| format!("name {}", self.dice.u8(0..3)));
        let name = name.map(|name| Name::new(name).unwrap());
        let cue = self.dice.bool().then(|| self.cue());
        let parent = if self.dice.u8(0..2) == 0 { self.pick() } else { None };
        let parent = parent.map(|(_, parent)| (parent.id, on_parent(self.dice.u8(..))));
        let started = Started { id, key, name, cue, parent };
        {
            let mut shared = self.shared.lock().unwrap();
            let key = Some(started.key.clone());
            shared.known.push(Known { id, acknowledged: false, key, sent: Vec::new() });
            shared.starts.push(started.clone());
        }
        self.start_as(started, in_slot).await;
    }

    pub(super) async fn start_again(&mut self) {
        let starts = self.shared.lock().unwrap().starts.clone();
        if !starts.is_empty() {
            let again = starts[self.dice.usize(0..starts.len())].clone();
            self.start_as(again, false).await;
        }
    }

    async fn start_as(&mut self, started: Started, in_slot: bool) {
        let Started { id, key, name, cue, parent } = started;
        let tag = cue.as_ref().map(|cue| cue.tag);
        let verb = Verb::Start { key: Some(key.to_string()), tag };
        // The policy belongs to the request: it has to be the same each time.
        let mut policy_dice = fastrand::Rng::with_seed(id.as_uuid().as_u64_pair().1);
        let mut start = Start::<Player<V>>::new(Played::default()).id(id).key(key);
        if policy_dice.bool() {
            start = start.policy(policies::policy(&mut policy_dice));
        }
        if let Some((parent, on_parent)) = parent {
            start = start.child_of(parent).on_parent(on_parent);
        }
        if let Some(name) = name {
            start = start.name(name);
        }
        if let Some(cue) = cue {
            start = start.input(cue);
        }
        if in_slot {
            let slot = tokio::time::timeout(5 * SECOND, self.supervisor.slot()).await;
            let Ok(Ok(slot)) = slot else { return };
            start = start.in_slot(slot);
        }
        let call = self.book.ask(Some(id), verb);
        let answer = match self.supervisor.start(start).await {
            Ok(session) => {
                let mut shared = self.shared.lock().unwrap();
                shared.learn(id, None);
                if session.id() != id {
                    shared.wrong.push(format!("{id} was started as {}", session.id()));
                }
                Answer::Started { session: id, repeated: session.origin() == Origin::Repeated }
            }
            Err(StartError::Deleted { session }) => Answer::Deleted(session),
            Err(StartError::Session(error) | StartError::Input(SendError::Session(error))) => {
                not_done(&error)
            }
            Err(
                error @ (StartError::NameTaken { .. }
                | StartError::Invalid { .. }
                | StartError::ParentEnded { .. }
                | StartError::TooDeep { .. }),
            ) => nothing(&error),
            Err(error @ StartError::Input(SendError::Invalid { .. })) => nothing(&error),
            // The workload of this life encodes its first state otherwise.
            Err(error) => {
                self.wrong(format!("a start was refused: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }
}
