//! The inputs of a session, counted: which are over, and which one is next. Pure.

use serde::{Deserialize, Serialize};

use super::{ids::SessionId, step::Turn};
use crate::faults::{self, Bug};

/// The inputs of a session, counted. Numbers start at 1 and have no gaps: they are the order in
/// which inputs were accepted, whatever the order in which they are given out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inbox {
    /// The number of the last input that was accepted.
    pub accepted: u64,
    /// Inputs up to and including this number are over. Some after it may be too: see
    /// [`is_waiting`](Self::is_waiting).
    pub consumed: u64,
    /// The bytes of the inputs that wait.
    pub waiting_bytes: u64,
    /// The ordinary input that a run was given and no checkpoint covers yet. Of urgent ones,
    /// [`out_of_order`](Self::out_of_order) says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_hand: Option<InHand>,
    /// What is not in the order of the numbers; most sessions have nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_of_order: Option<Box<OutOfOrder>>,
    /// Those that were begun in a session which was rolled over to this one, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedInput>,
}

/// An input that was given to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InHand {
    /// Its number.
    pub input: u64,
    /// How often it was given to a run, from 1.
    pub attempt: u32,
}

/// An input that was begun in another session, and moved from there. Its turn goes on: the attempts at it count on, and its steps
/// are the ones of then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedInput {
    /// Its number.
    pub input: u64,
    /// The session in which it was begun.
    pub from: SessionId,
    /// Its number there.
    pub was: u64,
}

/// The inputs that are given out, or are over, in another order than they were accepted in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutOfOrder {
    /// The urgent inputs that wait, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urgent: Vec<Urgent>,
    /// Those that are over though one before them may not be.
    #[serde(skip_serializing_if = "OverEarly::is_empty")]
    pub over: OverEarly,
}

/// An urgent input that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urgent {
    /// Its number.
    pub input: u64,
    /// How often it was given to a run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
}

/// Inputs that follow one another and are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverInputs {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// The first snapshot that covers them; 0 for those that were dropped, which every one does.
    pub snapshot: u64,
}

/// What becomes of the input of a turn that is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It is over: no run is given it again.
    Drop,
    /// It is given to the run again, before all others.
    Redeliver,
}

impl Inbox {
    /// How many inputs wait: the one in hand is among them.
    pub fn waiting(&self) -> u64 {
        let early = self.out_of_order.as_ref().map_or(0, |odd| odd.over.count_after(self.consumed));
        self.accepted.saturating_sub(self.consumed).saturating_sub(early)
    }

    /// How many of those that wait are urgent.
    pub fn waiting_urgent(&self) -> u64 {
        self.urgent().len() as u64
    }

    /// Whether an input was accepted and is not over.
    pub fn is_waiting(&self, input: u64) -> bool {
        input > self.consumed && input <= self.accepted && !self.is_over_early(input)
    }

    /// Whether an input waits that is urgent.
    pub fn is_urgent(&self, input: u64) -> bool {
        self.urgent().iter().any(|urgent| urgent.input == input)
    }

    /// Whether an input is urgent that waits, or that a kept snapshot lacks.
    pub(crate) fn was_urgent(&self, input: u64) -> bool {
        self.is_urgent(input) || self.is_over_early(input)
    }

    /// The urgent inputs that wait.
    pub fn urgent(&self) -> &[Urgent] {
        self.out_of_order.as_ref().map_or(&[], |odd| &odd.urgent)
    }

    /// The input that is to be given out next, but none of these urgent ones, which a run has taken:
    /// the ordinary one that was begun, then the urgent ones, then the others.
    ///
    /// What was begun comes first, so that an answer to what it asked finds it at work.
    pub(crate) fn next(&self, taken: &[u64]) -> Option<u64> {
        if let Some(InHand { input, .. }) = self.in_hand {
            return Some(input);
        }
        let mut urgent = self.urgent().iter().map(|urgent| urgent.input);
        if faults::planted(Bug::QueueUrgent) {
            let urgent = urgent.find(|input| !taken.contains(input));
            return urgent.into_iter().chain(self.next_ordinary()).min();
        }
        urgent.find(|input| !taken.contains(input)).or_else(|| self.next_ordinary())
    }

    /// The first input that waits and is not urgent.
    pub(crate) fn next_ordinary(&self) -> Option<u64> {
        let mut input = self.consumed + 1;
        while input <= self.accepted {
            let over = self.out_of_order.as_ref().and_then(|odd| odd.over.around(input));
            match over {
                Some(over) => input = over.last + 1,
                None if self.is_urgent(input) => input += 1,
                None => return Some(input),
            }
        }
        None
    }

    /// Accepts an input, and says its number.
    pub(crate) fn accept(&mut self, bytes: u64, is_urgent: bool) -> u64 {
        self.accepted += 1;
        self.waiting_bytes += bytes;
        if is_urgent {
            let odd = self.out_of_order.get_or_insert_default();
            odd.urgent.push(Urgent { input: self.accepted, attempts: 0 });
        }
        self.accepted
    }

    /// Counts that an input is given to a run, unless `counted` says that it was counted already, and
    /// says how often it has been.
    pub(crate) fn give(&mut self, input: u64, counted: bool) -> u32 {
        let more = u32::from(!counted);
        if let Some(urgent) = self.urgent_mut(input) {
            urgent.attempts = urgent.attempts.saturating_add(more);
            return urgent.attempts;
        }
        let before = self.in_hand.filter(|in_hand| in_hand.input == input);
        let attempt = before.map_or(0, |in_hand| in_hand.attempt).saturating_add(more);
        self.in_hand = Some(InHand { input, attempt });
        attempt
    }

    /// Takes back that an input was given to a run, which it never reached. `false` where nothing
    /// says that it was.
    pub(crate) fn give_back(&mut self, input: u64) -> bool {
        if let Some(urgent) = self.urgent_mut(input) {
            let given = urgent.attempts > 0;
            urgent.attempts = urgent.attempts.saturating_sub(1);
            return given;
        }
        let Some(in_hand) = self.in_hand.filter(|in_hand| in_hand.input == input) else {
            return false;
        };
        let attempt = in_hand.attempt.saturating_sub(1);
        self.in_hand = (attempt > 0).then_some(InHand { input, attempt });
        true
    }

    /// How often an input that waits was given to a run.
    pub(crate) fn attempts(&self, input: u64) -> u32 {
        let urgent = self.urgent().iter().find(|urgent| urgent.input == input);
        let in_hand = self.in_hand.filter(|in_hand| in_hand.input == input);
        urgent.map(|urgent| urgent.attempts).or(in_hand.map(|in_hand| in_hand.attempt)).unwrap_or(0)
    }

    /// An input was begun elsewhere, and was given to a run there so often.
    pub(crate) fn go_on_with(&mut self, moved: MovedInput, attempts: u32) {
        if let Some(urgent) = self.urgent_mut(moved.input) {
            urgent.attempts = attempts;
        } else if attempts > 0 {
            self.in_hand = Some(InHand { input: moved.input, attempt: attempts });
        }
        self.moved.push(moved);
    }

    /// An input has had its effect on this snapshot, or has none at all (0). Gives whether it had been
    /// waiting.
    pub(crate) fn end(&mut self, input: u64, snapshot: u64) -> bool {
        if !self.is_waiting(input) {
            return false;
        }
        if self.in_hand.is_some_and(|in_hand| in_hand.input == input) {
            self.in_hand = None;
        }
        let is_urgent = self.is_urgent(input);
        if !is_urgent && snapshot > 0 && input == self.consumed + 1 {
            self.consumed = input;
            return true;
        }
        let odd = self.out_of_order.get_or_insert_default();
        odd.urgent.retain(|urgent| urgent.input != input);
        odd.over.add(input, snapshot);
        true
    }

    /// Brings the count of what is consumed up to what is over. Done where a turn ends, and not in
    /// the middle of one: a turn without an input is named after that count.
    pub(crate) fn advance(&mut self) {
        if let Some(odd) = &self.out_of_order {
            self.consumed = odd.over.after(self.consumed);
        }
    }

    /// Forgets what every kept snapshot covers: inputs up to a number. The oldest of these snapshots
    /// is this one.
    pub(crate) fn forget(&mut self, covered: u64, oldest: u64) {
        self.moved.retain(|moved| moved.input > covered);
        if let Some(odd) = &mut self.out_of_order {
            odd.over.forget(covered, oldest);
            if odd.urgent.is_empty() && odd.over.is_empty() {
                self.out_of_order = None;
            }
        }
    }

    /// Goes back to an older snapshot, which covers inputs up to a number. What it lacks waits again.
    pub(crate) fn fall_back(&mut self, consumed: u64, snapshot: u64) {
        self.consumed = consumed;
        self.in_hand = None;
        if let Some(odd) = &mut self.out_of_order {
            let back = odd.over.fall_back(snapshot);
            odd.urgent.extend(back.map(|input| Urgent { input, attempts: 0 }));
            odd.urgent.sort_by_key(|urgent| urgent.input);
        }
    }

    fn is_over_early(&self, input: u64) -> bool {
        self.out_of_order.as_ref().is_some_and(|odd| odd.over.around(input).is_some())
    }

    fn urgent_mut(&mut self, input: u64) -> Option<&mut Urgent> {
        let odd = self.out_of_order.as_mut()?;
        odd.urgent.iter_mut().find(|urgent| urgent.input == input)
    }
}

/// Inputs that are over though one before them may not be, or was not when the older snapshot was
/// taken. By number; no two overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OverEarly(Vec<OverInputs>);

impl OverEarly {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by number.
    pub fn spans(&self) -> &[OverInputs] {
        &self.0
    }

    /// Whether an input is among them, and a snapshot covers it.
    pub fn covers(&self, input: u64, snapshot: u64) -> bool {
        self.around(input).is_some_and(|over| over.snapshot <= snapshot)
    }

    fn around(&self, input: u64) -> Option<&OverInputs> {
        let after = self.0.partition_point(|over| over.last < input);
        self.0.get(after).filter(|over| over.first <= input)
    }

    fn count_after(&self, consumed: u64) -> u64 {
        let counts =
            self.0.iter().map(|over| over.last.saturating_sub(over.first.max(consumed + 1) - 1));
        counts.sum()
    }

    pub(crate) fn add(&mut self, input: u64, snapshot: u64) {
        if self.around(input).is_none() {
            let after = self.0.partition_point(|over| over.last < input);
            self.0.insert(after, OverInputs { first: input, last: input, snapshot });
        }
    }

    /// The last input up to which all are over, where those up to `consumed` are.
    pub(crate) fn after(&self, consumed: u64) -> u64 {
        let mut consumed = consumed;
        while let Some(over) = self.around(consumed + 1) {
            consumed = over.last;
        }
        consumed
    }

    /// Forgets what the numbers up to `covered` say already, and joins what the oldest kept snapshot
    /// does not tell apart any more: so there are no more spans than inputs that wait between them.
    pub(crate) fn forget(&mut self, covered: u64, oldest: u64) {
        self.0.retain(|over| over.last > covered);
        self.0.dedup_by(|next, over| {
            let joined = over.last + 1 == next.first && over.snapshot.max(next.snapshot) <= oldest;
            if joined {
                over.last = next.last;
                over.snapshot = over.snapshot.max(next.snapshot);
            }
            joined
        });
    }

    /// Takes out what a snapshot does not cover.
    fn fall_back(&mut self, mut snapshot: u64) -> impl Iterator<Item = u64> + use<> {
        if faults::planted(Bug::KeepEarlyOfNewerSnapshot) {
            snapshot += 1;
        }
        let (kept, back) = self.0.iter().partition(|over| over.snapshot <= snapshot);
        self.0 = kept;
        let back: Vec<OverInputs> = back;
        back.into_iter().flat_map(|over| over.first..=over.last)
    }
}

/// The session that a turn was begun in, and what it was there; None where that is this one.
pub(crate) fn origin(moved: &[MovedInput], turn: Turn) -> Option<(SessionId, Turn)> {
    let moved = moved.iter().find(|moved| Turn::of_input(moved.input) == turn)?;
    Some((moved.from, Turn::of_input(moved.was)))
}

#[cfg(any(feature = "sled", feature = "testing", test))]
impl OutOfOrder {
    /// Whether it can be so where inputs up to `consumed` of those `accepted` are over: by number, and
    /// none twice.
    pub(crate) fn is_sound(&self, consumed: u64, accepted: u64) -> bool {
        let numbers = || self.urgent.iter().map(|urgent| urgent.input);
        let waits =
            |input| input > consumed && input <= accepted && self.over.around(input).is_none();
        let ordered = numbers().zip(numbers().skip(1)).all(|(input, next)| input < next);
        let spans = self.over.spans();
        let filled = spans.iter().all(|over| 0 < over.first && over.first <= over.last);
        let apart =
            spans.iter().zip(spans.iter().skip(1)).all(|(over, next)| over.last < next.first);
        let known = spans.last().is_none_or(|over| over.last <= accepted);
        numbers().all(waits) && ordered && filled && apart && known
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(attempts: &u32) -> bool {
    *attempts == 0
}
