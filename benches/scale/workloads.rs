//! The workloads that are measured, and how many of them are brought up.

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use sessionkeeper::{
    Context, Outcome, SessionHandle, Start, Supervisor, Workload, WorkloadError, store::SledStore,
};

/// How many callers ask at once.
pub(crate) const CALLERS: usize = 512;

/// Has no state and does nothing.
pub(crate) struct Idle;

impl Workload for Idle {
    const KIND: &'static str = "idle";
    const STATE_VERSION: u32 = 1;
    type State = ();
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        while cx.next_input().await?.is_some() {}
        Ok(Outcome::Yielded)
    }
}

/// A supervisor of idle sessions on a store in a folder.
pub(crate) async fn supervise(folder: &Path) -> anyhow::Result<Supervisor> {
    Ok(Supervisor::builder(SledStore::open(folder)?).workload(Idle).start().await?)
}

/// Starts so many idle sessions.
pub(crate) async fn start(
    supervisor: &Supervisor,
    count: usize,
) -> anyhow::Result<Vec<SessionHandle<Idle>>> {
    let bar = progress("start", count);
    let all = stream::iter(0..count)
        .map(|_| supervisor.start(Start::<Idle>::new(())))
        .buffered(CALLERS)
        .inspect(|_| bar.inc(1))
        .map_ok(|started| started.into_handle())
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(all)
}

/// A bar on the terminal, if there is one.
pub(crate) fn progress(what: &'static str, count: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<12} {wide_bar} {pos}/{len} {per_sec}");
    let bar = ProgressBar::new(count as u64).with_message(what);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
