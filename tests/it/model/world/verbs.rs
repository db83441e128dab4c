//! The verbs, as the library is asked for them.

use std::sync::Arc;

use sessionkeeper::{
    Delete, Fork, InputId, Kind, Labels, Metadata, Name, NotRunning, Receipt, Rollover, RunId,
    SendError, SessionHandle, SessionId, ShuttingDown, Start, StartKey, State, Unread, Workload,
    store::{Key, Query, Store as _},
};

use super::{World, hear, said::Earlier};
use crate::model::{
    player::{Player, external_id, ms},
    reference::{Answer, Branch, Call, Done, Ms, Next, Together, Who},
    steps::{Begin, Input, Named},
};

impl World {
    pub(in crate::model) fn start(&self, call: Call, begin: &Begin, in_slot: bool) {
        let start = match begin.parent {
            Some((who, on_parent)) => start(begin).child_of(self.id(who)).on_parent(on_parent),
            None => start(begin),
        };
        let slot = if in_slot { self.slots.lock().unwrap().pop_front() } else { None };
        let start = match slot {
            Some(slot) => start.in_slot(slot),
            None => start,
        };
        self.ask_supervisor(call, async move |supervisor| supervisor.start(start).await);
    }

    pub(in crate::model) async fn stop(&self, call: Call, who: Who, grace: Option<Ms>) {
        let heard = Arc::clone(&self.heard);
        self.ask(call, who, async move |session| {
            let ticket = match grace {
                None => session.stop().await,
                Some(0) => session.kill().await,
                Some(grace) => session.stop_within(ms(grace)).await,
            }?;
            hear(&heard, call, Answer::Stopping { alive: ticket.run().is_some() });
            ticket.ended().await
        })
        .await;
    }

    /// The key is looked up first, and of one that is gone there may be a handle to ask or none: so
    /// that is asked without.
    pub(in crate::model) async fn rollover(&self, call: Call, who: Who, mut next: Next) {
        if self.supervisor().status(self.id(who)).await.is_err() {
            next.key = None;
        }
        let next = rollover(&next);
        self.ask(call, who, async move |session| session.rollover(next).await).await;
    }

    /// By its handle, or by its id where there is none any more.
    pub(in crate::model) async fn delete(&self, call: Call, who: Who, stop_first: bool) {
        let how = if stop_first { Delete::StopFirst } else { Delete::IfAtRest };
        if self.session(who).await.is_ok() {
            return self.ask(call, who, async move |session| session.delete(how).await).await;
        }
        let id = self.id(who);
        self.ask_supervisor(call, async move |supervisor| supervisor.delete(id, how).await);
    }

    /// The number of the checkpoint is asked for first.
    pub(in crate::model) async fn fork(
        &self,
        call: Call,
        who: Who,
        back: Option<u64>,
        branch: &Branch,
    ) {
        let mut fork = fork(branch);
        if let Some(back) = back {
            let status = match self.supervisor().status(self.id(who)).await {
                Ok(status) => status,
                Err(error) => return self.hear(call, error),
            };
            let newest = status.record().snapshot().expect("it has one").sequence;
            fork = fork.at(newest.saturating_sub(back));
        }
        let id = self.id(who);
        self.ask_supervisor(call, async move |supervisor| supervisor.fork(id, fork).await);
    }

    /// A start that must be refused: one that is forgotten would begin anew, and is not tried.
    pub(in crate::model) async fn start_as(&self, call: Call, who: Who) {
        let id = self.id(who);
        if self.store.load(id).await.unwrap().is_none() {
            return self.hear(call, Answer::Nobody);
        }
        let start = Start::<Player>::new(Done::default()).id(id);
        self.ask_supervisor(call, async move |supervisor| supervisor.start(start).await);
    }

    pub(in crate::model) async fn heartbeat(&self, call: Call, who: Who) {
        self.ask(call, who, async |session| match session.heartbeat() {
            Ok(()) => Ok(Answer::Done),
            Err(NotRunning { .. }) => session.status().await.map(|_| Answer::NotRunning),
        })
        .await;
    }

    pub(in crate::model) fn find_run(&self, call: Call, who: Who, back: u32) {
        let Some(run) = self.earlier_run(call, who, back) else { return };
        self.ask_supervisor(call, async move |supervisor| supervisor.run(run).await);
    }

    /// By the id of the run alone, or by the handle of its session.
    pub(in crate::model) async fn stop_run(&self, call: Call, who: Who, back: u32) {
        let Some(run) = self.earlier_run(call, who, back) else { return };
        let heard = Arc::clone(&self.heard);
        self.ask(call, who, async move |session| {
            let ticket = session.stop_run(run).await?;
            hear(&heard, call, Answer::Stopping { alive: ticket.run().is_some() });
            ticket.ended().await
        })
        .await;
    }

    /// A run that was seen; else nobody is asked.
    fn earlier_run(&self, call: Call, who: Who, back: u32) -> Option<RunId> {
        let mut heard = self.heard.lock().unwrap();
        match heard.known.earlier_run(who, back) {
            Some(Earlier::Seen(run)) => return Some(run),
            Some(Earlier::Unseen) => drop(heard.unasked.insert(call)),
            None => {
                drop(heard);
                self.hear(call, Answer::Nobody);
            }
        }
        None
    }

    pub(in crate::model) async fn find(&self, call: Call, named: Named) {
        let key = match named {
            Named::Name(number) => Key::Name(name(number)),
            Named::External(number) => Key::ExternalId(external_id(number)),
            Named::Key(number) => Key::Start(key(number)),
        };
        let found = self.supervisor().find(key).await.unwrap();
        let who = found.map(|session| self.who(session.id()));
        self.hear(call, Answer::Found(who));
    }

    pub(in crate::model) async fn list(
        &self,
        call: Call,
        states: Vec<State>,
        team: Option<u8>,
        page: usize,
    ) {
        let listed = self.list_by(states, team, page).await;
        self.hear(call, Answer::Listed(listed));
    }

    /// How many sessions there are. Those that nobody told of are known from then on.
    pub(super) async fn list_all(&self) -> usize {
        self.list_by(Vec::new(), None, 100).await.len()
    }

    async fn list_by(&self, states: Vec<State>, team: Option<u8>, page: usize) -> Vec<Who> {
        let mut query = Query {
            states,
            kind: Some(Kind::new(Player::KIND).unwrap()),
            labels: labels(team).iter().map(|(key, team)| (key.into(), team.into())).collect(),
            limit: page,
            ..Query::default()
        };
        let mut listed = Vec::new();
        loop {
            let found = self.supervisor().list(query.clone()).await.unwrap();
            assert!(found.records.len() <= page, "a page has no more than was asked for");
            listed.extend(found.records.iter().map(|record| record.id));
            query.after = found.next;
            if query.after.is_none() {
                // The oldest is known first.
                let mut who: Vec<_> = listed.into_iter().rev().map(|id| self.who(id)).collect();
                who.reverse();
                return who;
            }
        }
    }

    fn who(&self, session: SessionId) -> Who {
        self.heard.lock().unwrap().known.who(session)
    }

    pub(in crate::model) fn ask_all(&self, call: Call, what: Together, team: Option<u8>) {
        let all = Query {
            kind: Some(Kind::new(Player::KIND).unwrap()),
            labels: labels(team).iter().map(|(key, team)| (key.into(), team.into())).collect(),
            ..Query::default()
        };
        match what {
            Together::Pause => {
                self.ask_supervisor(call, async move |by| by.pause_all(all).await.unwrap());
            }
            Together::Resume => {
                self.ask_supervisor(call, async move |by| by.resume_all(all).await.unwrap());
            }
            Together::Stop => {
                self.ask_supervisor(call, async move |by| by.stop_all(all).await.unwrap());
            }
        }
    }

    pub(in crate::model) fn slot(&self, call: Call) {
        let slots = Arc::clone(&self.slots);
        self.ask_supervisor(call, async move |supervisor| {
            let slot = supervisor.slot().await?;
            slots.lock().unwrap().push_back(slot);
            Ok::<_, ShuttingDown>(())
        });
    }

    pub(in crate::model) fn drop_slot(&self, call: Call) {
        let slot = self.slots.lock().unwrap().pop_front();
        self.hear(call, if slot.is_some() { Answer::Done } else { Answer::Nobody });
    }
}

fn start(begin: &Begin) -> Start<Player> {
    let mut start = Start::new(Done::default()).labels(labels(begin.team));
    if let Some(number) = begin.key {
        start = start.key(key(number));
    }
    if let Some(number) = begin.name {
        start = start.name(name(number));
    }
    if let Some(number) = begin.external {
        start = start.external_id(external_id(number));
    }
    if let Some(care) = begin.care {
        start = start.policy(care.policy());
    }
    if let Some(work) = begin.work {
        start = start.input(work);
    }
    start
}

pub(in crate::model) async fn send(
    session: &SessionHandle<Player>,
    input: Input,
) -> Result<Receipt, SendError> {
    let id = input.id.map(|id| InputId::new(format!("input/{id}")).unwrap());
    match (id, input.urgent) {
        (None, false) => session.send(input.work).await,
        (None, true) => session.send_urgent(input.work).await,
        (Some(id), false) => session.send_with_id(id, input.work).await,
        (Some(id), true) => session.send_urgent_with_id(id, input.work).await,
    }
}

pub(in crate::model) fn rollover(next: &Next) -> Rollover<Player> {
    let state = Done { sum: next.sum.into(), ..Done::default() };
    let unread = if next.leave { Unread::Leave } else { Unread::Move };
    let mut rollover = Rollover::new(state).unread(unread);
    if let Some(number) = next.key {
        rollover = rollover.key(key(number));
    }
    if let Some(number) = next.name {
        rollover = rollover.name(name(number));
    }
    if next.team.is_some() {
        rollover = rollover.labels(labels(next.team));
    }
    if let Some(care) = next.care {
        rollover = rollover.policy(care.policy());
    }
    if let Some(work) = next.work {
        rollover = rollover.input(work);
    }
    match next.within {
        Some(grace) => rollover.within(ms(grace)),
        None => rollover,
    }
}

fn fork(branch: &Branch) -> Fork<Player> {
    let mut fork = Fork::new();
    if let Some(number) = branch.key {
        fork = fork.key(key(number));
    }
    if let Some(number) = branch.name {
        fork = fork.name(name(number));
    }
    if branch.team.is_some() {
        fork = fork.labels(labels(branch.team));
    }
    if let Some(care) = branch.care {
        fork = fork.policy(care.policy());
    }
    if let Some(work) = branch.work {
        fork = fork.input(work);
    }
    if branch.copy_inputs { fork.copy_inputs() } else { fork }
}

fn key(number: u8) -> StartKey {
    StartKey::new(format!("key/{number}")).unwrap()
}

pub(super) fn name(number: u8) -> Name {
    Name::new(format!("name/{number}")).unwrap()
}

pub(in crate::model) fn labels(team: Option<u8>) -> Labels {
    Labels::new(team.map(|team| ("team", team.to_string()))).unwrap()
}

pub(in crate::model) fn note_of(number: u8) -> Metadata {
    Metadata::from_iter([("note".to_owned(), number.into())])
}
