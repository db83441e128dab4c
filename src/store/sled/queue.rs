//! How a thread waits for the next message of a queue, but not for ever.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::clock;

/// What came of waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<T> {
    /// A message; `None` where there will be no more.
    Next(Option<T>),
    /// Nothing, for as long as was waited.
    Nothing,
}

/// Waits for the next message, for so long. For threads that run no tasks.
pub(super) fn receive<T>(queue: &mut mpsc::Receiver<T>, limit: Duration) -> Received<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let until = clock::real() + limit;
    loop {
        if let Poll::Ready(next) = queue.poll_recv(&mut context) {
            return Received::Next(next);
        }
        let left = until.saturating_duration_since(clock::real());
        if left.is_zero() {
            return Received::Nothing;
        }
        // It may return too early, and is unparked where a message came in between.
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::{Received, receive};
    use std::{thread, time::Duration};
    use tokio::sync::mpsc;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_message_is_received_that_is_there_or_comes() {
        let (sender, mut queue) = mpsc::channel(2);
        sender.try_send(1).expect("there is room");
        assert_eq!(receive(&mut queue, Duration::ZERO), Received::Next(Some(1)));
        let other = thread::spawn(move || sender.blocking_send(2).expect("it is received"));
        assert_eq!(receive(&mut queue, LONG), Received::Next(Some(2)));
        other.join().expect("sent");
        assert_eq!(receive(&mut queue, LONG), Received::Next(None), "there will be no more");
    }

    #[test]
    fn nothing_is_received_where_nothing_comes_in_time() {
        let (_sender, mut queue) = mpsc::channel::<()>(1);
        assert_eq!(receive(&mut queue, Duration::from_micros(1)), Received::Nothing);
    }
}
