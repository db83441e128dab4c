//! Urgent inputs, as a run has them: those that wait, and those that its turn has taken.

use std::sync::Arc;

use super::Run;
use crate::{
    faults::{self, Bug},
    model::{
        inbox::{Inbox, OverEarly},
        record::StoredInput,
    },
    workload::{error::RunError, inbox::Delivery, line::Request},
};

/// What a run knows of inputs that do not wait their turn. Most runs have nothing of it.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Those that are over though one before them is not.
    pub(super) early: OverEarly,
    /// Those that wait and can be taken.
    offers: Vec<Offer>,
    /// Those that the present turn has taken since its last commit.
    taken: Vec<u64>,
}

#[derive(Debug)]
struct Offer {
    input: Arc<StoredInput>,
    claim: Claim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Nobody has asked for it.
    Free,
    /// The run has asked for it.
    Asked,
    /// It is the run's, and counted as given. It is in hand once it is taken.
    Granted { attempt: u32 },
}

impl Aside {
    /// The inputs that were taken, which a commit covers from now on.
    pub(super) fn hand_in(&mut self) -> Vec<u64> {
        if faults::planted(Bug::LeaveTakenWaiting) {
            return Vec::new();
        }
        for input in &self.taken {
            // Which snapshot covers it matters to no run: it does not fall back.
            self.early.add(*input, 0);
        }
        std::mem::take(&mut self.taken)
    }

    /// The inputs that were taken are to be given again.
    pub(super) fn put_back(&mut self) {
        self.taken.clear();
    }
}

/// The side of the context.
impl Run {
    /// Whether the present turn has taken inputs that no commit covers.
    pub(in crate::workload) fn has_taken(&self) -> bool {
        self.lock().aside.as_ref().is_some_and(|aside| !aside.taken.is_empty())
    }

    /// Hands in what was taken, in the middle of a turn.
    pub(in crate::workload) fn hand_in_taken(&self) -> Vec<u64> {
        self.lock().aside.as_mut().map_or_else(Vec::new, |aside| aside.hand_in())
    }

    /// The urgent inputs that can be taken, by number.
    pub(in crate::workload) fn offers(&self) -> Result<Vec<Arc<StoredInput>>, RunError> {
        let shared = self.lock();
        if shared.fenced {
            drop(shared);
            return Err(self.fenced_error());
        }
        let offers = shared.aside.iter().flat_map(|aside| &aside.offers);
        Ok(offers.map(|offer| Arc::clone(&offer.input)).collect())
    }

    /// Takes one that is offered, and says how often it has been given to a run. Where it is not
    /// the run's yet, that is asked for. One that was asked for and is not taken stays on offer.
    pub(in crate::workload) fn claim(&self, input: u64) -> Option<u32> {
        let mut shared = self.lock();
        let aside = shared.aside.as_mut()?;
        let place = aside.offers.iter().position(|offer| offer.input.sequence == input)?;
        let offer = aside.offers.get_mut(place)?;
        match offer.claim {
            Claim::Free => {
                offer.claim = Claim::Asked;
                drop(shared);
                self.request(Request::Take(input));
                None
            }
            Claim::Asked => None,
            Claim::Granted { attempt } => {
                aside.offers.remove(place);
                aside.taken.push(input);
                Some(attempt)
            }
        }
    }
}

/// The side of the session.
impl Run {
    /// Tells a run that begins which inputs are over though one before them is not.
    pub(super) fn know_early(&self, inbox: &Inbox) {
        if let Some(odd) = &inbox.out_of_order {
            self.lock().aside.get_or_insert_default().early = odd.over.clone();
        }
    }

    /// Whether there are urgent inputs that the run can take.
    pub(crate) fn has_offers(&self) -> bool {
        self.lock().aside.as_ref().is_some_and(|aside| !aside.offers.is_empty())
    }

    /// Offers all urgent inputs that wait, but for what the run has.
    pub(crate) fn offer(&self, waiting: impl Iterator<Item = Arc<StoredInput>>) {
        let mut shared = self.lock();
        let delivered = match &shared.delivery {
            Some(Delivery::Input { input, .. }) => Some(input.sequence),
            Some(Delivery::Yield | Delivery::Refused(_)) | None => None,
        };
        let in_hand = shared.in_hand;
        let aside = shared.aside.get_or_insert_default();
        let before = std::mem::take(&mut aside.offers);
        for input in waiting {
            let number = input.sequence;
            if [delivered, in_hand].contains(&Some(number)) || aside.taken.contains(&number) {
                continue;
            }
            let known = before.iter().find(|offer| offer.input.sequence == number);
            let claim = known.map_or(Claim::Free, |offer| offer.claim);
            aside.offers.push(Offer { input, claim });
        }
        drop(shared);
        self.inner.changed.notify_waiters();
    }

    /// An input that the run asked for is its own.
    pub(crate) fn grant(&self, input: u64, attempt: u32) {
        if let Some(aside) = &mut self.lock().aside {
            let mut offers = aside.offers.iter_mut();
            if let Some(offer) = offers.find(|offer| offer.input.sequence == input) {
                offer.claim = Claim::Granted { attempt };
            }
        }
        self.inner.changed.notify_waiters();
    }

    /// The inputs that the present turn has taken.
    pub(crate) fn taken(&self) -> Vec<u64> {
        self.lock().aside.as_ref().map_or_else(Vec::new, |aside| aside.taken.clone())
    }

    /// The inputs that were counted as given, and that nobody has taken.
    pub(crate) fn granted(&self) -> Vec<u64> {
        let shared = self.lock();
        let offers = shared.aside.iter().flat_map(|aside| &aside.offers);
        let granted = offers.filter(|offer| matches!(offer.claim, Claim::Granted { .. }));
        granted.map(|offer| offer.input.sequence).collect()
    }

    /// Hands over an input as the next turn's. `false` where the run has taken it meanwhile.
    pub(crate) fn deliver_input(
        &self,
        input: Arc<StoredInput>,
        attempt: u32,
        urgent: bool,
    ) -> bool {
        if let Some(aside) = &mut self.lock().aside {
            if aside.taken.contains(&input.sequence) {
                return false;
            }
            aside.offers.retain(|offer| offer.input.sequence != input.sequence);
        }
        self.deliver(Delivery::Input { input, attempt, urgent });
        true
    }
}
