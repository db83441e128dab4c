use std::{fmt::Debug, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

use crate::model::{
    event::Cause,
    state::State,
    vocabulary::{JobStatus, ProgramStatus, SessionStatus, UnknownWord},
};

/// Checks that words and states lead to one another, in text and in JSON.
fn check<W>(all: &[W], states: impl Fn(W) -> &'static [State])
where
    W: Copy + PartialEq + Debug + ToString + Serialize + DeserializeOwned,
    W: From<State> + FromStr<Err = UnknownWord>,
{
    for state in State::ALL {
        let word = W::from(state);
        assert!(states(word).contains(&state), "{state} is {word:?}, which does not stand for it");
    }
    for word in all {
        assert!(states(*word).iter().all(|state| W::from(*state) == *word), "{word:?}");
        assert_eq!(word.to_string().parse(), Ok(*word));
        let json = serde_json::to_string(word).expect("a word");
        assert_eq!(json, format!("{:?}", word.to_string()));
        assert_eq!(serde_json::from_str::<W>(&json).expect("a word"), *word);
    }
    let stood_for: usize = all.iter().map(|word| states(*word).len()).sum();
    assert_eq!(stood_for, State::ALL.len(), "each state has one word");
}

#[test]
fn words_and_states_lead_to_one_another() {
    check(SessionStatus::ALL, SessionStatus::states);
    check(JobStatus::ALL, JobStatus::states);
    check(ProgramStatus::ALL, ProgramStatus::states);
}

#[test]
fn a_word_that_is_not_known_is_refused_with_those_that_are() {
    let refused = "active".parse::<JobStatus>().expect_err("it has capitals");
    let expected = "\"active\" is none of ACTIVE, SUSPENDED, STOPPED, COMPLETED, ERROR";
    assert_eq!(refused.to_string(), expected);
}

/// Each is made from the one before, so that a new one does not compile until it has its place.
#[test]
fn every_cause_is_listed() {
    let next = |cause: &Cause| {
        Some(match cause {
            Cause::Asked => Cause::SlotFree,
            Cause::SlotFree => Cause::InputArrived,
            Cause::InputArrived => Cause::Restarted,
            Cause::Restarted => Cause::Recovered,
            Cause::Recovered => Cause::Returned,
            Cause::Returned => Cause::FellAsleep,
            Cause::FellAsleep => Cause::AlarmRang,
            Cause::AlarmRang => Cause::IdleTimeout,
            Cause::IdleTimeout => Cause::Silence,
            Cause::Silence => Cause::PausedTimeout,
            Cause::PausedTimeout => Cause::PendingTimeout,
            Cause::PendingTimeout => Cause::Shutdown,
            Cause::Shutdown => Cause::Interrupted,
            Cause::Interrupted => Cause::RestartsExhausted,
            Cause::RestartsExhausted => Cause::SuspectedOfCrashes,
            Cause::SuspectedOfCrashes => Cause::Workload,
            Cause::Workload => Cause::RunGone,
            Cause::RunGone => Cause::RolledOver,
            Cause::RolledOver => Cause::Parent,
            Cause::Parent => return None,
        })
    };
    let all: Vec<_> = std::iter::successors(Some(Cause::Asked), next).collect();
    assert_eq!(all, Cause::ALL);
}
