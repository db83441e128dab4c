//! What one side of a row came to.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Numbers by the names of their figures.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Readings(BTreeMap<String, f64>);

impl Readings {
    pub(crate) fn of(name: &str, value: f64) -> Self {
        Self::default().and(name, value)
    }

    pub(crate) fn and(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn time(self, name: &str, value: Duration) -> Self {
        self.and(name, nanos(value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

pub(crate) fn nanos(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

/// How long each of many things took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) async fn of<T>(&mut self, call: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let answer = call.await;
        self.0.push(began.elapsed());
        answer
    }

    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn quantile(&mut self, quantile: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1) as f64;
        self.0.get((last * quantile).round() as usize).copied().unwrap_or_default()
    }
}

/// The middle one of some numbers.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => {
            let middle = values.get(count / 2 - 1..=count / 2).unwrap_or_default();
            middle.iter().sum::<f64>() / 2.0
        }
        count => values.get(count / 2).copied().unwrap_or(f64::NAN),
    }
}
