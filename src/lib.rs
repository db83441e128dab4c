//! Run long-lived sessions inside a worker process and never lose one.

#[cfg(panic = "abort")]
compile_error!(
    "sessionkeeper keeps one broken session from ending the others by catching its panic: \
     build with `panic = \"unwind\"`"
);

mod builder;
mod clock;
mod model;
mod policy;
mod report;
mod runtime;
mod session;
#[cfg(feature = "signals")]
mod signals;
mod start;
mod status;
pub mod store;
mod supervisor;
mod telemetry;
mod workload;

pub use builder::{BuildError, Builder};
pub use model::{
    event::{Cause, Event, EventRecord, Fact, FileAction, Lifecycle, RunEnd},
    ids::{
        ExternalId, InputId, InvalidName, Kind, Name, RunId, SessionId, StartKey, WorkerGeneration,
    },
    labels::{InvalidLabels, Labels, Metadata},
    record::{
        EndedRun, Failures, InHand, Inbox, Lane, Runs, SessionRecord, SnapshotRef, StartRequest,
        StoredInput, Transition,
    },
    snapshot::{Codec, SNAPSHOT_FORMAT, SnapshotEnvelope, SnapshotError, SnapshotHeader},
    state::{InvalidTransition, PauseCause, Phase, Restarting, State, Trigger, transition},
    time::{SupervisedTime, Timestamp, WorkerTime},
    usage::Usage,
};
pub use policy::{
    Backoff, InvalidPolicy, Limit, OnExhausted, OnIdle, OnSilence, Policy, PolicyBuilder,
    RecoverWhat, Restart, RestartPolicy, WhileAbandoned,
};
pub use report::{ShutdownLine, ShutdownOutcome, ShutdownReport};
pub use runtime::{
    error::{SendError, SessionError, StartError},
    recovery::RecoveryReport,
};
pub use session::{
    NotRunning, Paused, Receipt, Session, SessionHandle, Snapshot, StopReport, StopTicket,
};
pub use start::{Json, Slot, Start};
pub use status::{Activity, Settled, Status};
pub use supervisor::{FindError, Health, Origin, ShuttingDown, StartedSession, Supervisor};
pub use workload::{
    AwaitingGuard, BusyGuard, Context, EmitError, Held, Input, Lapsed, Outcome, Resource, Run,
    RunError, UnsupportedVersion, Workload, WorkloadError, YieldReason, YieldRequest,
};
