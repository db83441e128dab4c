//! What there is of sessions, and what happened to them, in numbers.

use std::{fmt, ops::Deref, time::Duration};

use crate::{
    health::Health,
    model::{
        counts::{Scope, StateCounts},
        projection::Window,
        state::State,
        tally::Tally,
    },
    policy::alerts::{self, Alert, Observed, Thresholds},
    store::{LogQuery, StoreError},
    supervisor::Supervisor,
};

pub use self::options::StatisticsOptions;

mod options;

impl Supervisor {
    /// How many sessions are in each state now: of all, of a kind, or of those with a label. The counters change with the
    /// sessions, in the same commits, so they are exact, also after a crash, and reading them is no scan. What was deleted
    /// is not counted.
    ///
    /// ```
    /// # use sessionkeeper::{Scope, State, Supervisor, store::StoreError};
    /// # async fn example(supervisor: Supervisor) -> Result<(), StoreError> {
    /// let of_ada = supervisor.counts(Scope::label("user", "ada")).await?;
    /// println!("{of_ada}"); // active 3, paused 1
    /// println!("{} wait for a place", of_ada.of(State::Pending));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A store that fails, or cannot read the counter. A damaged one is [reported](crate::store::Store::damaged), and is counted
    /// anew when the next session in it moves.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn counts(&self, scope: Scope) -> Result<StateCounts, StoreError> {
        self.core().store()?.count(scope).await
    }

    /// What there is of some sessions, and what happened to them in a window of time: how many started and how they ended, how long
    /// they took, how many events of each type were recorded, and what was used. It is counted as it happens, so this is no
    /// scan. [`Builder::statistics`](crate::Builder::statistics) asks for it.
    ///
    /// What happened belongs to the minute in which it was recorded, by the wall clock. It is counted once, also where a worker is
    /// lost; it may not be counted yet, see [`Statistics::behind`].
    ///
    /// ```
    /// # use sessionkeeper::{Scope, Statistics, StatisticsError, Supervisor, Window};
    /// # use std::time::Duration;
    /// # async fn example(supervisor: Supervisor) -> Result<(), StatisticsError> {
    /// let hour = Window::Last(Duration::from_secs(3600));
    /// let of_ada = supervisor.statistics(Scope::label("user", "ada"), hour).await?;
    /// println!("{} started, {} tokens written", of_ada.started(), of_ada.usage().output_tokens());
    /// if let (Some(mean), Some(p95)) = (of_ada.completed().mean(), of_ada.completed().percentile(95.0)) {
    ///     println!("completed in {mean:?} on average, 95 % of them within {p95:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StatisticsError`].
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn statistics(
        &self,
        scope: Scope,
        window: Window,
    ) -> Result<Statistics, StatisticsError> {
        let core = self.core();
        let statistician = core.statistician.as_ref().ok_or(StatisticsError::NotCounted)?;
        let store = core.store()?;
        let newest = LogQuery { limit: 1, ..LogQuery::default() };
        let end = store.log(newest).await?.end;
        let states = store.count(scope.clone()).await?;
        let counted = statistician.tally(&scope, window, core.clock.wall());
        let Some((tally, position)) = counted else {
            return Err(StatisticsError::LabelNotCounted { scope });
        };
        let behind = end.last.saturating_sub(position);
        Ok(Statistics { scope, window, states, behind, tally })
    }

    /// What a person should hear of now: the [alerts](Statistics::alerts) over these statistics. A store that cannot be read gives no
    /// statistics, and that is an alert too. What else could be told then is told when it can be read again.
    ///
    /// ```
    /// # use sessionkeeper::{Scope, StatisticsError, Supervisor, Thresholds, Window};
    /// # use std::time::Duration;
    /// # async fn example(supervisor: Supervisor) -> Result<(), StatisticsError> {
    /// let hour = Window::Last(Duration::from_secs(3600));
    /// for alert in supervisor.alerts(Scope::All, hour, &Thresholds::default()).await? {
    ///     eprintln!("{alert}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StatisticsError::NotCounted`] or [`StatisticsError::LabelNotCounted`].
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn alerts(
        &self,
        scope: Scope,
        window: Window,
        thresholds: &Thresholds,
    ) -> Result<Vec<Alert>, StatisticsError> {
        match self.statistics(scope, window).await {
            Ok(statistics) => Ok(statistics.alerts(&self.health(), thresholds)),
            Err(StatisticsError::Store(error)) => {
                Ok(vec![Alert::StoreFails { what: error.to_string() }])
            }
            Err(error) => Err(error),
        }
    }
}

/// What there is of some sessions, and what happened to them in a window of time: see [`Supervisor::statistics`]. What happened
/// is a [`Tally`], which it derefs to. Its `Display` is a few lines for people.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Of which sessions.
    pub scope: Scope,
    /// Of which time.
    pub window: Window,
    /// How many are in each state now.
    pub states: StateCounts,
    /// How many events of all sessions were recorded and are not counted yet: a few at most, but for where counting has just
    /// begun, or the store fails.
    pub behind: u64,
    /// What happened.
    pub tally: Tally,
}

impl Statistics {
    /// What a person should hear of: sessions that expire too often, that are active though nothing happens, or a store that fails.
    /// [`Supervisor::alerts`] reads the statistics for it, and hears also of a store that cannot be read.
    pub fn alerts(&self, health: &Health, thresholds: &Thresholds) -> Vec<Alert> {
        let length = match self.window {
            Window::SinceTheBeginning => Duration::ZERO,
            Window::Last(length) => length.min(Window::LONGEST),
        };
        // What is not counted yet may be what happened.
        let events = (self.behind == 0).then(|| (self.events_in_all(), length));
        let observed = Observed {
            active: self.states.of(State::Active),
            ended: self.ended_in_all(),
            expired: self.ended(State::Expired),
            events,
            store_error: health.store_error().map(ToString::to_string),
        };
        alerts::alerts(&observed, thresholds)
    }
}

impl Deref for Statistics {
    type Target = Tally;

    fn deref(&self) -> &Tally {
        &self.tally
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, window, states, .. } = self;
        match window {
            Window::SinceTheBeginning => writeln!(f, "{scope}, since the beginning:")?,
            Window::Last(length) => {
                let length = humantime::format_duration((*length).min(Window::LONGEST));
                writeln!(f, "{scope}, the last {length}:")?;
            }
        }
        writeln!(f, "  now       {states}")?;
        write!(f, "  started   {}, ended", self.started())?;
        for how in [State::Completed, State::Failed, State::Stopped, State::Expired] {
            write!(f, " {how} {}", self.ended(how))?;
        }
        writeln!(f)?;
        for (what, took) in [("completed", self.completed()), ("failed   ", self.failed())] {
            if let (Some(mean), Some(p95)) = (took.mean(), took.percentile(95.0)) {
                let mean = humantime::format_duration(mean);
                // It is the middle of a class, and its fractions say nothing.
                let p95 = Duration::from_millis(u64::try_from(p95.as_millis()).unwrap_or(u64::MAX));
                let p95 = humantime::format_duration(p95);
                writeln!(f, "  {what} in {mean} on average, 95 % within {p95}")?;
            }
        }
        let usage = self.usage();
        write!(
            f,
            "  events    {}, tokens {} in, {} out, cost {}",
            self.events_in_all(),
            usage.input_tokens(),
            usage.output_tokens(),
            usage.cost()
        )
    }
}

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatisticsError {
    /// Nobody asked for them when the supervisor was built.
    #[error("what happens is not counted; ask for it with `Builder::statistics`")]
    NotCounted,
    /// The values of such a label are not counted.
    #[error(
        "what happens to sessions with {scope} is not counted; add the label to `StatisticsOptions`"
    )]
    LabelNotCounted {
        /// Which sessions were asked for.
        scope: Scope,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
