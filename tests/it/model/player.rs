//! The workload of the model: it does what [`Work`] says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sessionkeeper::{
    ChildEnd, ChildKey, Context, Event, ExternalId, Outcome, Run, RunEnd, SessionId, Start, Usage,
    Workload, WorkloadError, testing::WallClock,
};
use tokio::time::sleep;

use super::reference::{Done, Manner, Ms, Work, note_of_end, word_for};
use super::world::rollover;

#[derive(Clone)]
pub(super) struct Player {
    /// How long its clean-up takes.
    pub(super) closing: Ms,
    /// By what it knows when to wake.
    pub(super) clock: WallClock,
    /// Hears of sessions in the order in which they are made.
    pub(super) born: Arc<dyn Fn(SessionId) + Send + Sync>,
    /// How many runs are at work.
    pub(super) alive: Arc<AtomicUsize>,
}

struct Alive<'a>(&'a AtomicUsize);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Player {
    fn sleep(&self, span: Ms, woken_by_input: bool) -> Outcome {
        let at = self.clock.now() + ms(span);
        if woken_by_input { Outcome::sleep_until_or_input(at) } else { Outcome::sleep_until(at) }
    }
}

impl Workload for Player {
    const KIND: &'static str = "player";
    const STATE_VERSION: u32 = 1;
    type State = Done;
    type Input = Work;

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        let _alive = Alive(&self.alive);
        (self.born)(cx.session());
        while let Some(input) = cx.next_input().await? {
            let attempt = input.attempt();
            cx.state_mut().seen.push(input.sequence());
            match *input {
                Work::Add(number) => cx.state_mut().sum += i64::from(number),
                Work::Fail(times) if attempt <= times => return Err("told to fail".into()),
                // A panic that says nothing on stderr.
                Work::Panic(times) if attempt <= times => {
                    std::panic::resume_unwind(Box::new("told to panic"));
                }
                Work::RetryAfter(wait) if attempt == 1 => {
                    return Err(WorkloadError::retry_after(ms(wait), "told to wait"));
                }
                Work::Yield(times) if attempt <= times => return Ok(Outcome::Yielded),
                Work::Save(number) if attempt == 1 => {
                    cx.state_mut().sum += i64::from(number);
                    cx.save_progress().await?;
                    cx.state_mut().sum += 1_000_000;
                    return Err("told to fail after saving".into());
                }
                Work::Sleep(span, wake) if attempt == 1 => return Ok(self.sleep(span, wake)),
                Work::Doze(span, wake) => {
                    cx.checkpoint().await?;
                    return Ok(self.sleep(span, wake));
                }
                Work::Fail(_) | Work::Panic(_) | Work::RetryAfter(_) => {}
                Work::Yield(_) | Work::Save(_) | Work::Sleep(..) => {}
                Work::Tell { events, external } => {
                    for number in 0..events {
                        cx.emit(Event::custom("told", number)).await?;
                    }
                    cx.record_usage(Usage::tokens(1, 1));
                    if let Some(external) = external {
                        cx.set_external_id(external_id(external));
                    }
                }
                Work::Bear(birth) => {
                    let mut start = Start::<Self>::new(Done::default()).on_parent(birth.on_parent);
                    if let Some(work) = birth.errand.work() {
                        start = start.input(work);
                    }
                    let key = ChildKey::new(birth.key.to_string())?;
                    let child = cx.start_child(key, start).await?.id();
                    (self.born)(child);
                    if birth.wait {
                        let Some(end) = cx.child_ended(child).await? else {
                            return Ok(Outcome::Yielded);
                        };
                        cx.state_mut().ends.push(note_of_end(end.state, end.cause));
                    }
                }
                Work::RollOver(fresh) => return Ok(cx.rollover(rollover(&fresh.into()))),
                Work::GiveUp => return Err(WorkloadError::permanent("told to give up")),
                Work::Finish => return Ok(Outcome::Completed),
                Work::Last(Manner::Polite, span) => tokio::select! {
                    biased;
                    () = sleep(ms(span)) => {}
                    _ = cx.yield_requested() => return Ok(Outcome::Yielded),
                    () = cx.interrupted() => {}
                },
                Work::Last(manner, span) => last(cx, manner, ms(span)).await?,
            }
        }
        Ok(Outcome::Yielded)
    }

    fn on_child_end(&self, end: &ChildEnd) -> Option<Work> {
        Some(Work::Add(word_for(end.state)))
    }

    async fn close(&self, _: &Run, _: &RunEnd) {
        if self.closing > 0 {
            sleep(ms(self.closing)).await;
        }
    }
}

async fn last(run: &Run, manner: Manner, span: Duration) -> Result<(), WorkloadError> {
    match manner {
        Manner::Silent | Manner::Polite => sleep(span).await,
        Manner::Beating => {
            let end = tokio::time::Instant::now() + span;
            while tokio::time::timeout_at(end, sleep(Duration::from_secs(5))).await.is_ok() {
                run.heartbeat();
            }
        }
        Manner::Busy => run.busy(span * 2, sleep(span)).await?,
        Manner::Late => run.busy(span / 2, sleep(span)).await?,
        Manner::Awaiting => {
            let _waiting = run.awaiting("an answer");
            sleep(span).await;
        }
    }
    Ok(())
}

pub(super) const fn ms(span: Ms) -> Duration {
    Duration::from_millis(span)
}

pub(super) fn external_id(number: u8) -> ExternalId {
    ExternalId::new(format!("external/{number}")).unwrap()
}
