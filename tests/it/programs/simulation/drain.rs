//! The last life of a world: every session is brought to its end.

use std::time::Duration;

use sessionkeeper::State;

use super::{
    deeds::{Caller, HANGS},
    looks::is_zombie,
    world::World,
};
use crate::oracle::programs::Alive;

impl World {
    /// Every session ends by itself, as far as it does, or is stopped.
    pub(super) async fn drain(&self, caller: &mut Caller) {
        if tokio::time::timeout(HANGS, caller.supervisor.recovered()).await.is_err() {
            return caller.wrong("a recovery is never over".to_owned());
        }
        let known = self.shared.lock().unwrap().known.clone();
        for known in known {
            let Some(session) = caller.session(&known).await else {
                continue;
            };
            let settled = session.settled();
            let patience = Duration::from_millis(caller.dice.u64(0..400));
            if tokio::time::timeout(patience, settled).await.is_err() {
                let stopped = caller.stop(&session, session.stop());
                if tokio::time::timeout(HANGS, stopped).await.is_err() {
                    caller.wrong(format!("a calm stop of {} hangs", known.id));
                }
            }
            // One that is quarantined is paused, and holds nothing.
            let rests = [State::Stopped, State::Completed, State::Failed, State::Paused];
            let state = session.status().await.map(|status| status.state());
            if !matches!(&state, Ok(state) if rests.contains(state)) {
                caller.wrong(format!("in the end, {} is {state:?}", known.id));
            }
        }
    }

    /// Whatever lives on that nobody needs is gone soon.
    pub(super) async fn wait_until_gone(&self, whose: &str) {
        let gone = async {
            while !self.looker.look().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), gone).await.is_err() {
            self.wrong(format!("{whose}: {:?} live on", self.looker.look()));
        }
    }

    /// Whatever was seen has been reaped.
    pub(super) async fn wait_until_reaped(&self, seen: &[Alive]) {
        let mut zombies: Vec<_> = seen.iter().filter(|one| is_zombie(one)).collect();
        for _ in 0..100 {
            if zombies.is_empty() {
                return;
            }
            // What a lost runtime was to reap is reaped when the next child of any other ends.
            let _ = tokio::process::Command::new("true").status().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            zombies.retain(|one| is_zombie(one));
        }
        self.wrong(format!("nobody has reaped {zombies:?}"));
    }
}
