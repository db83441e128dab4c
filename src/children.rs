//! Children: sessions that a session starts as a part of its own work.

use std::sync::Arc;

use crate::{
    model::{
        family::{ChildEnd, OnParent},
        ids::{ChildKey, RunId, SessionId, StartKey},
        lineage::Links,
        state::State,
    },
    runtime::{
        core::Core,
        error::{ChildError, SessionError, StartError},
        op::{Op, Started},
    },
    session::{self, Session},
    start::{self, Request, Start},
    store::{Cursor, Query, Related},
    supervisor::{self, StartedSession},
    workload::{Run, Workload},
};

/// How many generations of parents a session may have: so nothing that starts itself goes on without end.
pub const MAX_CHILD_DEPTH: u32 = 16;
/// How many children are read at once.
const PAGE: usize = 128;

impl<W> Start<W> {
    /// Starts the session as a child of another one, which has not been stopped and has not ended. What the child does
    /// when its parent moves says [`on_parent`](Self::on_parent).
    ///
    /// A child is a session as any other: it takes a place under `max_active` of its own, and has its own policy. Its
    /// record names the parent ([`Links::parent`](crate::Links::parent)); a parent's children are found by
    /// [`Related::children_of`], and by [`Session::lineage`].
    pub const fn child_of(mut self, parent: SessionId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// What the child does when its parent is paused, stopped or ends. It holds for a child only.
    pub const fn on_parent(mut self, on_parent: OnParent) -> Self {
        self.on_parent = on_parent;
        self
    }
}

/// Children of a run's session.
///
/// ```
/// use sessionkeeper::{Context, Outcome, Start, Workload, WorkloadError};
///
/// struct Coder;
/// struct Reviewer;
/// # impl Workload for Reviewer {
/// #     const KIND: &'static str = "reviewer";
/// #     const STATE_VERSION: u32 = 1;
/// #     type State = String;
/// #     type Input = String;
/// #     async fn run(&self, _: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
/// #         Ok(Outcome::Completed)
/// #     }
/// # }
///
/// impl Workload for Coder {
///     const KIND: &'static str = "coder";
///     const STATE_VERSION: u32 = 1;
///     type State = Vec<String>;
///     type Input = String;
///
///     async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
///         while let Some(patch) = cx.next_input().await? {
///             let key = format!("review {}", patch.sequence()).parse()?;
///             let start = Start::<Reviewer>::new(patch.into_inner());
///             let review = cx.start_child(key, start).await?.id();
///             let Some(end) = cx.child_ended(review).await? else { break };
///             cx.state_mut().push(format!("{} is {}", end.child, end.state));
///         }
///         Ok(Outcome::Yielded)
///     }
/// }
/// ```
impl Run {
    /// Starts a child of the session. On return it is durable.
    ///
    /// The key is unique among the children of the session: where the turn is done again after a crash, the same key
    /// gives the same child, in whatever state that is by then. It takes the place of a
    /// [key of the start](Start::key), and so it is the same only where the same is asked for: ask from what was given, or
    /// from the result of a [step](Run::step). The child is not undone where the turn is.
    ///
    /// The child is a session of its own: it needs a place under `max_active`, and is pending until there is one. A parent that
    /// waits for it keeps its own place. So where parents may hold all places, let them yield and be woken:
    /// [`Workload::on_child_end`].
    ///
    /// # Errors
    /// [`StartError`]: among others, if the session was stopped or has ended meanwhile, if this run is not its
    /// current one any more, or if it has too many children.
    ///
    /// # Cancel safety
    /// Once polled, dropping it withdraws nothing. It can be repeated without harm.
    pub async fn start_child<C: Workload>(
        &self,
        key: ChildKey,
        start: Start<C>,
    ) -> Result<StartedSession<C>, StartError> {
        let parent = self.session();
        let core = self.core()?;
        let mut start = start.child_of(parent);
        start.key = Some(start_key(parent, &key));
        supervisor::start_typed(&core, start, Some(self.id())).await
    }

    /// Waits until a child of the session has ended: completed, failed, expired or stopped. A child that is rolled over goes on as
    /// its successor. `None`: this run is asked to yield, and the child has not ended.
    ///
    /// It is durable in that it may be asked again, in a later run or after a crash, and gives the same; of a child that was
    /// stopped, until that is resumed. While it waits, the session counts as [awaiting](Run::awaiting) and is never
    /// taken for dead.
    ///
    /// A child that was deleted is not found, however it had ended. To hear of each end whatever becomes of the child,
    /// take it as an input: [`Workload::on_child_end`].
    ///
    /// # Errors
    /// [`ChildError`]: among others, if the session is no child of this one.
    ///
    /// # Cancel safety
    /// Wholly.
    pub async fn child_ended(&self, child: SessionId) -> Result<Option<ChildEnd>, ChildError> {
        let parent = self.session();
        let core = self.core()?;
        let _awaiting = self.awaiting(format!("the end of its child {child}"));
        let first = session::status(&core, child).await?;
        if first.record().links().parent != Some(parent) {
            return Err(ChildError::NotAChild { session: child, parent });
        }
        let kind = first.kind().clone();
        drop(first);
        let mut waited_for = Session::new(core, child, kind);
        loop {
            let rests = [State::Completed, State::Failed, State::Expired, State::Stopped];
            let status = tokio::select! {
                biased;
                status = waited_for.wait_for(&rests) => status?,
                _ = self.yield_requested() => return Ok(None),
            };
            let record = status.record();
            if let Some(next) = record.links().transitioned_to {
                waited_for = waited_for.at(next);
            } else if let Some(end) = ChildEnd::of(record) {
                return Ok(Some(end));
            }
        }
    }

    fn core(&self) -> Result<Arc<Core>, SessionError> {
        let worker = self.worker().and_then(|worker| worker.downcast::<Core>().ok());
        worker.ok_or(SessionError::ShuttingDown { session: self.session() })
    }
}

/// The start key of a child.
fn start_key(parent: SessionId, key: &ChildKey) -> StartKey {
    StartKey::new(format!("{}{key}", prefix(parent)))
        .expect("a child's key leaves room for its parent")
}

fn prefix(parent: SessionId) -> String {
    format!("child:{parent}:")
}

/// Whose child a session is to be.
pub(crate) struct Birth {
    pub(crate) parent: SessionId,
    pub(crate) on_parent: OnParent,
    /// The run of the parent that starts it, if one does.
    pub(crate) run: Option<RunId>,
}

/// Starts a child. It is a task of its own, so that dropping the future of a caller withdraws nothing on the way from one step to the
/// next.
pub(crate) async fn start(
    core: &Arc<Core>,
    birth: Birth,
    request: Request,
    has_new_id: bool,
) -> Result<Started, StartError> {
    let session = request.record.id;
    let starting = start_in_turn(Arc::clone(core), birth, request, has_new_id);
    match core.runtime.spawn(starting).await {
        Ok(started) => started,
        // The runtime is going down with the task.
        Err(_) => Err(SessionError::OutcomeUnknown { session }.into()),
    }
}

async fn start_in_turn(
    core: Arc<Core>,
    birth: Birth,
    mut request: Request,
    has_new_id: bool,
) -> Result<Started, StartError> {
    let Birth { parent, on_parent, run } = birth;
    // One after the other for a parent, so that no more of them are alive than may be.
    let turn = core.bearing.of(parent);
    let _turn = turn.lock().await;
    // The same start comes to the same, whatever became of the parent since.
    if let Some(asked) = &request.record.start_key
        && let Some(record) = start::made_before(&core, request.record.id, asked).await?
    {
        return Ok(Started::Repeated(record.id));
    }
    let above = session::status(&core, parent).await?;
    let above = above.record();
    let depth = above.links().depth;
    if depth >= MAX_CHILD_DEPTH {
        return Err(StartError::TooDeep { parent, limit: MAX_CHILD_DEPTH });
    }
    let limit = core.policy_of(above).max_children();
    if count_alive(&core, parent, limit).await? >= limit as usize {
        return Err(StartError::TooManyChildren { parent, limit });
    }
    // The parent knows of its children before there are any: what it does from now on is done for them too.
    session::ask(&core, parent, |reply| Op::Bear { run, reply }).await?;
    request.record.lineage = Some(Box::new(Links::of_child(parent, depth, on_parent)));
    supervisor::ask_to_start(&core, request, has_new_id).await
}

/// How many children of a session have not ended; no more are counted than so many.
async fn count_alive(core: &Core, parent: SessionId, most: u32) -> Result<usize, SessionError> {
    let read = |error| SessionError::read(parent, error);
    let mut alive = 0;
    let mut after: Option<Cursor> = None;
    while alive < most as usize {
        let query = Query {
            related: Some(Related::children_of(parent)),
            states: vec![State::Pending, State::Active, State::Paused, State::Stopping],
            after,
            limit: PAGE,
            ..Query::default()
        };
        let page = core.store().map_err(read)?.list(query).await.map_err(read)?;
        alive += page.records.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(alive)
}
