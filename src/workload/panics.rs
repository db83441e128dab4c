//! Panics in the code of users, caught so that nothing of them is left to go off.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures::FutureExt;

use super::erased::shorten;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Calls code of a user's, and says what its panic said.
pub(crate) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(defuse)
}

/// Awaits a future of a user's, and says what its panic said. The future is gone afterwards.
///
/// It is boxed before anything is awaited, so that what awaits it has no room for it.
pub(crate) fn guard_future<F: Future>(
    future: F,
) -> impl Future<Output = Result<F::Output, String>> {
    let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind());
    async move {
        let output = (&mut future).await.map_err(defuse);
        guard(|| drop(future)).and(output)
    }
}

/// Awaits a future of a user's until it has its output or is to stop, and says what its panic said. The
/// future is gone afterwards. `None`: it was stopped.
pub(crate) async fn guard_until<F: Future>(
    future: F,
    stop: impl Future,
) -> Option<Result<F::Output, String>> {
    let mut future = Box::pin(AssertUnwindSafe(future).catch_unwind());
    let output = tokio::select! {
        biased;
        output = &mut future => Some(output.map_err(defuse)),
        _ = stop => None,
    };
    let dropped = guard(|| drop(future));
    output.map(|output| dropped.and(output))
}

/// What a panic said. The payload is dropped, which may panic in turn.
pub(crate) fn defuse(payload: Payload) -> String {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its drop may panic as well, and so on without end.
        std::mem::forget(second);
    }
    shorten(said)
}

/// How the clean-up of a user's went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    Panicked,
    TookTooLong,
}

/// Awaits clean-up of a user's for a while at most. It is gone afterwards, however it went.
pub(crate) async fn guard_clean_up<T>(
    limit: Duration,
    clean_up: impl Future<Output = T>,
) -> Result<T, Mishap> {
    let mut clean_up = Box::pin(AssertUnwindSafe(clean_up).catch_unwind());
    let ended = tokio::time::timeout(limit, &mut clean_up).await;
    let dropped = guard(|| drop(clean_up));
    match ended {
        Ok(ended) => {
            let ended = ended.map_err(|panic| drop(defuse(panic)));
            dropped.map_err(drop).and(ended).map_err(|()| Mishap::Panicked)
        }
        Err(_) => Err(Mishap::TookTooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its drop panics with another one, so many times.
    struct Chain(u32);

    impl Drop for Chain {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Chain(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_caught_too() {
        for depth in [0, 1, 2, 100] {
            let caught = guard(|| std::panic::panic_any(Chain(depth)));
            assert_eq!(caught.unwrap_err(), "a panic without a message");
        }
        assert_eq!(guard(|| panic!("with a word")).unwrap_err(), "with a word");
        assert_eq!(guard(|| panic!("with {}", 1)).unwrap_err(), "with 1");
        assert_eq!(guard(|| 5), Ok(5));
    }

    #[tokio::test(start_paused = true)]
    async fn clean_up_that_panics_on_its_way_out_is_caught() {
        async fn forever(_chain: Chain) {
            std::future::pending().await
        }
        let late = guard_clean_up(Duration::from_secs(1), forever(Chain(2))).await;
        assert_eq!(late, Err(Mishap::TookTooLong));
        let panics = guard_clean_up(Duration::from_secs(1), async { drop(Chain(2)) }).await;
        assert_eq!(panics, Err(Mishap::Panicked));
        assert_eq!(guard_clean_up(Duration::from_secs(1), async {}).await, Ok(()));
        assert!(guard_future(async { drop(Chain(2)) }).await.is_err());
        let stopped = guard_until(forever(Chain(2)), std::future::ready(())).await;
        assert!(stopped.is_none());
        let ended = guard_until(async { 5 }, std::future::pending::<()>()).await;
        assert_eq!(ended, Some(Ok(5)));
    }
}
