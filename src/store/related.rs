//! Sessions by those that they come from.

use crate::model::{ids::SessionId, lineage::Relation, record::SessionRecord};

/// What comes from a session.
///
/// ```
/// # use sessionkeeper::{SessionId, store::{Query, Related}};
/// # fn forks(session: SessionId) -> Query {
/// Query { related: Some(Related::forks_of(session)), ..Query::default() }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The session that they come from.
    pub to: SessionId,
    /// What they are to it; empty: anything.
    pub relations: Vec<Relation>,
}

impl Related {
    /// Whatever comes from a session.
    pub const fn all_of(session: SessionId) -> Self {
        Self { to: session, relations: Vec::new() }
    }

    /// The forks of a session.
    pub fn forks_of(session: SessionId) -> Self {
        Self { to: session, relations: vec![Relation::Fork] }
    }

    /// The children of a session.
    pub fn children_of(session: SessionId) -> Self {
        Self { to: session, relations: vec![Relation::Child] }
    }

    /// The successor of a session.
    pub fn successor_of(session: SessionId) -> Self {
        Self { to: session, relations: vec![Relation::Successor] }
    }

    /// Whether a record comes from the session so.
    pub fn matches(&self, record: &SessionRecord) -> bool {
        let is_wanted = |relation| self.relations.is_empty() || self.relations.contains(&relation);
        record.links().sources().any(|(relation, to)| to == self.to && is_wanted(relation))
    }
}
