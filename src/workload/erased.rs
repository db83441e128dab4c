//! Workloads whose types are forgotten, so that one supervisor can run several kinds.

use std::{
    any::Any, collections::HashMap, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc,
};

use futures::FutureExt;
use serde::Deserialize;

use super::{
    Context, Draft, Outcome, Run, Workload, WorkloadError,
    panics::{Mishap, defuse, guard, guard_future},
    rollover::Next,
    threads::{CodeOwner, UserCode},
};
use crate::{
    model::{
        event::RunEnd,
        family::ChildEnd,
        ids::{Kind, SessionId},
        json,
        record::StoredInput,
        sleep::Alarm,
        snapshot::SnapshotEnvelope,
    },
    policy::restart::Retry,
    store::BoxError,
    telemetry,
};

/// A registered workload.
pub(crate) trait ErasedWorkload: Send + Sync {
    /// The workload itself.
    fn inner(&self) -> Arc<dyn Any + Send + Sync>;
    /// The version of the states and inputs that it writes.
    fn state_version(&self) -> u32;
    /// Drives one run to its end: the workload itself, without its clean-up.
    fn drive(
        self: Arc<Self>,
        run: Run,
        state: Arc<SnapshotEnvelope>,
    ) -> Pin<Box<dyn Future<Output = Driven> + Send>>;
    /// Calls the workload's own clean-up.
    fn close<'a>(
        &'a self,
        run: &'a Run,
        end: &'a RunEnd,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// Makes the state of a fork from that of its parent.
    fn fork(
        self: Arc<Self>,
        parent: SessionId,
        fork: SessionId,
        owner: Arc<CodeOwner>,
        state: Arc<SnapshotEnvelope>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, NotForked>> + Send>>;
    /// The input that the workload makes of the end of a child, encoded.
    fn on_child_end(&self, end: &ChildEnd) -> Result<Option<Vec<u8>>, BoxError>;
    /// Whether these bytes are a state of this kind.
    fn check_state(&self, payload: &[u8]) -> Result<(), BoxError>;
    /// Whether these bytes are an input of this kind.
    fn check_input(&self, payload: &[u8]) -> Result<(), BoxError>;
}

/// What came of driving a run.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) end: RunEnd,
    pub(crate) retry: Retry,
    /// The state to commit with the end, if there is one.
    pub(crate) draft: Option<Draft>,
    /// What became of the stored state.
    pub(crate) stored: Stored,
    /// Until when the workload wants to sleep, if it does.
    pub(crate) alarm: Option<Alarm>,
    /// The successor that the workload wants for its session, if it does.
    pub(crate) next: Option<Arc<Next>>,
}

/// What became of the state that a run was to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It was decoded, and the workload ran.
    Decoded,
    /// It could not be decoded, so that nothing ran. An older one may serve.
    Undecodable,
    /// It has an older version and could not be brought to the present one, so that nothing ran.
    /// It is kept for a workload that can.
    NotMigrated,
}

impl Driven {
    pub(crate) fn ended(end: RunEnd) -> Self {
        Self {
            end,
            retry: Retry::ByPolicy,
            draft: None,
            stored: Stored::Decoded,
            alarm: None,
            next: None,
        }
    }

    fn failed(error: &WorkloadError) -> Self {
        if error.is_fenced() {
            return Self::ended(RunEnd::Cancelled);
        }
        let end = RunEnd::Failed { error: shorten(error.to_string()) };
        Self { retry: error.retry(), ..Self::ended(end) }
    }
}

/// Why there is no state for a fork.
#[derive(Debug)]
pub(crate) enum NotForked {
    /// The stored state does not decode.
    Undecodable(String),
    /// [`Workload::on_fork`] gave an error.
    Refused(String),
    /// Something of the workload panicked.
    Panicked(String),
    /// The state does not encode.
    Unencodable(BoxError),
}

/// One workload with its type.
struct Typed<W>(Arc<W>);

impl<W: Workload> ErasedWorkload for Typed<W> {
    fn inner(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.0) as Arc<dyn Any + Send + Sync>
    }

    fn state_version(&self) -> u32 {
        W::STATE_VERSION
    }

    fn drive(
        self: Arc<Self>,
        run: Run,
        state: Arc<SnapshotEnvelope>,
    ) -> Pin<Box<dyn Future<Output = Driven> + Send>> {
        Box::pin(async move {
            let workload = Arc::clone(&self.0);
            let decoded = {
                let _part = run.in_part(UserCode::Decode);
                guard(|| decode_state(&*workload, &state))
            };
            let stored = if state.header.state_version == W::STATE_VERSION {
                Stored::Undecodable
            } else {
                Stored::NotMigrated
            };
            drop(state);
            let state = match decoded {
                Ok(Ok(state)) => state,
                Ok(Err(error)) => {
                    let error = shorten(format!("the state cannot be decoded: {error}"));
                    return Driven { stored, ..Driven::ended(RunEnd::Failed { error }) };
                }
                Err(message) => {
                    return Driven { stored, ..Driven::ended(RunEnd::Panicked { message }) };
                }
            };
            let mut cx = Context::new(run.clone(), Arc::clone(&workload), state);
            let driven = work(&*workload, &run, &mut cx).await;
            let _part = run.in_part(UserCode::Drop);
            if guard(|| drop(cx)).is_err() {
                // What the run came to is the same without it.
                telemetry::clean_up_failed(run.owner(), Mishap::Panicked);
            }
            driven
        })
    }

    fn close<'a>(
        &'a self,
        run: &'a Run,
        end: &'a RunEnd,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.0.close(run, end))
    }

    fn fork(
        self: Arc<Self>,
        parent: SessionId,
        fork: SessionId,
        owner: Arc<CodeOwner>,
        state: Arc<SnapshotEnvelope>,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, NotForked>> + Send>> {
        Box::pin(async move {
            let workload = &*self.0;
            let decoded = {
                let _part = owner.in_part(UserCode::Decode);
                guard(|| decode_state(workload, &state)).map_err(NotForked::Panicked)?
            };
            let mut state = decoded.map_err(|error| NotForked::Undecodable(error.to_string()))?;
            // Called only where a panic of the call itself is caught too.
            let copied =
                guard_future(async { workload.on_fork(parent, fork, &mut state).await }).await;
            match copied {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(NotForked::Refused(shorten(error.to_string()))),
                Err(message) => return Err(NotForked::Panicked(message)),
            }
            let _part = owner.in_part(UserCode::Encode);
            let encoded = guard(|| json::to_vec(&state)).map_err(NotForked::Panicked)?;
            owner.set_code(UserCode::Drop);
            guard(|| drop(state)).map_err(NotForked::Panicked)?;
            encoded.map_err(|error| NotForked::Unencodable(error.into()))
        })
    }

    fn on_child_end(&self, end: &ChildEnd) -> Result<Option<Vec<u8>>, BoxError> {
        let input = self.0.on_child_end(end);
        Ok(input.map(|input| json::to_vec(&input)).transpose()?)
    }

    fn check_state(&self, payload: &[u8]) -> Result<(), BoxError> {
        serde_json::from_slice::<W::State>(payload).map(drop).map_err(Into::into)
    }

    fn check_input(&self, payload: &[u8]) -> Result<(), BoxError> {
        serde_json::from_slice::<W::Input>(payload).map(drop).map_err(Into::into)
    }
}

/// Lets the workload run until it ends or is cancelled.
async fn work<W: Workload>(workload: &W, run: &Run, cx: &mut Context<W>) -> Driven {
    let returned = {
        // Called only where a panic of the call itself is caught too.
        let mut work = Box::pin(AssertUnwindSafe(async { workload.run(cx).await }).catch_unwind());
        let returned = tokio::select! {
            biased;
            () = run.cancelled() => None,
            returned = &mut work => Some(returned.map_err(defuse)),
        };
        // What the workload holds may panic when it is dropped.
        let _part = run.in_part(UserCode::Drop);
        match guard(|| drop(work)) {
            Ok(()) => returned,
            Err(message) => Some(Err(message)),
        }
    };
    let outcome = match returned {
        None => return Driven::ended(RunEnd::Cancelled),
        Some(Err(message)) => return Driven::ended(RunEnd::Panicked { message }),
        // It gives up a turn that was to end: what it leaves is what it would leave by yielding.
        Some(Ok(Err(error))) if error.is_interrupted() && run.is_interrupted() => {
            return Driven::ended(RunEnd::Yielded);
        }
        Some(Ok(Err(error))) => return Driven::failed(&error),
        Some(Ok(Ok(outcome))) => outcome,
    };
    let (end, alarm) = match outcome {
        Outcome::Yielded => (RunEnd::Yielded, None),
        Outcome::SleepUntil(alarm) => (RunEnd::Yielded, Some(alarm)),
        Outcome::Completed | Outcome::RolledOver(_) => (RunEnd::Completed, None),
    };
    let rolls_over = matches!(outcome, Outcome::RolledOver(_));
    let left = guard(|| {
        let next = if rolls_over { Some(cx.take_next()?) } else { None };
        let draft = cx.last_draft(end == RunEnd::Completed)?;
        Ok::<_, WorkloadError>((draft, next.map(Arc::new)))
    });
    match left {
        Ok(Ok((draft, next))) => Driven { draft, alarm, next, ..Driven::ended(end) },
        Ok(Err(error)) => Driven::failed(&error),
        Err(message) => Driven::ended(RunEnd::Panicked { message }),
    }
}

/// Reads a state: as it is, or by way of [`Workload::migrate`].
pub(crate) fn decode_state<W: Workload>(
    workload: &W,
    stored: &SnapshotEnvelope,
) -> Result<W::State, WorkloadError> {
    let found = stored.header.state_version;
    decode(&stored.payload, found, W::STATE_VERSION, |value| workload.migrate(found, value))
}

/// Reads an input: as it is, or by way of [`Workload::migrate_input`].
pub(super) fn decode_input<W: Workload>(
    workload: &W,
    stored: &StoredInput,
) -> Result<W::Input, WorkloadError> {
    let found = stored.state_version;
    decode(&stored.payload, found, W::STATE_VERSION, |value| workload.migrate_input(found, value))
}

fn decode<T: for<'de> Deserialize<'de>>(
    payload: &[u8],
    found: u32,
    present: u32,
    migrate: impl FnOnce(serde_json::Value) -> Result<T, WorkloadError>,
) -> Result<T, WorkloadError> {
    if found == present {
        return serde_json::from_slice(payload).map_err(Into::into);
    }
    if found > present {
        return Err(super::UnsupportedVersion { found, supported: present }.into());
    }
    migrate(serde_json::from_slice(payload)?)
}

/// The registered workloads, by kind.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    kinds: HashMap<Kind, Arc<dyn ErasedWorkload>>,
}

impl Registry {
    /// Adds a workload; `false` if the kind is there already.
    pub(crate) fn add<W: Workload>(&mut self, kind: Kind, workload: W) -> bool {
        let workload: Arc<dyn ErasedWorkload> = Arc::new(Typed(Arc::new(workload)));
        self.kinds.insert(kind, workload).is_none()
    }

    pub(crate) fn get(&self, kind: &Kind) -> Option<&Arc<dyn ErasedWorkload>> {
        self.kinds.get(kind)
    }

    /// The workload of a kind, if it is registered with this very type.
    pub(crate) fn typed<W: Workload>(&self, kind: &Kind) -> Option<Arc<W>> {
        self.get(kind)?.inner().downcast().ok()
    }
}

/// Error texts are kept in records; a hostile one must not fill the store.
pub(crate) fn shorten(mut text: String) -> String {
    const MAX: usize = 2 << 10;
    if text.len() > MAX {
        let mut end = MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}
