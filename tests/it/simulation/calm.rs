//! A while in the last life in which nobody asks for anything any more: whatever is to come of what was said before comes by itself.

use std::time::Duration;

use sessionkeeper::{SessionId, Start, Supervisor};

use super::{
    cues::on_parent,
    deeds::{SECOND, not_done},
    player::{Played, Player},
    world::World,
};
use crate::oracle::ledger::{Answer, Verb};

/// Longer than anything takes that is not asked for again.
const CALM: Duration = Duration::from_secs(45);

impl World {
    /// Gives children to some sessions, pauses, resumes and stops some, and then leaves all of them alone.
    pub(super) async fn calm<const V: u32>(
        &self,
        supervisor: &Supervisor,
        dice: &mut fastrand::Rng,
    ) {
        let known = self.shared.lock().unwrap().known.clone();
        for parent in &known {
            if dice.bool() {
                self.bear::<V>(supervisor, parent.id, dice).await;
            }
        }
        // What was just paused may be stopped or resumed then, and what was stopped too.
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(dice.u64(0..3000))).await;
            for known in &known {
                let verb = match (round, dice.u8(0..8)) {
                    (0, 0..3) => Verb::Pause,
                    (0 | 1, 3) | (2, 3..7) => Verb::Resume,
                    (0, 4) | (1, 4..6) => Verb::Stop,
                    _ => continue,
                };
                self.ask_soon(supervisor, known.id, verb).await;
            }
        }
        tokio::time::sleep(CALM).await;
    }

    /// Asks a session, and waits a moment for the answer.
    async fn ask_soon(&self, supervisor: &Supervisor, id: SessionId, verb: Verb) {
        let Ok(session) = supervisor.session(id).await else { return };
        let call = self.book.ask(Some(id), verb.clone());
        let done = async {
            match verb {
                Verb::Pause => session.pause().await.map(drop),
                Verb::Resume => session.resume().await,
                _ => session.stop().await.map(drop),
            }
        };
        let answer = match tokio::time::timeout(SECOND, done).await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(error)) => not_done(&error),
            Err(_) => Answer::Unknown("it takes longer".to_owned()),
        };
        self.book.answer(call, answer);
    }

    /// Starts a child that has nothing to do.
    async fn bear<const V: u32>(
        &self,
        supervisor: &Supervisor,
        parent: SessionId,
        dice: &mut fastrand::Rng,
    ) {
        let id = uuid::Builder::from_random_bytes(dice.u128(..).to_be_bytes()).into_uuid();
        let id = SessionId::from_uuid(id);
        let child = Start::<Player<V>>::new(Played::default()).id(id);
        let child = child.child_of(parent).on_parent(on_parent(dice.u8(..)));
        let call = self.book.ask(Some(id), Verb::Start { key: None, tag: None });
        let answer = match tokio::time::timeout(SECOND, supervisor.start(child)).await {
            Ok(Ok(_)) => Answer::Started { session: id, repeated: false },
            Ok(Err(error)) => Answer::NotDone(error.to_string()),
            Err(_) => Answer::Unknown("it takes longer".to_owned()),
        };
        self.book.answer(call, answer);
    }
}
