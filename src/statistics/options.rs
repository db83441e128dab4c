//! What is counted of what happens.

/// What is counted of what happens: for all sessions, for each kind, and for the values of some labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "they go to `Builder::statistics`"]
pub struct StatisticsOptions {
    pub(crate) labels: Vec<String>,
}

impl StatisticsOptions {
    /// Counts what happens to the sessions with each value of a label, too: a thousand of them at most, and what comes
    /// after those under [`OTHERS`](Self::OTHERS). What happened before it was asked for is not counted so.
    pub fn label(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        if !self.labels.contains(&key) {
            self.labels.push(key);
        }
        self
    }

    /// The value under which those are counted that came after the first thousand of their label.
    pub const OTHERS: &str = crate::model::projection::OTHERS;
}
