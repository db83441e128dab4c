//! Children: sessions that a session starts as a part of its own work, what they do when it moves, and how it hears of
//! their end.

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use sessionkeeper::{
    Builder, Cause, ChildEnd, ChildKey, Context, Delete, InvalidName, Lane, LaneTime, OnParent,
    Origin, Outcome, PauseCause, Relation, Retention, RunEnd, SessionHandle, SessionId, Start,
    StartError, State, Status, Supervisor, WhenParentEnds, WhenParentPauses, Workload,
    WorkloadError,
    store::{MemoryStore, Query, Related, Store},
    testing::{
        Call, Do, Done, FaultyStore, Harness, Interference, Scripted, audit, crash_at_every_commit,
    },
};

use super::{MINUTE, SECOND, consistent, idle, in_hand, key, moves, policy, soon, status, until};

mod awaiting;
mod cascade;
mod ends;
mod late;
mod limits;
mod resumes;
mod rolled;

/// A session that starts others.
#[derive(Debug, Clone, Copy)]
struct Lead;

/// What it has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Led {
    /// Its children, each as often as its turn took effect.
    children: Vec<SessionId>,
    /// What it heard of their ends.
    ends: Vec<ChildEnd>,
}

/// What it is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Tell {
    /// Start a child under this key, with a first input.
    Bear(ChildKey, Option<Do>),
    /// The same, and fail on so many first attempts after that.
    BearThenFail(ChildKey, u32),
    /// Start one of its own kind, which is told this.
    BearLead(ChildKey, Box<Tell>),
    /// Wait for the end of a child.
    Await(SessionId),
    /// A child has ended.
    Ended(ChildEnd),
    /// Roll the session over.
    RollOver,
    /// End.
    Complete,
}

impl Workload for Lead {
    const KIND: &'static str = "lead";
    const STATE_VERSION: u32 = 1;
    type State = Led;
    type Input = Tell;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while let Some(input) = cx.next_input().await? {
            let attempt = input.attempt();
            match input.into_inner() {
                Tell::Bear(key, does) => {
                    let child = cx.start_child(key, child(does)).await?.id();
                    cx.state_mut().children.push(child);
                }
                Tell::BearThenFail(key, times) => {
                    let child = cx.start_child(key, child(None)).await?.id();
                    cx.state_mut().children.push(child);
                    if attempt <= times {
                        return Err("told to fail".into());
                    }
                }
                Tell::BearLead(key, does) => {
                    let start = Start::<Self>::new(Led::default()).input(*does);
                    let child = cx.start_child(key, start).await?.id();
                    cx.state_mut().children.push(child);
                }
                Tell::Await(child) => match cx.child_ended(child).await? {
                    Some(end) => cx.state_mut().ends.push(end),
                    None => break,
                },
                Tell::Ended(end) => cx.state_mut().ends.push(end),
                Tell::RollOver => {
                    return Ok(cx.rollover(sessionkeeper::Rollover::new(Led::default())));
                }
                Tell::Complete => return Ok(Outcome::Completed),
            }
        }
        Ok(Outcome::Yielded)
    }

    fn on_child_end(&self, end: &ChildEnd) -> Option<Tell> {
        Some(Tell::Ended(end.clone()))
    }
}

fn child(does: Option<Do>) -> Start<Scripted> {
    match does {
        Some(does) => Scripted::start().input(does),
        None => Scripted::start(),
    }
}

fn child_key(text: &str) -> ChildKey {
    text.parse().unwrap()
}

fn configure(builder: Builder) -> Builder {
    builder.workload(Lead).workload(Scripted::default())
}

async fn worker() -> Harness {
    Harness::start(configure).await
}

async fn lead(worker: &Harness) -> SessionHandle<Lead> {
    let start = Start::<Lead>::new(Led::default()).key(key("lead"));
    worker.supervisor().start(start).await.unwrap().into_handle()
}

async fn child_of(
    worker: &Harness,
    parent: SessionId,
    on_parent: OnParent,
) -> SessionHandle<Scripted> {
    let start = Scripted::start().child_of(parent).on_parent(on_parent);
    worker.supervisor().start(start).await.unwrap().into_handle()
}

async fn children(worker: &Harness, parent: SessionId) -> Vec<SessionId> {
    let query = Query { related: Some(Related::children_of(parent)), ..Query::default() };
    let mut children: Vec<_> = worker
        .supervisor()
        .list(query)
        .await
        .unwrap()
        .records
        .iter()
        .map(|record| record.id)
        .collect();
    children.reverse();
    children
}

/// Waits until nobody owes anything to his parent or his children.
async fn all_done(worker: &Harness) {
    soon(async {
        loop {
            let end = LaneTime::from_millis(u64::MAX);
            if worker.store().due(Lane::Family, end, 1).await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(SECOND / 10).await;
        }
    })
    .await;
}

async fn sound(worker: Harness) {
    all_done(&worker).await;
    assert_eq!(audit(worker.store()).await, []);
}

async fn with_children<const N: usize>(
    worker: &Harness,
) -> (SessionHandle<Lead>, [SessionHandle<Scripted>; N]) {
    let lead = lead(worker).await;
    for number in 0..N {
        let bear = Tell::Bear(child_key(&number.to_string()), None);
        lead.send(bear).await.unwrap();
    }
    idle(&lead).await;
    let mut handles = Vec::new();
    for id in lead.snapshot().await.unwrap().state.children {
        let session = worker.supervisor().session(id).await.unwrap();
        handles.push(session.typed::<Scripted>().unwrap());
    }
    (lead, handles.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_run_starts_a_child_that_names_its_parent() {
    let worker = worker().await;
    let (lead, [one, two]) = with_children(&worker).await;
    assert_eq!(children(&worker, lead.id()).await, [one.id(), two.id()]);
    let links = status(&one).await.record().links();
    assert_eq!((links.parent, links.depth), (Some(lead.id()), 1));
    assert_eq!(links.on_parent, OnParent::default());
    one.send(Do::Add(3)).await.unwrap();
    assert_eq!(worker.drained(&one).await.sum, 3);

    let tree: Vec<_> = lead.lineage().await.unwrap().descendants().collect().await;
    let tree: Vec<_> = tree.into_iter().map(|found| found.unwrap()).collect();
    let found: Vec<_> = tree.iter().map(|found| (found.session, found.relation)).collect();
    assert_eq!(found, [(two.id(), Relation::Child), (one.id(), Relation::Child)]);
    let above: Vec<_> = one.lineage().await.unwrap().ancestors().collect().await;
    assert_eq!(above.into_iter().next().unwrap().unwrap().session, lead.id());
    consistent(&lead).await;
    consistent(&one).await;
    sound(worker).await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_done_again_has_the_same_child() {
    let worker = worker().await;
    let lead = lead(&worker).await;
    lead.send(Tell::BearThenFail(child_key("one"), 2)).await.unwrap();
    lead.send(Tell::Bear(child_key("two"), None)).await.unwrap();
    lead.send(Tell::Bear(child_key("one"), None)).await.unwrap();
    idle(&lead).await;
    let has = lead.snapshot().await.unwrap().state.children;
    assert_eq!(children(&worker, lead.id()).await, has[..2]);
    assert_eq!(has[2], has[0], "also in a later turn");
    sound(worker).await;
}

#[test]
fn a_child_is_started_once_through_a_crash_at_every_commit() {
    let commits = crash_at_every_commit(
        configure,
        async |worker: &mut Harness, _: &mut ()| {
            let (lead, [one]) = with_children(worker).await;
            lead.send(Tell::Bear(child_key("two"), Some(Do::Add(2)))).await?;
            lead.send(Tell::BearThenFail(child_key("three"), 1)).await?;
            idle(&lead).await;
            idle(&one).await;
            Ok(())
        },
        async |worker, ()| {
            let lead = lead(worker).await;
            for key in ["0", "two", "three"] {
                let does = (key == "two").then_some(Do::Add(2));
                lead.send(Tell::Bear(child_key(key), does)).await?;
            }
            idle(&lead).await;
            all_done(worker).await;
            let has = children(worker, lead.id()).await;
            assert_eq!(has.len(), 3);
            let led = lead.snapshot().await?.state.children;
            assert!(led.iter().all(|child| has.contains(child)), "{led:?} of {has:?}");
            let two = worker.supervisor().session(has[1]).await?.typed::<Scripted>()?;
            assert_eq!(worker.drained(&two).await.sum, 2);
            assert_eq!(audit(worker.store()).await, []);
            Ok(())
        },
    );
    assert!(commits > 10, "{commits}");
}

#[tokio::test(start_paused = true)]
async fn a_child_can_be_started_from_outside() {
    let mut worker = worker().await;
    let lead = lead(&worker).await;
    let start = || Scripted::start().child_of(lead.id()).key(key("child"));
    let one = worker.supervisor().start(start()).await.unwrap();
    assert_eq!(one.origin(), Origin::New);
    let again = worker.supervisor().start(start()).await.unwrap();
    assert_eq!((again.origin(), again.id()), (Origin::Repeated, one.id()));
    let other = start().on_parent(OnParent::LEAVE);
    let refused = worker.supervisor().start(other).await.unwrap_err();
    assert!(matches!(refused, StartError::KeyReused { session, .. } if session == one.id()));
    let without = Scripted::start().key(key("child"));
    let refused = worker.supervisor().start(without).await.unwrap_err();
    assert!(matches!(refused, StartError::KeyReused { session, .. } if session == one.id()));

    // It is the same start though the parent has ended since.
    lead.complete().await.unwrap();
    until(&one, |status| status.state() == State::Stopped).await;
    worker.crash_and_reopen().await;
    let again = worker.supervisor().start(start()).await.unwrap();
    assert_eq!((again.origin(), again.id()), (Origin::Repeated, one.id()));
    sound(worker).await;
}
