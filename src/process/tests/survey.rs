use uuid::Uuid;

use super::super::{
    mark::{LaunchId, Mark, WorkerMark},
    survey::{Bare, Identity, Life, Seen, Survey, Tree, left_over, lost},
};
use crate::{RunId, SessionId};

const LEADER: i32 = 100;

fn launch() -> LaunchId {
    LaunchId::new(RunId::from_uuid(Uuid::nil()), 1)
}

fn session() -> SessionId {
    SessionId::from_uuid(Uuid::nil())
}

fn mark() -> Option<Mark> {
    let environment = format!(
        "PATH=/bin\0SESSIONKEEPER_SESSION={}\0SESSIONKEEPER_LAUNCH={}\0",
        session(),
        launch()
    );
    Mark::read(environment.as_bytes())
}

/// A process that began when its number says, without a mark.
fn seen(pid: i32, parent: i32, group: i32) -> Seen {
    let began = pid.unsigned_abs().into();
    let identity = Identity { pid, began };
    Seen { identity, parent, group, life: Life::Running, mark: None }
}

fn numbers(tree: &mut Tree, survey: Vec<Seen>) -> Vec<i32> {
    tree.members(&Survey::new(survey)).iter().map(|member| member.identity.pid).collect()
}

#[test]
fn a_tree_is_its_group_its_marks_and_what_descends_from_them() {
    let mut tree = Tree::new(LEADER, launch());
    let members = numbers(
        &mut tree,
        vec![
            seen(1, 0, 1),
            seen(LEADER, 50, LEADER),
            seen(101, 1, LEADER),
            Seen { mark: mark(), ..seen(102, 1, 102) },
            seen(103, 102, 103),
            seen(104, 103, 104),
            seen(105, 1, 105),
        ],
    );
    assert_eq!(members, [LEADER, 101, 102, 103, 104]);
    // What was found belongs to it when its parent is gone.
    assert_eq!(numbers(&mut tree, vec![seen(1, 0, 1), seen(104, 1, 104)]), [104]);
}

#[test]
fn a_number_that_was_given_again_is_another_process() {
    let mut tree = Tree::new(LEADER, launch());
    numbers(&mut tree, vec![seen(LEADER, 50, LEADER), seen(104, LEADER, 104)]);
    let identity = Identity { pid: 104, began: 999 };
    assert_eq!(numbers(&mut tree, vec![Seen { identity, ..seen(104, 1, 104) }]), [0; 0]);
    // A child that began before its parent is none.
    let parent = Seen { identity: Identity { pid: 101, began: 500 }, ..seen(101, 1, LEADER) };
    assert_eq!(numbers(&mut tree, vec![parent, seen(90, 101, 90)]), [101]);
}

#[test]
fn this_process_belongs_to_no_tree() {
    let own = i32::try_from(std::process::id()).expect("a number of a process");
    let mut tree = Tree::new(LEADER, launch());
    assert_eq!(numbers(&mut tree, vec![Seen { mark: mark(), ..seen(own, 1, LEADER) }]), [0; 0]);
}

#[test]
fn what_is_left_over_is_the_same_process_or_has_a_mark() {
    let is_marked = |mark: &Mark| mark.is_of_session(session());
    let survey = Survey::new(vec![
        seen(LEADER, 1, LEADER),
        seen(101, 1, LEADER),
        Seen { mark: mark(), ..seen(102, 1, 102) },
    ]);
    let numbers = |leader| {
        let left = left_over(&survey, leader, is_marked);
        left.iter().map(|member| member.identity.pid).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Some(Identity { pid: LEADER, began: 100 })), [LEADER, 102]);
    assert_eq!(numbers(Some(Identity { pid: LEADER, began: 99 })), [102]);
    assert_eq!(numbers(None), [102]);
}

#[test]
fn what_has_the_mark_of_a_lost_worker_is_found() {
    let worker = |realm: &str, pid, began| {
        let identity = Identity { pid, began };
        WorkerMark { realm: realm.to_owned(), identity }
    };
    let of = |pid, worker: WorkerMark| {
        let text = format!("SESSIONKEEPER_SESSION=a\0SESSIONKEEPER_WORKER={worker}\0");
        let mark = Mark::read(text.as_bytes());
        assert_eq!(mark.as_ref().and_then(|mark| mark.worker.as_ref()), Some(&worker));
        Seen { mark, ..seen(pid, 1, pid) }
    };
    let survey = Survey::new(vec![
        seen(50, 1, 50),
        of(101, worker("here 1", 50, 50)),
        of(102, worker("here 1", 50, 49)),
        of(103, worker("here 1", 60, 60)),
        of(104, worker("there", 60, 60)),
        seen(105, 1, 105),
    ]);
    let lost = lost(&survey, &worker("here 1", 70, 70));
    assert_eq!(lost.iter().map(|one| one.pid).collect::<Vec<_>>(), [102, 103]);
}

#[test]
fn a_mark_is_read_from_an_environment() {
    assert_eq!(Mark::read(b"PATH=/bin\0"), None);
    assert_eq!(Mark::read(b"XSESSIONKEEPER_SESSION=a\0"), None);
    let mark = mark().expect("a mark");
    assert!(mark.is_of_session(session()) && mark.is_of_launch(&launch()));
    let other = LaunchId::new(RunId::from_uuid(Uuid::nil()), 2);
    assert!(!mark.is_of_launch(&other));
}

/// What is about to become another program shows no environment for a moment.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn nobody_is_passed_over_before_it_is_known_whose_it_is() {
    let mut bare = Bare::default();
    let mut is_whole = |without: &[i32]| {
        let without = without.iter().map(|pid| seen(*pid, 1, *pid).identity).collect();
        let mut survey = Survey::new(Vec::new()).with_bare(without);
        bare.look_at(&mut survey);
        assert!(survey.is_whole_since(9), "what began before does not belong to it");
        survey.is_whole_since(7)
    };
    assert!(is_whole(&[]));
    assert!(!is_whole(&[7]));
    tokio::time::advance(std::time::Duration::from_millis(999)).await;
    assert!(!is_whole(&[7, 8]));
    tokio::time::advance(std::time::Duration::from_millis(1)).await;
    assert!(!is_whole(&[7, 8]), "of one of them it is known");
    assert!(is_whole(&[7]));
    assert!(is_whole(&[]));
    assert!(!is_whole(&[7]), "it had one meanwhile");
}
