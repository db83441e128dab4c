//! Who comes from whom: the ancestors and the descendants of a session.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use futures::{Stream, StreamExt, stream};

use crate::{
    model::{
        ids::{Kind, SessionId},
        lineage::{Links, Relation},
        record::SessionRecord,
        state::State,
        time::Timestamp,
    },
    runtime::{core::Core, error::SessionError},
    session::Session,
    store::{Cursor, Query, Related, StoreError},
    supervisor::Supervisor,
};

/// How many relatives of one session are read at once.
const PAGE: usize = 32;

/// The chain and the tree of a session: what it comes from, and what comes from it, by forks, children and
/// successors.
///
/// Both are streams, read as they are asked for: of a tree of any size, only the path to where the reader
/// stands is in memory. What is made meanwhile may be among them or not.
///
/// ```no_run
/// # use futures::StreamExt;
/// # use sessionkeeper::Session;
/// # async fn example(session: Session) -> Result<(), Box<dyn std::error::Error>> {
/// let lineage = session.lineage().await?;
/// let mut descendants = lineage.descendants();
/// while let Some(relative) = descendants.next().await {
///     let relative = relative?;
///     let indent = 2 * usize::try_from(relative.distance)?;
///     println!("{:indent$}{} ({})", "", relative.session, relative.relation);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lineage {
    core: Arc<Core>,
    session: SessionId,
    links: Links,
}

/// A session that another one comes from, or that comes from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relative {
    /// It.
    pub session: SessionId,
    /// How far it is from the session that was asked about: 1 is next to it.
    pub distance: u64,
    /// The session through which it was found, which is one step nearer.
    pub through: SessionId,
    /// What the younger of the two is to the older: of an ancestor, what `through` is to it; of a descendant, what it is to
    /// `through`.
    pub relation: Relation,
    /// What is stored about it.
    pub presence: Presence,
}

/// What is stored about a relative.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// Its record.
    Stored {
        /// Its kind.
        kind: Kind,
        /// Its state.
        state: State,
        /// When it was accepted.
        created_at: Timestamp,
        /// What it comes from, and its successor.
        links: Links,
    },
    /// Nothing: it was deleted. What it came from itself is not known any more.
    Gone,
    /// Its record cannot be read. What it came from is not known.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl Presence {
    fn of(record: &SessionRecord) -> Self {
        Self::Stored {
            kind: record.kind.clone(),
            state: record.state(),
            created_at: record.created_at,
            links: record.links(),
        }
    }

    fn links(&self) -> Links {
        match self {
            Self::Stored { links, .. } => *links,
            Self::Gone | Self::Unreadable { .. } => Links::default(),
        }
    }
}

impl Supervisor {
    /// What a session comes from, and what comes from it.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails. What comes from a session that is gone is found by
    /// [`list`](Self::list) with [`Query::related`].
    pub async fn lineage(&self, session: SessionId) -> Result<Lineage, SessionError> {
        Lineage::of(self.core(), session).await
    }
}

impl Session {
    /// What the session comes from, and what comes from it: see [`Supervisor::lineage`].
    ///
    /// # Errors
    /// [`SessionError::NotFound`], or a store that fails.
    pub async fn lineage(&self) -> Result<Lineage, SessionError> {
        Lineage::of(self.core(), self.id()).await
    }
}

impl Lineage {
    async fn of(core: &Arc<Core>, session: SessionId) -> Result<Self, SessionError> {
        let read = |error| SessionError::read(session, error);
        let record = core.load(session).await.map_err(read)?;
        let record = record.ok_or(SessionError::NotFound { session })?;
        Ok(Self { core: Arc::clone(core), session, links: record.links() })
    }

    /// The session that was asked about.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// What it comes from, and its successor.
    pub const fn links(&self) -> Links {
        self.links
    }

    /// What it comes from, and what that comes from, up to the roots: the nearest first, each session once. One that was
    /// deleted is named as gone. The stream ends after an error.
    pub fn ancestors(
        &self,
    ) -> impl Stream<Item = Result<Relative, SessionError>> + Send + Unpin + use<> {
        let mut up = Up {
            core: Arc::clone(&self.core),
            waiting: VecDeque::new(),
            seen: HashSet::from([self.session]),
        };
        up.push(self.session, 0, self.links);
        let ancestors = stream::unfold(Some(up), async |up| {
            let mut up = up?;
            let next = up.next().await.transpose()?;
            let is_last = next.is_err();
            Some((next, (!is_last).then_some(up)))
        });
        ancestors.boxed()
    }

    /// What comes from it, and what comes from that: each session before what comes from it, once, and of those beside one
    /// another the newest first. The stream ends after an error.
    pub fn descendants(
        &self,
    ) -> impl Stream<Item = Result<Relative, SessionError>> + Send + Unpin + use<> {
        let mut down = Down {
            core: Arc::clone(&self.core),
            path: Vec::new(),
            on_path: HashSet::new(),
            met: HashSet::new(),
        };
        down.enter(self.session);
        let descendants = stream::unfold(Some(down), async |down| {
            let mut down = down?;
            let next = down.next().await.transpose()?;
            let is_last = next.is_err();
            Some((next, (!is_last).then_some(down)))
        });
        descendants.boxed()
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lineage")
            .field("session", &self.session)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// The way up.
struct Up {
    core: Arc<Core>,
    waiting: VecDeque<Step>,
    seen: HashSet<SessionId>,
}

/// One step from a session to another that it comes from.
struct Step {
    session: SessionId,
    distance: u64,
    through: SessionId,
    relation: Relation,
}

impl Up {
    fn push(&mut self, through: SessionId, distance: u64, links: Links) {
        for (relation, session) in links.sources() {
            if self.seen.insert(session) {
                self.waiting.push_back(Step { session, distance: distance + 1, through, relation });
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Relative>, SessionError> {
        let Some(Step { session, distance, through, relation }) = self.waiting.pop_front() else {
            return Ok(None);
        };
        let read = |error| SessionError::read(session, error);
        let presence = match self.core.load(session).await {
            Ok(Some(record)) => Presence::of(&record),
            Ok(None) => Presence::Gone,
            Err(StoreError::Damaged { reason, .. }) => Presence::Unreadable { reason },
            Err(error) => return Err(read(error)),
        };
        self.push(session, distance, presence.links());
        Ok(Some(Relative { session, distance, through, relation, presence }))
    }
}

/// The way down, depth first.
struct Down {
    core: Arc<Core>,
    /// Those that are open, from the session that was asked about to the last one that was found.
    path: Vec<Open>,
    /// The same, so that a store that was tampered with leads nobody in a circle.
    on_path: HashSet<SessionId>,
    /// Those that can be met again, on another way, because they come from several.
    met: HashSet<SessionId>,
}

/// A session whose descendants are not all found yet.
struct Open {
    session: SessionId,
    /// What comes from it and was read.
    read: VecDeque<(Relation, SessionId, Presence)>,
    /// Where the next page begins; `None` where there is none.
    more: Option<Option<Cursor>>,
}

impl Down {
    fn enter(&mut self, session: SessionId) {
        self.on_path.insert(session);
        self.path.push(Open { session, read: VecDeque::new(), more: Some(None) });
    }

    async fn next(&mut self) -> Result<Option<Relative>, SessionError> {
        loop {
            let distance = self.path.len() as u64;
            let Some(open) = self.path.last_mut() else {
                return Ok(None);
            };
            let through = open.session;
            if let Some((relation, session, presence)) = open.read.pop_front() {
                let is_met =
                    presence.links().sources().nth(1).is_some() && !self.met.insert(session);
                if is_met || self.on_path.contains(&session) {
                    continue;
                }
                self.enter(session);
                return Ok(Some(Relative { session, distance, through, relation, presence }));
            }
            match open.more {
                Some(after) => open.read_on(&self.core, after).await?,
                None => {
                    self.on_path.remove(&through);
                    self.path.pop();
                }
            }
        }
    }
}

impl Open {
    async fn read_on(&mut self, core: &Core, after: Option<Cursor>) -> Result<(), SessionError> {
        let read = |error| SessionError::read(self.session, error);
        let related = Some(Related::all_of(self.session));
        let query = Query { related, after, limit: PAGE, ..Query::default() };
        let page = core.store().map_err(read)?.list(query).await.map_err(read)?;
        let to = self.session;
        self.read.extend(page.records.iter().filter_map(|record| {
            let (relation, _) = record.links().sources().find(|(_, source)| *source == to)?;
            Some((relation, record.id, Presence::of(record)))
        }));
        self.more = page.next.map(Some);
        Ok(())
    }
}
