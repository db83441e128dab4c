//! What a move of a session means to its children and to its parent. It stands in the session until it is
//! done, and is begun again by the next worker.

use std::collections::BTreeMap;

use sessionkeeper::{Cause, OnParent, PauseCause, State, WhenParentEnds, WhenParentPauses};

use super::{Answer, Call, Line, Ms, Reference, Who, Work};
use crate::model::steps::Input;

/// How long it takes until somebody is asked again who could not do it.
const RETRY: Ms = 1_000;

/// What is owed to the children of a session, or to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// To do, as a new child, what the parent did before.
    Heed,
    Pause,
    Resume,
    Stop,
    End,
    /// To tell the parent of the end.
    Tell,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    number: usize,
    since: Ms,
    duty: Duty,
}

/// What a child is asked to do.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Pause,
    Resume,
    Stop,
}

/// The duties that are being carried out.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    owed: usize,
    under_way: BTreeMap<usize, UnderWay>,
    asked: Vec<(usize, Who, Ask)>,
    tells_later: bool,
    /// Parents' words that waited for the end of a run: for its session, or for the successor.
    words: Option<(Who, Vec<Call>)>,
}

impl Family {
    pub(super) fn bequeath(&mut self, who: Who, pausers: &mut Vec<Call>) {
        let (words, callers) = pausers.drain(..).partition(|call| is_by_parent(*call));
        self.words = Some((who, words));
        *pausers = callers;
    }

    pub(super) fn take_words(&mut self, who: Who) -> Vec<Call> {
        self.words.take_if(|(of, _)| *of == who).map(|(_, words)| words).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    of: Who,
    /// How many answers are missing.
    missing: usize,
    again: Option<Ms>,
}

/// The calls of parents come after those of callers.
const BY_PARENT: Call = 1 << 32;

/// Whose word a call is.
pub(super) const fn is_by_parent(call: Call) -> bool {
    call >= BY_PARENT && call < BY_PARENT << 1
}

/// As what a session is paused by a call.
pub(super) const fn paused_by(call: Call) -> (PauseCause, Cause) {
    if is_by_parent(call) {
        (PauseCause::Parent, Cause::Parent)
    } else {
        (PauseCause::Asked, Cause::Asked)
    }
}

/// Whether it is paused by a word that holds for its children too.
pub(super) const fn is_held(cause: Option<PauseCause>) -> bool {
    matches!(cause, Some(PauseCause::Asked | PauseCause::Parent))
}

pub(super) const fn has_ended(state: State) -> bool {
    matches!(state, State::Completed | State::Failed | State::Expired | State::Stopped)
}

/// What a child does that its parent owes that.
const fn answer(duty: Duty, on_parent: OnParent) -> Option<Ask> {
    match (duty, on_parent) {
        (Duty::Pause, OnParent { pause: WhenParentPauses::Pause, .. }) => Some(Ask::Pause),
        (Duty::Resume, _) => Some(Ask::Resume),
        (Duty::Stop, OnParent { stop: WhenParentEnds::Stop, .. })
        | (Duty::End, OnParent { end: WhenParentEnds::Stop, .. }) => Some(Ask::Stop),
        _ => None,
    }
}

impl Reference {
    /// Says whether anything followed at once for children or parents.
    pub(super) fn follow_family(&mut self) -> bool {
        self.hear_of_ends() | self.do_duties(None)
    }

    /// What follows from a move for others.
    pub(super) fn owe_for_move(
        &mut self,
        who: Who,
        (from, was): (State, Option<PauseCause>),
        why: Cause,
    ) {
        let session = &mut self.sessions[who];
        let (to, is) = (session.state, session.cause);
        if to == State::Active {
            session.owed.retain(|owed| owed.duty != Duty::Stop);
        }
        if session.has_children {
            let duty = match to {
                State::Pending => None,
                State::Paused => is_held(is).then_some(Duty::Pause),
                State::Active => (is_held(was) || from == State::Stopped).then_some(Duty::Resume),
                State::Stopping => Some(Duty::Stop),
                State::Stopped => (from != State::Stopping).then_some(Duty::Stop),
                State::Completed | State::Failed | State::Expired => Some(Duty::End),
            };
            if let Some(duty) = duty {
                self.owe(who, duty);
            }
        }
        let is_child = self.sessions[who].links.parent.is_some();
        let rested = matches!(from, State::Paused | State::Stopped);
        if is_child && rested && to == State::Active && why == Cause::Asked {
            self.sessions[who].resumed = Some(self.now);
        }
        if is_child && has_ended(to) && !has_ended(from) && why != Cause::RolledOver {
            self.owe(who, Duty::Tell);
        }
    }

    pub(super) fn owe(&mut self, who: Who, duty: Duty) {
        let is_mind = |duty| matches!(duty, Duty::Pause | Duty::Resume);
        let owed = &mut self.sessions[who].owed;
        // The later word of the two is the one that counts.
        owed.retain(|older| !(is_mind(duty) && is_mind(older.duty)));
        self.family.owed += 1;
        owed.push(Owed { number: self.family.owed, since: self.now, duty });
    }

    /// A deletion is an end to the children, and the parent is told nothing of it; but of an end before it.
    pub(super) fn leave_family(&mut self, who: Who) {
        let session = &self.sessions[who];
        if session.has_children && !has_ended(session.state) {
            self.owe(who, Duty::End);
        }
        let session = &mut self.sessions[who];
        let tells = has_ended(session.state) && session.links.successor.is_none();
        session.owed.retain(|owed| owed.duty != Duty::Heed && (tells || owed.duty != Duty::Tell));
    }

    /// Nobody carries anything out between two workers.
    pub(super) fn leave_duties(&mut self) {
        self.family.under_way.clear();
    }

    /// Begins what is owed to children and not under way.
    pub(super) fn ask_children(&mut self) {
        while let Some((who, owed)) = self.next_duty(|_, duty| duty != Duty::Tell) {
            self.begin_duty(who, owed);
        }
    }

    /// The same. What their ends mean to the parent comes later.
    pub(super) fn ask_children_first(&mut self) {
        self.family.tells_later = true;
        self.ask_children();
        self.family.tells_later = false;
    }

    pub(super) fn do_duties_at_end(&mut self, who: Who) {
        if self.family.tells_later {
            self.ask_children();
        } else {
            self.do_duties(Some(who));
        }
    }

    /// Begins all that is owed, or all that this one owes, and that is not under way. Says whether there was anything.
    fn do_duties(&mut self, only: Option<Who>) -> bool {
        let mut any = false;
        while let Some((who, owed)) = self.next_duty(|who, _| only.is_none_or(|only| only == who)) {
            any = true;
            self.begin_duty(who, owed);
        }
        any
    }

    fn next_duty(&self, is_meant: impl Fn(Who, Duty) -> bool) -> Option<(Who, Owed)> {
        if !self.serves_families {
            return None;
        }
        let all = self.sessions.iter().enumerate();
        let owed = all.flat_map(|(who, session)| session.owed.iter().map(move |owed| (who, *owed)));
        let open = owed.filter(|(who, owed)| {
            is_meant(*who, owed.duty) && !self.family.under_way.contains_key(&owed.number)
        });
        open.min_by_key(|(who, owed)| (owed.since, *who, owed.number))
    }

    fn begin_duty(&mut self, who: Who, Owed { number, duty, since }: Owed) {
        let asked = match duty {
            Duty::Pause | Duty::Resume | Duty::Stop | Duty::End => self.children(who, duty, since),
            Duty::Heed => self.heeded(who).map(|ask| (who, ask)).into_iter().collect(),
            Duty::Tell => return self.tell(who, number),
        };
        let is_passed_on =
            matches!(self.sessions[who].log.last(), Some(Line::Moved(.., Cause::Parent)));
        let waits = asked.iter().any(|(child, _)| self.sessions[*child].is_ready());
        let may_have_begun = is_passed_on && waits && self.setup.places.is_some();
        self.doubt(
            may_have_begun,
            "a grandchild that waits is stopped just as there may be a place",
        );
        let under_way = UnderWay { of: who, missing: asked.len(), again: None };
        self.family.under_way.insert(number, under_way);
        for (child, ask) in asked {
            self.ask_child(number, child, ask);
        }
        self.discharge(number);
    }

    /// A new child does as its parent did before it is given anything.
    pub(super) fn heed(&mut self, who: Who) {
        let heeds = |owed: &&Owed| owed.duty == Duty::Heed;
        let owed = self.sessions[who].owed.iter().find(heeds).copied();
        if let Some(owed) = owed.filter(|_| self.serves_families) {
            self.begin_duty(who, owed);
        }
    }

    /// A successor hears the words that waited for its predecessor, before it is given anything.
    pub(super) fn inherit_words(&mut self, who: Who) {
        if let Some(predecessor) = self.sessions[who].links.predecessor {
            for call in self.family.take_words(predecessor) {
                self.hear_child(call, &Answer::RolledOver(who));
            }
        }
    }

    /// The children that have something to do, and what. A person's later word on one counts.
    fn children(&self, parent: Who, duty: Duty, since: Ms) -> Vec<(Who, Ask)> {
        let are_asked = |state| match state {
            State::Pending => duty != Duty::Resume,
            State::Active | State::Paused => true,
            _ => false,
        };
        let children = self.present().rev().filter(|(_, session)| {
            let is_asked = are_asked(session.state) && session.resumed.is_none_or(|at| at <= since);
            session.links.parent == Some(parent) && is_asked
        });
        children
            .filter_map(|(who, session)| Some((who, answer(duty, session.links.on_parent)?)))
            .collect()
    }

    /// What a new child has to do.
    fn heeded(&self, child: Who) -> Option<Ask> {
        let links = self.sessions[child].links;
        let parent = &self.sessions[links.parent?];
        let duty = match parent.state {
            _ if parent.deleted.is_some() => Duty::End,
            State::Stopping | State::Stopped => Duty::Stop,
            State::Completed | State::Failed | State::Expired => Duty::End,
            State::Paused if is_held(parent.cause) => Duty::Pause,
            State::Pending | State::Active | State::Paused => return None,
        };
        answer(duty, links.on_parent)
    }

    fn ask_child(&mut self, number: usize, child: Who, ask: Ask) {
        let call = BY_PARENT + self.family.asked.len();
        self.family.asked.push((number, child, ask));
        let had_place = self.sessions[child].place;
        let answer = if self.sessions[child].deleted.is_some() {
            Some(Answer::NotFound)
        } else {
            match ask {
                Ask::Pause => self.pause(child, call),
                Ask::Resume => self.resume(child, call),
                Ask::Stop => Some(match self.stop_now(child, None, Cause::Parent) {
                    Ok(_) => Answer::Done,
                    Err(refused) => refused,
                }),
            }
        };
        // Whoever waits for a place may have it before or after what else follows from the parent's move.
        let gives_way = had_place && !self.sessions[child].place && self.setup.places.is_some();
        self.doubt(gives_way && self.is_anybody_waiting(), "a child gives its place up");
        if let Some(answer) = answer {
            self.hear_child(call, &answer);
        }
    }

    /// A child has answered. Of one that was rolled over, the successor is asked.
    pub(super) fn hear_child(&mut self, call: Call, answer: &Answer) {
        let (number, _, ask) = self.family.asked[call - BY_PARENT];
        match answer {
            Answer::RolledOver(successor) => self.ask_child(number, *successor, ask),
            // It is asked again by the next worker.
            Answer::ShuttingDown | Answer::OutcomeUnknown => {}
            // Where it refused or heeds later word, it has no reason to any more.
            _ => {
                if let Some(under_way) = self.family.under_way.get_mut(&number) {
                    under_way.missing -= 1;
                }
                self.discharge(number);
            }
        }
    }

    fn discharge(&mut self, number: usize) {
        let done = |under_way: &&UnderWay| under_way.missing == 0;
        if let Some(UnderWay { of, .. }) = self.family.under_way.get(&number).filter(done).copied()
        {
            self.family.under_way.remove(&number);
            self.sessions[of].owed.retain(|owed| owed.number != number);
        }
    }

    /// The parent gets an input for the end, or whoever has followed it.
    fn tell(&mut self, child: Who, number: usize) {
        let session = &self.sessions[child];
        let mut missing = 0;
        if has_ended(session.state) && session.links.successor.is_none() {
            let input = Input::of(Work::Add(word_for(session.state)));
            let mut parent = session.links.parent;
            while let Some(who) = parent.filter(|who| self.sessions[*who].deleted.is_none()) {
                parent = self.sessions[who].links.successor;
                if parent.is_none() && self.sessions[who].accepts() {
                    missing = usize::from(self.send(who, input) == Some(Answer::Full));
                }
            }
        }
        let again = (missing > 0).then(|| self.now + RETRY);
        self.family.under_way.insert(number, UnderWay { of: child, missing, again });
        self.discharge(number);
    }

    /// Who could not be told, and when that is tried again.
    pub(super) fn untold(&self) -> impl Iterator<Item = (Ms, usize)> {
        let under_way = self.family.under_way.iter();
        under_way.filter_map(|(number, under_way)| Some((under_way.again?, *number)))
    }

    pub(super) fn tell_again(&mut self, number: usize) {
        self.family.under_way.remove(&number);
    }
}

/// What a parent is told of the end of a child.
pub(in crate::model) const fn word_for(end: State) -> i8 {
    match end {
        State::Completed => 1,
        State::Failed => 2,
        State::Expired => 3,
        State::Stopped => 4,
        State::Pending | State::Active | State::Paused | State::Stopping => 0,
    }
}
