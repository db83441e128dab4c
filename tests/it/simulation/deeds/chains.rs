//! Rollovers of sessions, their repetitions, and who follows the chain.

use std::time::Duration;

use sessionkeeper::{
    InputId, Name, Origin, Rollover, RolloverError, SendError, SessionId, StartError, StartKey,
};

use super::{
    super::{
        cues::{Cue, unread},
        player::{Played, Player},
    },
    Caller, Handle, Known, not_done, nothing,
};
use crate::oracle::ledger::{Answer, Verb};

/// A rollover that can be repeated.
#[derive(Debug, Clone)]
pub(super) struct RolledOver {
    session: SessionId,
    key: Option<StartKey>,
    name: Option<Name>,
    cue: Option<Cue>,
    moves: bool,
    within: Option<Duration>,
}

impl<const V: u32> Caller<V> {
    pub(super) async fn roll_over(&mut self, session: &Handle<V>) {
        if self.shared.lock().unwrap().known.len() >= self.most_sessions + 4 {
            return;
        }
        let number = self.tag();
        let key = StartKey::new(format!("rollover {number}")).unwrap();
        let name = (self.dice.u8(0..4) == 0).then(|| format!("name {}", self.dice.u8(0..3)));
        let asked = RolledOver {
            session: session.id(),
            key: self.dice.bool().then_some(key),
            name: name.map(|name| Name::new(name).unwrap()),
            cue: self.dice.bool().then(|| self.cue()),
            moves: self.dice.u8(0..4) > 0,
            within: self.dice.bool().then(|| Duration::from_millis(self.dice.u64(0..1500))),
        };
        if asked.key.is_some() {
            self.shared.lock().unwrap().rollovers.push(asked.clone());
        }
        self.roll_over_as(session, asked).await;
    }

    pub(super) async fn roll_over_again(&mut self) {
        let rollovers = self.shared.lock().unwrap().rollovers.clone();
        if rollovers.is_empty() {
            return;
        }
        let again = rollovers[self.dice.usize(0..rollovers.len())].clone();
        let Ok(session) = self.supervisor.session(again.session).await else { return };
        let Ok(session) = session.typed::<Player<V>>() else { return };
        self.roll_over_as(&session, again).await;
    }

    async fn roll_over_as(&mut self, session: &Handle<V>, asked: RolledOver) {
        let RolledOver { key, name, cue, moves, within, .. } = asked;
        let tag = cue.as_ref().map(|cue| cue.tag);
        let verb = Verb::Rollover { key: key.as_ref().map(ToString::to_string), tag, moves };
        let mut next = Rollover::<Player<V>>::new(Played::default()).unread(unread(moves));
        if let Some(key) = &key {
            next = next.key(key.clone());
        }
        if let Some(name) = name {
            next = next.name(name);
        }
        if let Some(cue) = cue {
            next = next.input(cue);
        }
        if let Some(grace) = within {
            next = next.within(grace);
        }
        let call = self.book.ask(Some(session.id()), verb);
        let answer = match session.rollover(next).await {
            Ok(made) => {
                self.shared.lock().unwrap().learn(made.id(), key);
                let repeated = made.origin() == Origin::Repeated;
                Answer::RolledOver { successor: made.id(), repeated }
            }
            Err(RolloverError::Refused { state, .. }) => Answer::Refused(state),
            Err(RolloverError::Session(error)) => not_done(&error),
            Err(RolloverError::Start(StartError::Deleted { session })) => Answer::Deleted(session),
            Err(
                error @ RolloverError::Start(
                    StartError::NameTaken { .. }
                    | StartError::Invalid { .. }
                    | StartError::Input(SendError::Invalid { .. }),
                ),
            ) => nothing(&error),
            Err(error) => {
                self.wrong(format!("a rollover was refused: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }

    pub(super) async fn latest(&mut self, session: &Handle<V>) {
        let call = self.book.ask(Some(session.id()), Verb::Latest);
        let answer = match session.latest().await {
            Ok(latest) => {
                self.shared.lock().unwrap().learn(latest.id(), None);
                Answer::Latest(latest.id())
            }
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }

    /// Sends to the last of a chain. One that was sent to the first before is not sent again.
    pub(super) async fn send_along(&mut self, session: &Handle<V>, known: &Known) {
        let sent = known.sent.clone();
        let (id, cue): (Option<InputId>, _) = match self.dice.u8(0..3) {
            0 if !sent.is_empty() => {
                let (id, cue) = sent[self.dice.usize(0..sent.len())].clone();
                (Some(id), cue)
            }
            _ => (None, self.cue()),
        };
        self.send_to(None, &session.following(), id, cue).await;
    }
}
