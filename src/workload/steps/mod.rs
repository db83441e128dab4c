//! Steps: calls with effects outside, each with its intent recorded before and its result after.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{Run, WorkloadError, line::Fenced, threads::UserCode};
use crate::{
    faults::{self, Bug},
    model::{
        ids::StepKey,
        json,
        step::{StepProgress, Turn},
    },
};

mod book;
mod error;
#[cfg(test)]
mod tests;

pub(super) use self::book::{Found, KnownResult, OnInterrupted, StepBook, StepRefused};
pub use self::error::{FailedStep, IdempotencyKey, Interrupted, StepError};

/// Steps: work with effects outside of the session, such as the call of a tool.
///
/// The state of a session is put back where a turn is cut short; what the turn did outside is not.
/// A step records that it is about to be called, *before* it is, and its result *after*, both
/// durably. So when the turn is done again, each step gives the result that it had, without a call;
/// and one of which nobody knows whether it happened says so.
///
/// A key is unique within its turn (see [`Context`](super::Context)): calling a step again in the
/// same turn gives its recorded result. In the next turn the same key is another step. A turn
/// without an input, as at the start of a run, ends with [`checkpoint`](super::Context::checkpoint),
/// or when the next input is asked for after a step or a change of the state;
/// [`save_progress`](super::Context::save_progress) ends none. What is recorded is kept until both kept
/// snapshots cover the turn. So let the steps of a turn end before it: one that is cut short after its
/// turn was over is not heard of again.
///
/// Where the session is [rolled over](super::Rollover) in the middle of a turn and the input of that moves, its turn goes on in the
/// successor: with the recorded results, with what was interrupted, and under the same idempotency keys.
///
/// Steps may be nested, and called at once from several tasks. A call that takes long should declare
/// that, with [`busy`](Self::busy) inside; waiting for the store is declared by itself.
impl Run {
    /// Takes a step: records that it begins, calls `call`, records its result, and gives it. Where
    /// it has a result already, that is given, and `call` is not called.
    ///
    /// `call` is given what the step is to be known by outside, see [`IdempotencyKey`]. The result
    /// is stored as JSON, as a state is, and durable on return. All results of a turn together have at most the
    /// bytes that the policy allows for a state (`max_snapshot_bytes`).
    ///
    /// While the store fails, this waits until it works again, before the call and after it.
    ///
    /// ```
    /// use sessionkeeper::{Context, IdempotencyKey, Outcome, StepError, Workload, WorkloadError};
    ///
    /// # struct Payments;
    /// # impl Payments {
    /// #     async fn charge(&self, cents: u64, key: &str) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// #     async fn find(&self, key: &str) -> Result<Option<String>, std::io::Error> { Ok(None) }
    /// # }
    /// struct Cashier {
    ///     payments: Payments,
    /// }
    ///
    /// impl Workload for Cashier {
    ///     const KIND: &'static str = "cashier";
    ///     const STATE_VERSION: u32 = 1;
    ///     type State = Vec<String>;
    ///     type Input = u64;
    ///
    ///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
    ///         while let Some(cents) = cx.next_input().await? {
    ///             let charge =
    ///                 async |key: IdempotencyKey| self.payments.charge(*cents, key.as_str()).await;
    ///             let receipt = match cx.step("charge", charge).await {
    ///                 // It may have happened. Here the other side can tell.
    ///                 Err(StepError::Interrupted(lost)) => {
    ///                     match self.payments.find(lost.idempotency_key.as_str()).await? {
    ///                         Some(receipt) => cx.skip_step("charge", receipt).await?,
    ///                         None => cx.retry_step("charge", charge).await?,
    ///                     }
    ///                 }
    ///                 receipt => receipt?,
    ///             };
    ///             cx.state_mut().push(receipt);
    ///         }
    ///         Ok(Outcome::Yielded)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StepError`]. After [`StepError::Interrupted`] choose: [`retry_step`](Self::retry_step)
    /// where a second call does no harm, [`skip_step`](Self::skip_step) where the result is known or
    /// not needed, or [ask a person](Self::awaiting) first. An error of `call` comes back as
    /// [`StepError::Failed`], with its advice on trying again; that is recorded too, so that the
    /// step is not taken for interrupted: the next call of it, in this run or a later one, calls
    /// `call` again.
    ///
    /// # Cancel safety
    /// Dropped before `call` has returned, the step is interrupted (also where `call` panics). After
    /// that the result is recorded all the same, unless the run ends at once.
    pub async fn step<T, E, F, Fut>(&self, key: &str, call: F) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<WorkloadError>,
        F: FnOnce(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.take_step(key, OnInterrupted::Tell, call).await
    }

    /// Takes a step as [`step`](Self::step) does, and calls `call` also where the step was begun
    /// before and never finished. It is known outside by the same key as before.
    ///
    /// # Errors
    /// [`StepError`], but never [`StepError::Interrupted`].
    ///
    /// # Cancel safety
    /// As [`step`](Self::step).
    pub async fn retry_step<T, E, F, Fut>(&self, key: &str, call: F) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<WorkloadError>,
        F: FnOnce(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.take_step(key, OnInterrupted::Begin, call).await
    }

    /// Records `result` as that of a step, without a call, and gives it. A step that has a result
    /// keeps it, and that is given. Durable on return.
    ///
    /// # Errors
    /// [`StepError`], but never [`StepError::Interrupted`] or [`StepError::Failed`].
    ///
    /// # Cancel safety
    /// Dropped, the result may be recorded or not.
    pub async fn skip_step<T>(&self, key: &str, result: T) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
    {
        let step = self.open(key, OnInterrupted::Begin)?;
        match &step.found {
            Found::New => step.finish(result).await,
            Found::Result(known) => step.recall(known).await,
        }
    }

    async fn take_step<T, E, F, Fut>(
        &self,
        key: &str,
        on_interrupted: OnInterrupted,
        call: F,
    ) -> Result<T, StepError>
    where
        T: Serialize + DeserializeOwned,
        E: Into<WorkloadError>,
        F: FnOnce(IdempotencyKey) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let step = self.open(key, on_interrupted)?;
        if let Found::Result(known) = &step.found {
            return step.recall(known).await;
        }
        if !faults::planted(Bug::CallBeforeIntent) {
            step.commit(StepProgress::Begun).await?;
        }
        match call(step.idempotency_key()).await {
            Ok(result) => step.finish(result).await,
            Err(error) => Err(step.fail(error.into()).await),
        }
    }

    fn open(&self, key: &str, on_interrupted: OnInterrupted) -> Result<OpenStep<'_>, StepError> {
        self.heartbeat();
        let session = self.session();
        let key = StepKey::new(key).map_err(|source| StepError::InvalidKey { session, source })?;
        match self.open_step(&key, on_interrupted) {
            Ok((turn, found)) => Ok(OpenStep { run: self, turn, key, found }),
            Err(StepRefused::Fenced) => Err(StepError::Fenced { session, run: self.id() }),
            Err(StepRefused::InHand) => Err(StepError::InHand { session, key }),
            Err(StepRefused::Interrupted { turn }) => {
                let known_as = self.known_as(turn, &key);
                Err(StepError::Interrupted(Interrupted::new(session, key, known_as)))
            }
            Err(StepRefused::TooLarge { bytes }) => {
                let limit = self.max_snapshot_bytes();
                Err(StepError::TooLarge { session, key, bytes, limit })
            }
        }
    }

    fn known_as(&self, turn: Turn, key: &StepKey) -> IdempotencyKey {
        let (session, turn) = self.origin(turn);
        IdempotencyKey::new(format!("{session}/{turn}/{key}"))
    }
}

/// A step in hand; it is put down when this is dropped.
struct OpenStep<'a> {
    run: &'a Run,
    turn: Turn,
    key: StepKey,
    found: Found,
}

impl OpenStep<'_> {
    fn idempotency_key(&self) -> IdempotencyKey {
        self.run.known_as(self.turn, &self.key)
    }

    async fn commit(&self, progress: StepProgress) -> Result<(), StepError> {
        let committed = self.run.commit_step(self.turn, &self.key, progress).await;
        let (session, run) = (self.run.session(), self.run.id());
        committed.map_err(|Fenced| StepError::Fenced { session, run })
    }

    /// Gives the result that the step has, once it is durable.
    async fn recall<T: DeserializeOwned>(&self, known: &KnownResult) -> Result<T, StepError> {
        if !known.is_durable {
            self.record(Arc::clone(&known.bytes)).await?;
        }
        let _part = self.run.in_part(UserCode::Decode);
        serde_json::from_slice(&known.bytes).map_err(|error| StepError::Undecodable {
            session: self.run.session(),
            key: self.key.clone(),
            source: error.into(),
        })
    }

    /// Records a result and gives it.
    async fn finish<T: Serialize>(&self, result: T) -> Result<T, StepError> {
        let encoded: Arc<[u8]> = self.encode(&result)?.into();
        let limit = self.run.max_snapshot_bytes();
        self.run
            .with_steps(|book| book.returned(self.turn, &self.key, &encoded, limit))
            .unwrap_or(Ok(()))
            .map_err(|bytes| self.too_large(bytes))?;
        self.record(encoded).await?;
        Ok(result)
    }

    async fn record(&self, result: Arc<[u8]>) -> Result<(), StepError> {
        if !faults::planted(Bug::ForgetStepResult) {
            self.commit(StepProgress::Finished(Arc::clone(&result))).await?;
        }
        self.run.with_steps(|book| book.finished(self.turn, &self.key, result));
        Ok(())
    }

    /// Records that the call gave an error.
    async fn fail(&self, error: WorkloadError) -> StepError {
        self.run.with_steps(|book| book.failed(self.turn, &self.key));
        match self.commit(StepProgress::Failed).await {
            Ok(()) => {
                StepError::Failed(FailedStep::new(self.run.session(), self.key.clone(), error))
            }
            Err(fenced) => fenced,
        }
    }

    fn encode<T: Serialize>(&self, result: &T) -> Result<Vec<u8>, StepError> {
        let _part = self.run.in_part(UserCode::Encode);
        let limit = self.run.max_snapshot_bytes();
        let encoded = json::to_vec_within(result, usize::try_from(limit).unwrap_or(usize::MAX))
            .map_err(|error| StepError::Encode {
                session: self.run.session(),
                key: self.key.clone(),
                source: error.into(),
            })?;
        if encoded.is_too_large() {
            return Err(self.too_large(encoded.bytes as u64));
        }
        Ok(encoded.kept)
    }

    fn too_large(&self, bytes: u64) -> StepError {
        let limit = self.run.max_snapshot_bytes();
        StepError::TooLarge { session: self.run.session(), key: self.key.clone(), bytes, limit }
    }
}

impl Drop for OpenStep<'_> {
    fn drop(&mut self) {
        self.run.close_step(self.turn, &self.key);
    }
}
