//! Policies that make everything happen within seconds.

use std::{num::NonZeroU64, time::Duration};

use sessionkeeper::{
    Backoff, Limit, OnExhausted, OnIdle, OnSilence, Policy, RestartPolicy, Retention,
    WhileAbandoned,
};

use super::dice;

/// A policy as the dice say. Whatever rests is paused some time, so that others get its place.
pub(super) fn policy(dice: &mut fastrand::Rng) -> Policy {
    let secs = Duration::from_secs;
    let mut one_in = |many| dice.u8(0..many) == 0;
    let (quick, strict, patient) = (one_in(3), one_in(4), one_in(3));
    let (expires, fails) = (one_in(8), one_in(5));
    let (small, abandons) = (one_in(4), one_in(3));
    let restart = RestartPolicy {
        max_restarts: 2,
        within: secs(20),
        backoff: Backoff {
            initial: if quick { Duration::ZERO } else { Duration::from_millis(300) },
            max: secs(4),
            ..Backoff::default()
        },
        on_exhausted: if fails { OnExhausted::Fail } else { OnExhausted::Quarantine },
        ..RestartPolicy::default()
    };
    let on_silence = [OnSilence::Expire, OnSilence::Restart, OnSilence::Pause];
    let while_abandoned =
        if abandons { WhileAbandoned::AllowResume } else { WhileAbandoned::RefuseResume };
    let limited = |limited| if limited { Limit::After(secs(25)) } else { Limit::Never };
    Policy::builder()
        .heartbeat_timeout(if patient { secs(1800) } else { secs(3) })
        .on_silence(on_silence[dice.usize(0..3)])
        .idle_timeout(secs(if strict { 2 } else { 8 }))
        .on_idle(if expires { OnIdle::Expire } else { OnIdle::Pause })
        .pause_grace(secs(2))
        .stop_grace(Duration::from_millis(1500))
        .cancel_grace(Duration::from_millis(500))
        .paused_timeout(limited(expires))
        .pending_timeout(limited(expires))
        .while_abandoned(while_abandoned)
        .restart(restart)
        .max_inputs(if small { 3_u32 } else { 64 })
        .max_snapshot_bytes(5000_u64)
        .build()
        .unwrap()
}

/// How long a world keeps what has ended: most do for good.
pub(super) fn retention(seed: u64) -> Retention {
    let mut dice = dice(seed, "retention", 0);
    let mut retention = Retention::default();
    if let Some(newest) = kept_events(seed) {
        retention = retention.events(newest);
    }
    if dice.u8(0..5) == 0 {
        let mut span = || Duration::from_millis(dice.u64(0..20_000));
        retention = retention.completed(span()).failed(span()).expired(span());
        if dice.bool() {
            retention = retention.stopped(Duration::from_secs(10));
        }
        // Less than a few sessions need.
        let most = NonZeroU64::new(dice.u64(1..6000)).filter(|_| dice.bool());
        retention = most.map_or(retention, |most| retention.bytes(most));
    }
    retention
}

/// How many events are kept of each session, if not all are.
pub(super) fn kept_events(seed: u64) -> Option<NonZeroU64> {
    let mut dice = dice(seed, "kept events", 0);
    if dice.u8(0..4) == 0 { NonZeroU64::new(dice.u64(1..12)) } else { None }
}
