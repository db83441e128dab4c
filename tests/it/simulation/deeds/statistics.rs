//! Questions for numbers, while everything goes on.

use sessionkeeper::{
    StatisticsError,
    store::{LogQuery, Store},
};

use super::{Caller, nothing};
use crate::oracle::{
    ledger::{Answer, Verb},
    statistics::{Counted, Of},
};

/// The label by whose values callers may tell sessions apart.
pub(in crate::simulation) const LABEL: &str = "set";

impl<const V: u32> Caller<V> {
    pub(super) async fn count(&mut self) {
        let of = match self.dice.u8(0..4) {
            0 | 1 => Of::All,
            2 => Of::Kind(["player", "nobody"][self.dice.usize(0..2)].to_owned()),
            _ => Of::Label { key: LABEL.to_owned(), value: format!("{}", self.dice.u8(0..4)) },
        };
        let minutes = [1, 5, 120][self.dice.usize(0..3)];
        // Of which time something was is known as long as the clock is right.
        let minutes = (self.dice.bool() && !self.has_jumped()).then_some(minutes);
        let call = self.book.ask(None, Verb::Count);
        let (before, wall) = (self.end_of_log().await, self.clock.now());
        let told = self.supervisor.statistics(of.scope(), Counted::window(minutes)).await;
        let (after, wall) = (self.end_of_log().await, [wall, self.clock.now()]);
        let answer = match (told, before.zip(after)) {
            (Ok(_), Some(_)) if minutes.is_some() && self.has_jumped() => {
                Answer::NotDone("the clock has jumped".to_owned())
            }
            (Ok(told), Some((before, after))) => {
                Answer::Counted(Box::new(Counted::new(of, minutes, [before, after], wall, &told)))
            }
            (Ok(_), None) => Answer::NotDone("the log cannot be read".to_owned()),
            (Err(error @ StatisticsError::Store(_)), _) => nothing(&error),
            (Err(error), _) => {
                self.wrong(format!("nothing is told of numbers: {error}"));
                nothing(&error)
            }
        };
        self.book.answer(call, answer);
    }

    fn has_jumped(&self) -> bool {
        self.shared.lock().unwrap().has_jumped
    }

    /// Where the log of all sessions ends now, if the store can be read.
    async fn end_of_log(&self) -> Option<u64> {
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let page = self.store.log(newest).await.ok()?;
        Some(page.end.last)
    }
}
