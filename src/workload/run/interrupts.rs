//! How a run hears that its turn is interrupted.

use super::Run;
use crate::model::inbox::OnInterrupt;

/// The interrupts of a run, as its present turn has them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interrupts {
    /// What becomes of the input in hand, once an interrupt was decided.
    pub(super) then: Option<OnInterrupt>,
    /// How many there were that may be heard of.
    count: u32,
    /// How many of them were heard of, or came to nothing.
    heard: u32,
}

impl Interrupts {
    /// The turn is over, and with it what was asked of it.
    pub(super) fn end_turn(&mut self) {
        self.then = None;
        self.heard = self.count;
    }
}

/// What a turn that is to be interrupted has in hand.
#[derive(Debug, Clone)]
pub(crate) struct Marked {
    pub(crate) input: u64,
    /// The urgent inputs that it has taken.
    pub(crate) taken: Vec<u64>,
    /// What becomes of them: what was dropped before stays so.
    pub(crate) then: OnInterrupt,
}

impl Run {
    /// Waits until the present turn is interrupted: somebody called
    /// [`Session::interrupt`](crate::Session::interrupt). What becomes of the input in hand is decided
    /// and durable; the turn itself is the workload's to end, best by asking for the
    /// [next input](crate::Context::next_input).
    ///
    /// Everybody is told who waits when the interrupt comes. Who begins to wait later is told only if
    /// nobody has been, so that a turn can clean up, with [`busy`](Self::busy) too, after it heard of it.
    /// An interrupt never reaches the turn after the one that it was for.
    ///
    /// # Cancel safety
    /// Wholly.
    ///
    /// ```
    /// use sessionkeeper::{Context, Outcome, Workload, WorkloadError};
    ///
    /// struct Coder;
    ///
    /// impl Workload for Coder {
    ///     const KIND: &'static str = "coder";
    ///     const STATE_VERSION: u32 = 1;
    ///     type State = Vec<String>;
    ///     type Input = String;
    ///
    ///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
    ///         while let Some(prompt) = cx.next_input().await? {
    ///             let reply = tokio::select! {
    ///                 reply = answer(&prompt) => reply,
    ///                 () = cx.interrupted() => "(interrupted)".to_owned(),
    ///             };
    ///             cx.state_mut().push(reply);
    ///         }
    ///         Ok(Outcome::Yielded)
    ///     }
    /// }
    ///
    /// async fn answer(prompt: &str) -> String {
    ///     prompt.to_uppercase()
    /// }
    /// ```
    pub async fn interrupted(&self) {
        self.interrupted_after(self.heard_interrupts()).await;
    }

    /// Whether the present turn has been interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.lock().interrupts.then.is_some()
    }

    /// How many interrupts have been heard of: what [`hears_interrupt`](Self::hears_interrupt) goes by.
    pub(in crate::workload) fn heard_interrupts(&self) -> u32 {
        self.lock().interrupts.heard
    }

    /// Whether there is an interrupt that was not heard of then. It is now.
    pub(in crate::workload) fn hears_interrupt(&self, heard: u32) -> bool {
        let interrupts = &mut self.lock().interrupts;
        let hears = interrupts.then.is_some() && interrupts.count != heard;
        if hears {
            interrupts.heard = interrupts.count;
        }
        hears
    }

    pub(super) async fn interrupted_after(&self, heard: u32) {
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.hears_interrupt(heard) {
                return;
            }
            changed.await;
        }
    }
}

/// The side of the session.
impl Run {
    /// Marks the present turn as interrupted, if there is one with an input in hand. From now on its end
    /// goes by this. The run is told once that is durable.
    pub(crate) fn mark_interrupted(&self, then: OnInterrupt) -> Option<Marked> {
        let mut shared = self.lock();
        let input = shared.in_hand?;
        let then = match (shared.interrupts.then, then) {
            (Some(OnInterrupt::Drop), _) | (_, OnInterrupt::Drop) => OnInterrupt::Drop,
            (Some(OnInterrupt::Redeliver) | None, OnInterrupt::Redeliver) => OnInterrupt::Redeliver,
        };
        shared.interrupts.then = Some(then);
        drop(shared);
        Some(Marked { input, taken: self.taken(), then })
    }

    /// Tells the run that its turn is interrupted, if it is still in that.
    pub(crate) fn tell_interrupted(&self) {
        {
            let interrupts = &mut self.lock().interrupts;
            if interrupts.then.is_none() {
                return;
            }
            interrupts.count = interrupts.count.wrapping_add(1);
        }
        self.inner.changed.notify_waiters();
    }
}
