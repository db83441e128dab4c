//! What the rows of programs share.

use std::path::Path;

use sessionkeeper::{
    Policy, Restart, RestartPolicy, Supervisor,
    process::{Launcher, ProcessWorkload},
};

use crate::workloads;

/// A supervisor of programs on a store in a folder. None is run again: where one fails,
/// that is to be seen.
pub(crate) async fn supervise(folder: &Path) -> anyhow::Result<Supervisor> {
    let restart = RestartPolicy { restart: Restart::Never, ..RestartPolicy::default() };
    let policy = Policy::builder().restart(restart).build()?;
    let programs = ProcessWorkload::new(Launcher::new()?);
    Ok(workloads::builder(folder)?.workload(programs).policy(policy).start().await?)
}
