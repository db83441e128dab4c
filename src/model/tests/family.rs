//! What the moves of a session are to its children and its parent.

use uuid::Uuid;

use crate::model::{
    event::{Cause, RunEnd},
    family::{
        Answer, ChildEnd, Duty, Family, Kin, OnParent, Owed, Untold, WhenParentEnds,
        WhenParentPauses, duties, to_heed,
    },
    ids::{Kind, RunId, SessionId, WorkerGeneration},
    state::{PauseCause, Phase, State},
    time::SupervisedTime,
};

const PARENT: Kin = Kin { has_children: true, has_parent: false, has_successor: false };
const CHILD: Kin = Kin { has_children: false, has_parent: true, has_successor: false };

/// A family in which nothing is left at its default.
pub(super) fn full() -> Family {
    let at = SupervisedTime::from_millis;
    Family {
        has_children: true,
        owed: vec![
            Owed { event: 3, since: at(4_000), duty: Duty::Pause },
            Owed { event: 40, since: at(8_000), duty: Duty::Stop },
        ],
        resumed: Some(at(7_000)),
        untold: Some(Box::new(Untold {
            parent: SessionId::from_uuid(Uuid::from_u128(22)),
            end: ChildEnd {
                child: SessionId::from_uuid(Uuid::from_u128(21)),
                kind: Kind::new("coder").unwrap(),
                key: Some("review 1".parse().unwrap()),
                state: State::Failed,
                cause: Cause::Workload,
                reason: Some("it was told to".to_owned()),
                run: Some(RunEnd::Cancelled),
            },
        })),
    }
}

fn active() -> Phase {
    let (run, worker) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (run, worker) = (RunId::from_uuid(run), WorkerGeneration::from_uuid(worker));
    Phase::Active { run, worker, restarting: None }
}

fn stopping() -> Phase {
    let Phase::Active { run, worker, .. } = active() else { panic!("it is active") };
    Phase::Stopping { run, worker }
}

fn paused(cause: PauseCause) -> Phase {
    Phase::Paused { cause, since: SupervisedTime::from_millis(1), until: None }
}

#[test]
fn what_a_move_is_to_children_and_parent() {
    use Duty::{End, Pause, Resume, Stop, Tell};
    let table: [(Phase, Phase, &[Duty], &[Duty]); 15] = [
        // from                        to                             to children  to the parent
        (active(), paused(PauseCause::Asked), &[Pause], &[]),
        (active(), paused(PauseCause::Parent), &[Pause], &[]),
        (active(), paused(PauseCause::Idle), &[], &[]),
        (active(), paused(PauseCause::Shutdown), &[], &[]),
        (active(), paused(PauseCause::Quarantined), &[], &[]),
        (paused(PauseCause::Asked), active(), &[Resume], &[]),
        (paused(PauseCause::Parent), active(), &[Resume], &[]),
        (paused(PauseCause::Idle), active(), &[], &[]),
        (active(), active(), &[], &[]),
        (active(), stopping(), &[Stop], &[]),
        (stopping(), Phase::Stopped, &[], &[Tell]),
        (paused(PauseCause::Asked), Phase::Stopped, &[Stop], &[Tell]),
        (active(), Phase::Failed, &[End], &[Tell]),
        (Phase::Stopped, Phase::Completed, &[End], &[]),
        (Phase::Stopped, active(), &[Resume], &[]),
    ];
    for (from, to, children, parent) in table {
        let owed: Vec<_> = duties(PARENT, &from, &to).collect();
        assert_eq!(owed, children, "{from:?} to {to:?}");
        let owed: Vec<_> = duties(CHILD, &from, &to).collect();
        assert_eq!(owed, parent, "{from:?} to {to:?}");
    }
    let both = Kin { has_parent: true, ..PARENT };
    let owed: Vec<_> = duties(both, &active(), &Phase::Completed).collect();
    assert_eq!(owed, [End, Tell]);
    let rolled = Kin { has_successor: true, ..both };
    let owed: Vec<_> = duties(rolled, &active(), &Phase::Completed).collect();
    assert_eq!(owed, [End], "its successor is told of");
}

#[test]
fn what_a_new_child_heeds() {
    assert_eq!(to_heed(&active()), None);
    assert_eq!(to_heed(&paused(PauseCause::Idle)), None);
    assert_eq!(to_heed(&paused(PauseCause::Asked)), Some(Duty::Pause));
    assert_eq!(to_heed(&stopping()), Some(Duty::Stop));
    assert_eq!(to_heed(&Phase::Expired), Some(Duty::End));
}

#[test]
fn a_policy_says_what_is_left() {
    let follows = [Duty::Pause, Duty::Resume, Duty::Stop, Duty::End];
    let answers = follows.map(|duty| OnParent::default().answer(duty));
    let all = [Answer::Pause, Answer::Resume, Answer::Stop, Answer::Stop].map(Some);
    assert_eq!(answers, all);
    let answers = follows.map(|duty| OnParent::LEAVE.answer(duty));
    assert_eq!(answers, [None, Some(Answer::Resume), None, None]);
    let stored = serde_json::to_string(&OnParent::LEAVE).unwrap();
    assert_eq!(stored, r#"{"pause":"leave","stop":"leave","end":"leave"}"#);
    let partly: OnParent = serde_json::from_str(r#"{"end":"leave"}"#).unwrap();
    assert_eq!((partly.pause, partly.end), (WhenParentPauses::Pause, WhenParentEnds::Leave));
}

#[test]
fn a_later_pause_or_resume_takes_the_place_of_one_before_and_nothing_else_does() {
    let mut family = Family::default();
    for (event, duty) in
        [Duty::Heed, Duty::Pause, Duty::Stop, Duty::Resume, Duty::End, Duty::Tell, Duty::Pause]
            .into_iter()
            .enumerate()
    {
        family.owe(Owed { event: event as u64, since: SupervisedTime::from_millis(1), duty });
    }
    let left = |family: &Family| family.owed.iter().map(|owed| owed.duty).collect::<Vec<_>>();
    assert_eq!(left(&family), [Duty::Heed, Duty::Stop, Duty::End, Duty::Tell, Duty::Pause]);
    family.take_back_stop();
    assert_eq!(left(&family), [Duty::Heed, Duty::End, Duty::Tell, Duty::Pause]);
}
