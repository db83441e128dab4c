//! Run long-lived sessions inside a worker process and never lose one.

mod model;
mod policy;
pub mod store;

pub use model::{
    event::{Cause, Event, EventRecord, Fact, FileAction, Lifecycle, RunEnd},
    ids::{
        ExternalId, InputId, InvalidName, Kind, Name, RunId, SessionId, StartKey, WorkerGeneration,
    },
    labels::{InvalidLabels, Labels, Metadata},
    record::{
        Failures, InHand, Inbox, Lane, Runs, SessionRecord, SnapshotRef, StartRequest, StoredInput,
        Transition,
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
