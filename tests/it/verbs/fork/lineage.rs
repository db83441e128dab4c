//! Who comes from whom.

use futures::{StreamExt, TryStreamExt};
use sessionkeeper::{
    Links, Presence, Relation, Relative, SessionError, Supervisor,
    testing::fixture::{batch, only, record, session, worker},
};

use super::*;

/// A supervisor that looks at these sessions, each with a number, its links and a kind of its own.
async fn looking(sessions: impl IntoIterator<Item = (u128, Links)>) -> (MemoryStore, Supervisor) {
    let store = MemoryStore::new();
    store.begin(worker(1)).await.unwrap();
    let commits = sessions.into_iter().map(|(number, links)| {
        let lineage = Some(Box::new(links)).filter(|links| **links != Links::default());
        let phase = sessionkeeper::Phase::Stopped;
        only(SessionRecord { lineage, phase, ..record(number) })
    });
    for answer in store.commit(batch(1, commits)).await.unwrap() {
        answer.unwrap();
    }
    let supervisor = Supervisor::builder(store.clone()).start().await.unwrap();
    (store, supervisor)
}

fn fork_of(parent: u128) -> Links {
    Links::of_fork(from(session(parent), 1))
}

fn links(set: impl FnOnce(&mut Links)) -> Links {
    let mut links = Links::default();
    set(&mut links);
    links
}

fn number(session: SessionId) -> u128 {
    session.as_uuid().as_u128()
}

fn shown(relatives: &[Relative]) -> Vec<(u128, u64, u128, &'static str)> {
    let show = |relative: &Relative| {
        let (session, through) = (number(relative.session), number(relative.through));
        (session, relative.distance, through, relative.relation.as_str())
    };
    relatives.iter().map(show).collect()
}

async fn up(supervisor: &Supervisor, of: u128) -> Vec<Relative> {
    let lineage = supervisor.lineage(session(of)).await.unwrap();
    lineage.ancestors().try_collect().await.unwrap()
}

async fn down(supervisor: &Supervisor, of: u128) -> Vec<Relative> {
    let lineage = supervisor.lineage(session(of)).await.unwrap();
    lineage.descendants().try_collect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lineage_shows_all_who_come_from_a_session_and_all_that_it_comes_from() {
    let worker = Worker::start().await;
    let root = worker.session().await;
    let (left, right) = (fork(&root).await, fork(&root).await);
    let leaf = fork(&left).await;
    left.stop().await.unwrap().ended().await.unwrap();
    let lineage = root.lineage().await.unwrap();
    assert_eq!((lineage.session(), lineage.links()), (root.id(), Links::default()));
    let found: Vec<Relative> = lineage.descendants().try_collect().await.unwrap();
    let places: Vec<_> = found.iter().map(|it| (it.session, it.distance, it.through)).collect();
    let all = [(right.id(), 1, root.id()), (left.id(), 1, root.id()), (leaf.id(), 2, left.id())];
    assert_eq!(places, all);
    match &found[1].presence {
        Presence::Stored { kind, state, links, .. } => {
            assert_eq!((kind.as_str(), *state), ("scripted", State::Stopped));
            assert_eq!(links.forked_from.map(|from| from.session), Some(root.id()));
        }
        other => panic!("{other:?}"),
    }
    let lineage = worker.supervisor.lineage(leaf.id()).await.unwrap();
    let found: Vec<Relative> = lineage.ancestors().try_collect().await.unwrap();
    let places: Vec<_> = found.iter().map(|it| (it.session, it.distance, it.through)).collect();
    assert_eq!(places, [(left.id(), 1, leaf.id()), (root.id(), 2, left.id())]);
    assert!(found.iter().all(|relative| relative.relation == Relation::Fork));
}

#[tokio::test(start_paused = true)]
async fn all_relations_lead_up_and_down_and_each_session_is_met_once() {
    let both = links(|links| {
        links.forked_from = Some(from(session(2), 1));
        links.parent = Some(session(3));
    });
    let sessions = [
        (1, Links::default()),
        (2, links(|links| links.parent = Some(session(1)))),
        (3, links(|links| links.transitioned_from = Some(session(1)))),
        (4, both),
        (5, fork_of(4)),
    ];
    let (_store, supervisor) = looking(sessions).await;
    let found = down(&supervisor, 1).await;
    let expected =
        [(3, 1, 1, "successor"), (4, 2, 3, "child"), (5, 3, 4, "fork"), (2, 1, 1, "child")];
    assert_eq!(shown(&found), expected);
    let found = up(&supervisor, 5).await;
    let expected = [(4, 1, 5, "fork"), (2, 2, 4, "fork"), (3, 2, 4, "child"), (1, 3, 2, "child")];
    assert_eq!(shown(&found), expected);
}

#[tokio::test(start_paused = true)]
async fn an_ancestor_that_is_gone_or_unreadable_is_named_so() {
    let (store, supervisor) = looking([(2, fork_of(1)), (3, fork_of(2)), (5, fork_of(3))]).await;
    let found = up(&supervisor, 3).await;
    assert_eq!(shown(&found), [(2, 1, 3, "fork"), (1, 2, 2, "fork")]);
    assert_eq!(found[1].presence, Presence::Gone);
    let error = supervisor.lineage(session(1)).await.unwrap_err();
    assert!(matches!(error, SessionError::NotFound { .. }), "{error:?}");
    store.damage(session(2), Part::Record);
    let found = up(&supervisor, 5).await;
    assert_eq!(shown(&found), [(3, 1, 5, "fork"), (2, 2, 3, "fork")]);
    assert!(matches!(found[1].presence, Presence::Unreadable { .. }));
}

/// Nobody makes such a store but by hand.
#[tokio::test(start_paused = true)]
async fn nobody_is_led_in_a_circle() {
    let (_store, supervisor) =
        looking([(1, fork_of(3)), (2, fork_of(1)), (3, fork_of(2)), (4, fork_of(4))]).await;
    assert_eq!(shown(&up(&supervisor, 1).await), [(3, 1, 1, "fork"), (2, 2, 3, "fork")]);
    assert_eq!(shown(&down(&supervisor, 1).await), [(2, 1, 1, "fork"), (3, 2, 2, "fork")]);
    assert_eq!((up(&supervisor, 4).await, down(&supervisor, 4).await), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_forks_and_ten_thousand_generations_are_read_as_they_are_asked_for() {
    const MANY: u128 = 10_000;
    let wide = (2..=MANY).map(|number| (number, fork_of(1)));
    let deep = (2..=MANY).map(|number| (MANY + number, fork_of(MANY + number - 1)));
    let roots = [(1, Links::default()), (MANY + 1, Links::default())];
    let (_store, supervisor) = looking(roots.into_iter().chain(wide).chain(deep)).await;
    assert_eq!(down(&supervisor, 1).await.len(), 9_999);
    let found = down(&supervisor, MANY + 1).await;
    assert_eq!((found.len(), found[9_998].distance), (9_999, 9_999));
    assert_eq!(up(&supervisor, 2 * MANY).await.len(), 9_999);
    let lineage = supervisor.lineage(session(1)).await.unwrap();
    let first: Vec<_> = lineage.descendants().take(3).try_collect().await.unwrap();
    assert_eq!(shown(&first).iter().map(|it| it.0).collect::<Vec<_>>(), [MANY, MANY - 1, MANY - 2]);
}

#[tokio::test(start_paused = true)]
async fn a_walk_ends_with_the_error_that_it_meets() {
    use sessionkeeper::testing::{Call, FaultyStore, Interference};
    let (store, supervisor) = looking([(1, Links::default()), (2, fork_of(1))]).await;
    drop(supervisor);
    let store = FaultyStore::new(store);
    let supervisor = Supervisor::builder(store.clone()).start().await.unwrap();
    supervisor.recovered().await.unwrap();
    let (root, leaf) = (
        supervisor.lineage(session(1)).await.unwrap(),
        supervisor.lineage(session(2)).await.unwrap(),
    );
    store.inject(|call| match call {
        Call::List | Call::Load => Interference::Fail,
        _ => Interference::None,
    });
    let down: Vec<_> = root.descendants().collect().await;
    let up: Vec<_> = leaf.ancestors().collect().await;
    for walk in [down, up] {
        assert_eq!(walk.len(), 1);
        assert!(matches!(walk[0], Err(SessionError::Store { .. })), "{walk:?}");
    }
}
