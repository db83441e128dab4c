//! A workload whose callbacks, and those of its state, inputs and resources, do what a test says.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Condvar, LazyLock, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use sessionkeeper::{Context, Outcome, Resource, Run, RunEnd, SessionId, Workload, WorkloadError};

/// The code of a user's that the library calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callback {
    /// `run`, before its first `await`.
    RunStart,
    /// `run`, with an input in hand.
    MidTurn,
    /// `run`, when it was asked to yield.
    AfterYield,
    Close,
    CloseHeld,
    EncodeState,
    DecodeState,
    Migrate,
    DecodeInput,
    DropState,
    DropInput,
    DropHeld,
    /// The drop of something in the future of `run`.
    DropFuture,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdeed {
    Error,
    Panic,
    /// Panics with something that panics when it is dropped.
    Bomb,
    /// Never becomes ready.
    Hang,
    /// Blocks its thread.
    Block,
}

/// The payload of [`Misdeed::Bomb`].
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(Bomb);
        }
    }
}

/// What one session is to do. States and inputs find it by its number.
pub(super) struct Trap {
    pub(super) number: u64,
    armed: Mutex<Option<(Callback, Misdeed)>>,
    disarmed: Condvar,
    sprung: AtomicU32,
}

static TRAPS: LazyLock<Mutex<HashMap<u64, Arc<Trap>>>> = LazyLock::new(Mutex::default);

impl Trap {
    pub(super) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let trap = Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::SeqCst),
            armed: Mutex::default(),
            disarmed: Condvar::new(),
            sprung: AtomicU32::new(0),
        });
        TRAPS.lock().unwrap().insert(trap.number, Arc::clone(&trap));
        trap
    }

    /// The session that it is for.
    pub(super) fn session(&self) -> SessionId {
        SessionId::from_uuid(uuid::Uuid::from_u128(self.number.into()))
    }

    fn find(number: u64) -> Arc<Self> {
        Arc::clone(&TRAPS.lock().unwrap()[&number])
    }

    pub(super) fn arm(&self, callback: Callback, misdeed: Misdeed) {
        *self.armed.lock().unwrap() = Some((callback, misdeed));
    }

    /// Also lets go of the threads that are blocked.
    pub(super) fn disarm(&self) {
        *self.armed.lock().unwrap() = None;
        self.disarmed.notify_all();
    }

    /// How often it has gone off.
    pub(super) fn sprung(&self) -> u32 {
        self.sprung.load(Ordering::SeqCst)
    }

    fn misdeed(&self, here: Callback) -> Option<Misdeed> {
        let armed = *self.armed.lock().unwrap();
        let (_, misdeed) = armed.filter(|(callback, _)| *callback == here)?;
        self.sprung.fetch_add(1, Ordering::SeqCst);
        Some(misdeed)
    }

    /// What code does that is not async.
    fn spring(&self, here: Callback) -> Result<(), &'static str> {
        match self.misdeed(here) {
            None => Ok(()),
            Some(Misdeed::Error) => Err("told to fail"),
            Some(Misdeed::Panic) => panic!("told to panic"),
            Some(Misdeed::Bomb) => std::panic::panic_any(Bomb),
            Some(Misdeed::Hang | Misdeed::Block) => {
                let armed = self.armed.lock().unwrap();
                drop(self.disarmed.wait_while(armed, |armed| armed.is_some()).unwrap());
                Ok(())
            }
        }
    }

    async fn spring_async(&self, here: Callback) -> Result<(), &'static str> {
        let armed = *self.armed.lock().unwrap();
        if armed == Some((here, Misdeed::Hang)) {
            self.sprung.fetch_add(1, Ordering::SeqCst);
            pending::<()>().await;
        }
        self.spring(here)
    }

    /// The same in a drop, which has nobody to tell of an error.
    fn spring_in_drop(&self, here: Callback) {
        if !std::thread::panicking() {
            let _ = self.spring(here);
        }
    }
}

/// The state: the number of its trap, and a sum.
pub(super) struct Cargo {
    pub(super) trap: u64,
    pub(super) sum: u64,
}

impl Serialize for Cargo {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Trap::find(self.trap).spring(Callback::EncodeState).map_err(ser::Error::custom)?;
        (self.trap, self.sum).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Cargo {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (trap, sum) = Deserialize::deserialize(from)?;
        Trap::find(trap).spring(Callback::DecodeState).map_err(de::Error::custom)?;
        Ok(Self { trap, sum })
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        Trap::find(self.trap).spring_in_drop(Callback::DropState);
    }
}

/// An input: the number of its trap, and what is to be added to the sum.
pub(super) struct Parcel {
    pub(super) trap: u64,
    pub(super) add: u64,
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.trap, self.add).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (trap, add) = Deserialize::deserialize(from)?;
        Trap::find(trap).spring(Callback::DecodeInput).map_err(de::Error::custom)?;
        Ok(Self { trap, add })
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        Trap::find(self.trap).spring_in_drop(Callback::DropInput);
    }
}

/// What a run holds.
pub(super) struct Thing(pub(super) Arc<Trap>);

impl Resource for Thing {
    async fn close(&self, _: &RunEnd) {
        let _ = self.0.spring_async(Callback::CloseHeld).await;
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.0.spring_in_drop(Callback::DropHeld);
    }
}

/// What lies in the future of a run.
struct Local(Arc<Trap>);

impl Drop for Local {
    fn drop(&mut self) {
        self.0.spring_in_drop(Callback::DropFuture);
    }
}

/// The workload, in one of its versions.
#[derive(Clone, Copy)]
pub(super) struct Hostile<const VERSION: u32>;

impl<const VERSION: u32> Workload for Hostile<VERSION> {
    const KIND: &'static str = "hostile";
    const STATE_VERSION: u32 = VERSION;
    type State = Cargo;
    type Input = Parcel;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        let trap = Trap::find(cx.state().trap);
        let _local = Local(Arc::clone(&trap));
        cx.hold(Thing(Arc::clone(&trap)));
        trap.spring_async(Callback::RunStart).await?;
        while let Some(parcel) = cx.next_input().await? {
            cx.state_mut().sum += parcel.add;
            trap.spring_async(Callback::MidTurn).await?;
        }
        trap.spring_async(Callback::AfterYield).await?;
        Ok(Outcome::Yielded)
    }

    async fn close(&self, run: &Run, _: &RunEnd) {
        let number = u64::try_from(run.session().as_uuid().as_u128()).unwrap();
        let _ = Trap::find(number).spring_async(Callback::Close).await;
    }

    fn migrate(&self, _: u32, state: serde_json::Value) -> Result<Cargo, WorkloadError> {
        let (trap, sum) = serde_json::from_value(state)?;
        Trap::find(trap).spring(Callback::Migrate)?;
        Ok(Cargo { trap, sum })
    }

    fn migrate_input(&self, _: u32, input: serde_json::Value) -> Result<Parcel, WorkloadError> {
        Ok(serde_json::from_value(input)?)
    }
}
