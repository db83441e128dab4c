//! The hooks of sessions that are rolled over.

use futures::future::join_all;
use sessionkeeper::{Rollover, State};

use super::*;
use crate::{
    support::Done,
    verbs::{consistent, key},
};

fn fresh(sum: i64) -> Rollover<Scripted> {
    Rollover::new(Done { sum, ..Done::default() })
}

/// Checks a chain, the first session first: each of its sessions has begun once, and all but the last have ended once.
async fn told_once(worker: &Worker, hooks: &Memory, chain: &[SessionId], about: &str) {
    caught_up(&worker.supervisor).await;
    for (place, id) in chain.iter().enumerate() {
        let session = worker.supervisor.session(*id).await.unwrap().typed().unwrap();
        consistent::<Scripted>(&session).await;
        let events = log(&session).await;
        let mut calls = hooks.of(*id);
        // What was not noted yet as done when a worker was lost comes again, under its id.
        if about == "crashes" {
            let mut known = BTreeSet::new();
            calls.retain(|call| known.insert(*call));
        }
        assert_eq!(calls, owed_hooks(&events), "{about}");
        let count = |hook| calls.iter().filter(|(called, _)| *called == hook).count();
        let status = session.status().await.unwrap();
        let links = status.record().links();
        let before = place.checked_sub(1).map(|place| chain[place]);
        let next = chain.get(place + 1).copied();
        assert_eq!((links.transitioned_from, links.transitioned_to), (before, next), "{about}");
        assert_eq!(count(Hook::SessionStart), 1, "{about}: {events:#?}");
        assert_eq!(count(Hook::SessionEnd), usize::from(next.is_some()), "{about}");
        assert_eq!(status.state() == State::Completed, next.is_some(), "{about}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_chain_each_session_has_one_start_and_one_end() {
    for how in ["rapid", "busy", "empty", "repeated", "crashes"] {
        let hooks = Memory::new();
        let with = |builder: Builder| builder.max_active(1).hooks(hooks.clone());
        let mut worker = Worker::start_with(with).await;
        let mut last = worker.session().await;
        let mut chain = vec![last.id()];
        for sum in 0..5 {
            match how {
                // Nothing ever happened in it, but for its first run.
                "empty" => drop(idle(&last).await),
                "busy" => drop(last.send(Do::Deaf(SECOND)).await.unwrap()),
                _ => {}
            }
            let asked = || {
                let rollover = fresh(sum).key(key(&format!("clear {sum}")));
                soon(last.rollover(rollover))
            };
            let answers = match how {
                "repeated" => join_all((0..4).map(|_| asked())).await,
                _ => vec![asked().await],
            };
            let next: BTreeSet<SessionId> =
                answers.into_iter().map(|answer| answer.unwrap().id()).collect();
            assert_eq!(next.len(), 1, "{how}");
            chain.extend(next);
            if how == "crashes" {
                worker = worker.crash_and_restart_with(with).await;
            }
            let next = worker.supervisor.session(*chain.last().unwrap()).await.unwrap();
            last = next.typed().unwrap();
        }
        idle(&last).await;
        told_once(&worker, &hooks, &chain, how).await;
    }
}
