//! What is left of the log of a session, and what those are told who read it, where only the newest events are kept.

use std::time::Duration;

use futures::StreamExt;
use sessionkeeper::{EventPage, EventQuery, EventRecord, SessionHandle, Update, store::Order};

use super::same;
use crate::model::player::Player;

/// How many are gone, and those that are left.
pub(super) struct Left {
    pub(super) gone: u64,
    pub(super) events: Vec<EventRecord>,
}

impl Left {
    /// As all say who read them.
    pub(super) async fn of(session: &SessionHandle<Player>) -> Result<Self, String> {
        loop {
            let left = Self::stored(session).await;
            let told = left.is_told_by(session).await;
            // It is as it was, or else it is read again.
            if Self::stored(session).await.gone == left.gone {
                return told.map(|()| left);
            }
        }
    }

    async fn stored(session: &SessionHandle<Player>) -> Self {
        let events = session.events(1..=u64::MAX, usize::MAX).await.unwrap();
        let gone = events.first().map_or(0, |first| first.sequence - 1);
        Self { gone, events }
    }

    const fn last(&self) -> u64 {
        self.gone + self.events.len() as u64
    }

    async fn is_told_by(&self, session: &SessionHandle<Player>) -> Result<(), String> {
        let numbers: Vec<u64> = self.events.iter().map(|event| event.sequence).collect();
        same("the log", numbers, (self.gone + 1..=self.last()).collect())?;
        let status = session.status().await.map_err(|error| error.to_string())?;
        let record = status.record();
        same("the last event", self.last(), record.last_event)?;
        match record.trimmed.as_deref() {
            None => same("how many events are gone", self.gone, 0)?,
            Some(trimmed) if trimmed.since.is_none() => {
                same("how many events are gone", self.gone, trimmed.to)?;
            }
            Some(trimmed) if self.gone > trimmed.to => {
                return Err(format!("{} events are gone, and no more than {trimmed:?}", self.gone));
            }
            Some(_) => {}
        }
        // Before what is left, in the midst of it, and after it.
        let from = 1 + self.last() % (self.gone + 3).min(self.last() + 1);
        self.is_told_by_pages(session, from).await?;
        self.is_told_to_subscribers(session, from).await
    }

    async fn is_told_by_pages(
        &self,
        session: &SessionHandle<Player>,
        from: u64,
    ) -> Result<(), String> {
        let oldest =
            EventQuery { from, order: Order::OldestFirst, limit: 7, ..EventQuery::default() };
        let (gaps, numbers) = pages(session, oldest).await;
        let gap = (from <= self.gone).then_some((0, from..=self.gone));
        same("the gap of the pages, the oldest first", gaps, gap.into_iter().collect())?;
        let left = from.max(self.gone + 1)..=self.last();
        same("the pages, the oldest first", numbers, left.collect())?;

        let newest = EventQuery { limit: 5, ..EventQuery::default() };
        let (gaps, numbers) = pages(session, newest).await;
        let last_page = self.events.len().div_ceil(5) - 1;
        let gap = (self.gone > 0).then_some((last_page, 1..=self.gone));
        same("the gap of the pages, the newest first", gaps, gap.into_iter().collect())?;
        let left = self.gone + 1..=self.last();
        same("the pages, the newest first", numbers, left.rev().collect())
    }

    async fn is_told_to_subscribers(
        &self,
        session: &SessionHandle<Player>,
        from: u64,
    ) -> Result<(), String> {
        let mut told = session.subscribe(from).await.map_err(|error| error.to_string())?;
        let mut next = async || {
            let told = tokio::time::timeout(Duration::from_secs(1), told.next()).await;
            told.ok().flatten().map(|told| told.map_err(|error| error.to_string())).transpose()
        };
        if from <= self.gone {
            let gap = Update::Gap { from, to: self.gone };
            same("what a subscriber is told first", next().await?, Some(gap))?;
        }
        for number in from.max(self.gone + 1)..=self.last() {
            let Some(Update::Event(event)) = next().await? else {
                return Err(format!("a subscriber was not given event {number}"));
            };
            same("what a subscriber is given", event.sequence, number)?;
        }
        Ok(())
    }
}

/// The gaps in the pages, each with the number of its page, and the events of all.
async fn pages(
    session: &SessionHandle<Player>,
    mut query: EventQuery,
) -> (Vec<(usize, std::ops::RangeInclusive<u64>)>, Vec<u64>) {
    let (mut gaps, mut numbers) = (Vec::new(), Vec::new());
    for page in 0.. {
        let EventPage { events, next, gap, .. } = session.query_events(query).await.unwrap();
        assert!(events.len() <= query.limit, "a page has no more than was asked for");
        gaps.extend(gap.map(|gap| (page, gap)));
        numbers.extend(events.iter().map(|event| event.sequence));
        let Some(next) = next else { break };
        query.from = next;
    }
    (gaps, numbers)
}
