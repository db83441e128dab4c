//! What reaches a turn that is under way: urgent inputs and interrupts.

use sessionkeeper::{Interruption, OnInterrupt, Receipt, SendError};

use super::{Caller, Handle, not_done, nothing};
use crate::oracle::ledger::{Answer, Verb};

impl<const V: u32> Caller<V> {
    pub(super) async fn send_urgent(&mut self, session: &Handle<V>) {
        let cue = self.cue();
        let call = self.book.ask(Some(session.id()), Verb::SendUrgent { id: None, tag: cue.tag });
        self.book.note(|| format!("{cue:?}"));
        let answer = match session.send_urgent(cue).await {
            Ok(Receipt { session: by, sequence, repeated, .. }) => {
                Answer::Accepted { by, sequence, repeated }
            }
            Err(SendError::RolledOver { successor, .. }) => Answer::Moved { successor },
            Err(SendError::Session(error)) => not_done(&error),
            Err(SendError::NotAccepting { state, .. }) => Answer::Refused(state),
            Err(error @ (SendError::UrgentFull { .. } | SendError::Invalid { .. })) => {
                nothing(&error)
            }
            Err(error) => {
                self.wrong(format!("an urgent input was refused: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }

    pub(super) async fn interrupt(&mut self, session: &Handle<V>) {
        let drops = self.dice.bool();
        let then = if drops { OnInterrupt::Drop } else { OnInterrupt::Redeliver };
        let call = self.book.ask(Some(session.id()), Verb::Interrupt { drops });
        let answer = match session.interrupt(then).await {
            Ok(Interruption::Turn { input, then, .. }) => {
                Answer::Interrupted { input: Some(input), drops: then == OnInterrupt::Drop }
            }
            Ok(Interruption::Nothing) => Answer::Interrupted { input: None, drops },
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }
}
