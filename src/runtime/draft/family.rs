//! What a draft does for the parent and the children of its session.

use crate::{
    faults::{self, Bug},
    model::{
        event::Cause,
        family::{self, ChildEnd, Duty, Family, Kin, Owed, Untold},
        ids::RunId,
        state::{Phase, State},
    },
    runtime::error::StartError,
};

use super::Draft;

impl Draft {
    /// Notes what follows from the move that was just made for the children and the parent. It is committed with the
    /// move, so that no crash comes between.
    pub(super) fn owe_for_move(&mut self, before: &Phase, cause: Cause) {
        let kin = Kin {
            has_children: self.record.has_children(),
            has_parent: self.record.links().parent.is_some(),
            has_successor: cause == Cause::RolledOver,
        };
        if self.state() == State::Active
            && let Some(family) = &mut self.record.family
        {
            family.take_back_stop();
        }
        let rested = matches!(before.state(), State::Paused | State::Stopped);
        if kin.has_parent && rested && self.state() == State::Active && cause == Cause::Asked {
            self.family().resumed = Some(self.moment.supervised);
        }
        for duty in family::duties(kin, before, &self.record.phase) {
            self.owe(duty);
        }
    }

    /// Notes that a new child has to heed what its parent did before it was there.
    pub(crate) fn heed_parent(&mut self) {
        if self.record.links().parent.is_some() && !faults::planted(Bug::IgnoreEarlierMoves) {
            self.owe(Duty::Heed);
        }
    }

    fn owe(&mut self, duty: Duty) {
        let owed = Owed { event: self.record.last_event, since: self.moment.supervised, duty };
        self.family().owe(owed);
        self.changed = true;
    }

    /// What is owed is done.
    pub(crate) fn discharge(&mut self, done: &Owed) {
        if let Some(family) = &mut self.record.family {
            let before = family.owed.len();
            family.discharge(done);
            self.changed |= family.owed.len() != before;
            if **family == Family::default() {
                self.record.family = None;
            }
        }
    }

    /// Lets the session have a child, which is to be started by this run if one is named.
    pub(crate) fn bear(&mut self, run: Option<RunId>) -> Result<(), StartError> {
        let parent = self.record.id;
        match self.record.state() {
            State::Pending | State::Active | State::Paused => {}
            state @ (State::Stopping
            | State::Stopped
            | State::Completed
            | State::Failed
            | State::Expired) => return Err(StartError::ParentEnded { parent, state }),
        }
        if let Some(run) = run
            && self.record.phase.run() != Some(run)
        {
            return Err(StartError::ParentFenced { parent, run });
        }
        if !self.record.has_children() {
            self.family().has_children = true;
            self.changed = true;
        }
        Ok(())
    }

    /// The session is deleted: that is an end to its children, if it had none before, and its parent is told nothing of it. But an end that
    /// it had before is still told, so what there is to tell outlives what it is told of.
    pub(super) fn leave_family(&mut self) {
        if self.record.has_children() && !self.record.state().has_ended() {
            self.owe(Duty::End);
        }
        let (parent, end) = (self.record.links().parent, ChildEnd::of(&self.record));
        if let Some(family) = &mut self.record.family {
            family.has_children = false;
            family.resumed = None;
            family.untold = parent
                .zip(end)
                .filter(|_| family.owes_parent() && !faults::planted(Bug::ForgetUntold))
                .map(|(parent, end)| Box::new(Untold { parent, end }));
            let tells = family.untold.is_some();
            family.owed.retain(|owed| match owed.duty {
                Duty::Pause | Duty::Resume | Duty::Stop | Duty::End => true,
                Duty::Tell => tells,
                Duty::Heed => false,
            });
            if **family == Family::default() {
                self.record.family = None;
            }
        }
    }

    fn family(&mut self) -> &mut Family {
        self.record.family.get_or_insert_default()
    }
}
