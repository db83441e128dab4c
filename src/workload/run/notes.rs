//! How what a run notes comes to its session.

use super::{Run, Shared};
use crate::{
    model::{event::Event, time::Timestamp},
    sync::MutexGuard,
    workload::{
        error::EmitError,
        facts::{EVENT_BYTES, FactBuffer, NotTaken, Noted, Weight},
        line::Request,
    },
};

/// What a session knows of its run's notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    #[default]
    Nothing,
    /// Some wait.
    Waiting,
    /// Many do.
    Pressing,
}

impl Run {
    /// Takes an event, which is made only where there is room for it.
    pub(super) fn push(
        &self,
        weight: Weight,
        event: impl FnOnce() -> Event,
    ) -> Result<(), EmitError> {
        self.heartbeat();
        let at = self.inner.parts.clock.wall();
        let mut shared = self.lock();
        if shared.fenced {
            return Err(EmitError::Fenced { session: self.session(), run: self.id() });
        }
        let input = shared.in_hand;
        let pushed = shared.facts.push_event(at, input, weight, event);
        pushed.map_err(|reason| self.not_taken(reason))?;
        self.tell_of_notes(shared);
        Ok(())
    }

    pub(super) fn not_taken(&self, reason: NotTaken) -> EmitError {
        let session = self.session();
        match reason {
            NotTaken::Full => EmitError::Full { session },
            NotTaken::TooDeep => EmitError::TooDeep { session },
            NotTaken::TooLarge { bytes } => {
                EmitError::TooLarge { session, bytes, limit: EVENT_BYTES }
            }
        }
    }

    pub(super) fn note(&self, push: impl FnOnce(&mut FactBuffer, Timestamp, Option<u64>)) {
        let at = self.inner.parts.clock.wall();
        let mut shared = self.lock();
        if shared.fenced {
            return;
        }
        let input = shared.in_hand;
        push(&mut shared.facts, at, input);
        self.tell_of_notes(shared);
    }

    /// One message for as many notes as gather until they are taken, and one where these are many.
    pub(super) fn tell_of_notes(&self, mut shared: MutexGuard<'_, Shared>) {
        let (now, request) = if shared.facts.is_pressing() {
            (Told::Pressing, Request::NotesPressing)
        } else {
            (Told::Waiting, Request::NotesWaiting)
        };
        let is_news = now > shared.told;
        shared.told = shared.told.max(now);
        drop(shared);
        if is_news {
            self.inner.parts.port.send(request);
        }
    }

    /// Takes all notes, for a commit.
    pub(crate) fn take_notes(&self) -> Vec<Noted> {
        let notes = {
            let mut shared = self.lock();
            shared.told = Told::Nothing;
            if shared.facts.is_empty() {
                return Vec::new();
            }
            shared.facts.drain()
        };
        self.inner.changed.notify_waiters();
        notes
    }
}
