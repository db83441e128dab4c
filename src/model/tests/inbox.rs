//! Which input is next, and which are over, against a plain list of all of them.

use proptest::prelude::*;

use crate::model::inbox::Inbox;

/// An input, as a list has it.
#[derive(Debug, Clone, Copy, Default)]
struct Plain {
    is_urgent: bool,
    attempts: u32,
    /// The snapshot that covers it; none while it waits.
    over: Option<u64>,
}

/// The same as an inbox, without any economy.
#[derive(Debug, Default)]
struct List {
    inputs: Vec<Plain>,
    begun: Option<u64>,
}

impl List {
    fn waiting(&self) -> impl Iterator<Item = (u64, &Plain)> {
        (1..).zip(&self.inputs).filter(|(_, input)| input.over.is_none())
    }

    fn next(&self) -> Option<u64> {
        let first = |urgent| self.waiting().find(|(_, input)| input.is_urgent == urgent);
        self.begun.or_else(|| first(true).or_else(|| first(false)).map(|(number, _)| number))
    }

    fn at(&mut self, number: u64) -> &mut Plain {
        &mut self.inputs[number as usize - 1]
    }

    fn end(&mut self, number: u64, snapshot: u64) {
        self.at(number).over = Some(snapshot);
        self.begun = self.begun.filter(|begun| *begun != number);
    }

    fn consumed(&self, snapshot: u64) -> u64 {
        let over = |input: &&Plain| input.over.is_some_and(|over| over <= snapshot);
        self.inputs.iter().take_while(over).count() as u64
    }
}

#[derive(Debug, Clone, Copy)]
enum Do {
    Accept {
        is_urgent: bool,
    },
    /// Gives the next one to the run, and commits what came of it.
    Turn {
        drop: bool,
    },
    /// Gives the next one to the run, which is lost.
    Lose,
    /// A turn takes the last urgent one that waits.
    TakeLast,
    FallBack,
}

fn what() -> impl Strategy<Value = Do> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_urgent| Do::Accept { is_urgent }),
        4 => any::<bool>().prop_map(|drop| Do::Turn { drop }),
        1 => Just(Do::Lose),
        2 => Just(Do::TakeLast),
        1 => Just(Do::FallBack),
    ]
}

proptest! {
    #[test]
    fn an_inbox_is_a_list_of_inputs(all in prop::collection::vec(what(), 0..80)) {
        let (mut inbox, mut list) = (Inbox::default(), List::default());
        // The kept snapshots, oldest first: the number of each, and what the inbox has consumed with it.
        let mut kept = vec![(1, 0)];
        for what in all {
            let newest = kept.last().expect("one is kept").0;
            let mut saved = false;
            match what {
                Do::Accept { is_urgent } => {
                    list.inputs.push(Plain { is_urgent, ..Plain::default() });
                    prop_assert_eq!(inbox.accept(1, is_urgent), list.inputs.len() as u64);
                }
                Do::Turn { .. } | Do::Lose => {
                    prop_assert_eq!(inbox.next(&[]), list.next());
                    if let Some(next) = list.next() {
                        let input = list.at(next);
                        input.attempts += 1;
                        let (attempts, is_urgent) = (input.attempts, input.is_urgent);
                        list.begun = Some(next).filter(|_| !is_urgent).or(list.begun);
                        prop_assert_eq!(inbox.give(next, false), attempts);
                        if let Do::Turn { drop } = what {
                            let snapshot = if drop { 0 } else { newest + 1 };
                            inbox.advance();
                            prop_assert!(inbox.end(next, snapshot));
                            prop_assert!(!inbox.end(next, snapshot), "it is over once");
                            list.end(next, snapshot);
                            saved = true;
                        }
                    }
                }
                Do::TakeLast => {
                    let last = list.waiting().filter(|(_, input)| input.is_urgent).last();
                    if let Some((last, _)) = last {
                        prop_assert!(inbox.end(last, newest + 1));
                        list.end(last, newest + 1);
                        saved = true;
                    }
                }
                Do::FallBack => {
                    if let [(older, consumed), _] = *kept.as_slice() {
                        kept.pop();
                        inbox.fall_back(consumed, older);
                        list.begun = None;
                        for input in &mut list.inputs {
                            let is_back = input.over.is_some_and(|over| over > older);
                            // Of ordinary inputs only the attempts at the one in hand are known.
                            if is_back || input.over.is_none() && !input.is_urgent {
                                *input = Plain { is_urgent: input.is_urgent, ..Plain::default() };
                            }
                        }
                    }
                }
            }
            if saved {
                inbox.advance();
                kept.push((newest + 1, inbox.consumed));
                kept = kept.split_off(kept.len().saturating_sub(2));
            }
            let covered = kept.iter().map(|(_, consumed)| *consumed).min().unwrap_or(0);
            inbox.forget(covered, kept[0].0);
            let waiting: Vec<u64> = list.waiting().map(|(number, _)| number).collect();
            let all = 1..=list.inputs.len() as u64;
            let found: Vec<u64> = all.filter(|input| inbox.is_waiting(*input)).collect();
            prop_assert_eq!(&found, &waiting, "{:?}", inbox);
            prop_assert_eq!(inbox.waiting(), waiting.len() as u64);
            let ordinary = waiting.len() as u64 - inbox.waiting_urgent();
            let odd = inbox.out_of_order.clone().unwrap_or_default();
            prop_assert!(odd.is_sound(inbox.consumed, inbox.accepted), "{:?}", inbox);
            // One between any two that wait, and the two that a fallback would give again.
            let most = ordinary + inbox.waiting_urgent() + 3;
            prop_assert!(odd.over.spans().len() as u64 <= most, "{:?}", inbox);
            for (snapshot, consumed) in &kept {
                prop_assert!(*consumed <= list.consumed(*snapshot));
            }
        }
    }
}
