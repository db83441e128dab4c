//! How what a run notes comes to its session.

use super::{Run, Shared};
use crate::{
    model::time::Timestamp,
    sync::MutexGuard,
    workload::{
        facts::{FactBuffer, Noted},
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
