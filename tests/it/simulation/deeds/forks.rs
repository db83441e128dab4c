//! Forks of sessions, and their repetitions.

use sessionkeeper::{
    Fork, ForkError, Labels, Metadata, Name, Origin, SendError, SessionId, StartError, StartKey,
};

use super::{
    super::{cues::Cue, player::Player},
    Caller, Known, SECOND, not_done, nothing,
};
use crate::oracle::ledger::{Answer, Verb};

/// A fork that can be repeated.
#[derive(Debug, Clone)]
pub(super) struct Forked {
    parent: SessionId,
    id: SessionId,
    key: StartKey,
    name: Option<Name>,
    cue: Option<Cue>,
    at: Option<u64>,
    copies_inputs: bool,
    copies_usage: bool,
    copies_alarm: bool,
}

impl<const V: u32> Caller<V> {
    pub(super) async fn fork(&mut self) {
        let Some((_, parent)) = self.pick() else { return };
        if self.shared.lock().unwrap().known.len() >= self.most_sessions + 2 {
            return;
        }
        let id = SessionId::from_uuid(
            uuid::Builder::from_random_bytes(self.dice.u128(..).to_be_bytes()).into_uuid(),
        );
        let name = (self.dice.u8(0..4) == 0).then(|| format!("name {}", self.dice.u8(0..3)));
        let forked = Forked {
            parent: parent.id,
            id,
            key: StartKey::new(format!("key {id}")).unwrap(),
            name: name.map(|name| Name::new(name).unwrap()),
            cue: self.dice.bool().then(|| self.cue()),
            at: (self.dice.u8(0..4) == 0).then(|| self.dice.u64(1..6)),
            copies_inputs: self.dice.bool(),
            copies_usage: self.dice.bool(),
            copies_alarm: id.as_uuid().as_u128().is_multiple_of(2),
        };
        {
            let mut shared = self.shared.lock().unwrap();
            let key = Some(forked.key.clone());
            shared.known.push(Known { id, acknowledged: false, key, sent: Vec::new() });
            shared.forks.push(forked.clone());
        }
        self.fork_as(forked).await;
    }

    pub(super) async fn fork_again(&mut self) {
        let forks = self.shared.lock().unwrap().forks.clone();
        if !forks.is_empty() {
            let again = forks[self.dice.usize(0..forks.len())].clone();
            self.fork_as(again).await;
        }
    }

    async fn fork_as(&mut self, forked: Forked) {
        let Forked { parent, id, key, name, cue, at, copies_inputs, copies_usage, copies_alarm } =
            forked;
        let tag = cue.as_ref().map(|cue| cue.tag);
        let verb = Verb::Fork { parent, key: Some(key.to_string()), tag };
        // What callers write on a session is judged for each by itself.
        let mut fork = Fork::<Player<V>>::new()
            .id(id)
            .key(key)
            .labels(Labels::default())
            .metadata(Metadata::new())
            .within(3 * SECOND);
        if let Some(name) = name {
            fork = fork.name(name);
        }
        if let Some(cue) = cue {
            fork = fork.input(cue);
        }
        if let Some(at) = at {
            fork = fork.at(at);
        }
        if copies_inputs {
            fork = fork.copy_inputs();
        }
        if copies_usage {
            fork = fork.copy_usage();
        }
        if copies_alarm {
            fork = fork.copy_alarm();
        }
        let call = self.book.ask(Some(id), verb);
        let answer = match self.supervisor.fork(parent, fork).await {
            Ok(session) => {
                let mut shared = self.shared.lock().unwrap();
                shared.learn(id, None);
                if session.id() != id {
                    shared.wrong.push(format!("{id} was forked as {}", session.id()));
                }
                Answer::Started { session: id, repeated: session.origin() == Origin::Repeated }
            }
            Err(ForkError::Session(error)) => not_done(&error),
            Err(ForkError::Start(StartError::Deleted { session })) => Answer::Deleted(session),
            Err(
                error @ (ForkError::NotKept { .. }
                | ForkError::Refused { .. }
                | ForkError::Panicked { .. }
                | ForkError::TookTooLong { .. }),
            ) => nothing(&error),
            Err(
                error @ ForkError::Start(
                    StartError::NameTaken { .. }
                    | StartError::Invalid { .. }
                    | StartError::SnapshotTooLarge { .. }
                    | StartError::Input(SendError::Invalid { .. } | SendError::Full { .. }),
                ),
            ) => nothing(&error),
            Err(error) => {
                self.wrong(format!("a fork was refused: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }
}
