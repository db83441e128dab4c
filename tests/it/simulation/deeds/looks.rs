//! What callers look at: events, statuses, names, listings, and a store that fails for a while.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt;
use sessionkeeper::{
    Kind, SessionId, State,
    store::{Fault as StoreFault, Key, MemoryStore, Query},
};

use super::{
    super::faults::add_trouble, Caller, Handle, SECOND, groups::misnamed, not_done, nothing,
    statistics::LABEL,
};
use crate::oracle::{
    digest,
    ledger::{Answer, Sight, Verb},
};

impl<const V: u32> Caller<V> {
    pub(super) async fn read_events(&mut self, session: &Handle<V>) {
        let call = self.book.ask(Some(session.id()), Verb::ReadEvents);
        let from = self.dice.u64(1..8);
        let limit = self.dice.usize(1..30);
        let answer = match session.events(from..=u64::MAX, limit).await {
            Ok(events) => {
                let mut numbers = events.iter().map(|event| event.sequence);
                let first = match numbers.clone().next() {
                    Some(first) if !self.keeps_all_events => first.max(from),
                    Some(_) | None => from,
                };
                if !numbers.by_ref().eq(first..first + events.len() as u64) {
                    self.wrong(format!("events from {from} on: {events:?}"));
                }
                Answer::Events(events.iter().map(|e| (e.sequence, digest(e))).collect())
            }
            Err(error) => not_done(&error),
        };
        self.book.answer(call, answer);
    }

    pub(super) async fn watch(&mut self, session: &Handle<V>) {
        let watching = async {
            let Ok(mut statuses) = session.watch().await else { return };
            let mut last = 0;
            for _ in 0..4 {
                let Some(status) = statuses.next().await else { return };
                self.book.listed(session.id(), Sight::from(&status));
                let version = status.record().version;
                if version < last {
                    self.wrong(format!("a watch went back from {last} to {status:?}"));
                }
                last = version;
            }
        };
        drop(tokio::time::timeout(3 * SECOND, watching).await);
    }

    pub(super) async fn find(&mut self) {
        let Some((_, known)) = self.pick() else { return };
        let Some(key) = known.key else { return };
        let call = self.book.ask(Some(known.id), Verb::Find);
        let answer = match self.supervisor.find(Key::Start(key)).await {
            Ok(Some(session)) => {
                if session.id() != known.id {
                    self.wrong(format!("the key of {} finds {}", known.id, session.id()));
                }
                Answer::Done
            }
            Ok(None) => Answer::NotFound(known.id),
            Err(error) => nothing(&error),
        };
        self.book.answer(call, answer);
    }

    pub(super) async fn list(&mut self) {
        let known = self.shared.lock().unwrap().known.clone();
        let asked: Vec<_> = known
            .iter()
            .filter(|known| known.acknowledged)
            .map(|known| (known.id, self.book.ask(Some(known.id), Verb::Find)))
            .collect();
        let mut query = Query { limit: self.dice.usize(1..4), ..Query::default() };
        query.kind = self.dice.bool().then(|| Kind::new("player").unwrap());
        let mut listed = Vec::new();
        let whole = loop {
            let Ok(page) = self.supervisor.list(query.clone()).await else { break false };
            for record in &page.records {
                self.book.listed(record.id, Sight::from(record));
                self.shared.lock().unwrap().learn(record.id, None);
                listed.push(record.id);
            }
            query.after = page.next;
            if query.after.is_none() {
                break true;
            }
        };
        for (id, call) in asked {
            let answer = match listed.contains(&id) {
                true => Answer::Done,
                false if whole => Answer::NotFound(id),
                false => Answer::NotDone("the store failed".to_owned()),
            };
            self.book.answer(call, answer);
        }
    }

    /// Lists those that carry a label.
    pub(super) async fn list_labelled(&mut self) {
        let labels = vec![(LABEL.to_owned(), format!("{}", self.dice.u8(0..4)))];
        let limit = self.dice.usize(1..4);
        let mut query = Query { labels: labels.clone(), limit, ..Query::default() };
        let Some(before) = self.matching(&labels, &State::ALL).await else { return };
        let mut named = BTreeSet::new();
        loop {
            let Ok(page) = self.supervisor.list(query.clone()).await else { return };
            for record in &page.records {
                self.book.listed(record.id, Sight::from(record));
                named.insert(record.id);
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        let Some(after) = self.matching(&labels, &State::ALL).await else { return };
        let misnamed = misnamed(&before, &after, &named);
        if !misnamed.is_empty() {
            self.wrong(format!("{named:?} are listed with {labels:?}, but for {misnamed:?}"));
        }
    }

    pub(super) async fn look_unknown(&mut self) {
        let id = SessionId::from_uuid(uuid::Uuid::from_u128(1));
        if let Ok(status) = self.supervisor.status(id).await {
            self.wrong(format!("there is {status:?}"));
        }
    }

    /// The store fails for a while.
    pub(super) async fn outage(&mut self) {
        struct Outage(MemoryStore);
        impl Drop for Outage {
            fn drop(&mut self) {
                self.0.mend();
                add_trouble();
            }
        }
        let fault = [StoreFault::NothingDone, StoreFault::AnswerLost][self.dice.usize(0..2)];
        add_trouble();
        self.store.fail(fault);
        let _outage = Outage(self.store.clone());
        tokio::time::sleep(Duration::from_millis(self.dice.u64(1..3000))).await;
    }
}
