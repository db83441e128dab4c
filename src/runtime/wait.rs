//! Waits that end with whoever waits.

use std::future::Future;

use tokio::{runtime::Handle, task::AbortHandle};

/// A task that ends when this is dropped.
pub(crate) struct Wait(AbortHandle);

impl Wait {
    /// Begins to wait.
    pub(crate) fn spawn(runtime: &Handle, wait: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(runtime.spawn(wait).abort_handle())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.abort();
    }
}
