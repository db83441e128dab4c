//! The one decision whether a commit is done, for every store of the library.

use super::{Commit, Refusal, StoreError, index};
use crate::{
    faults::{self, Bug},
    model::{ids::InputId, record::SessionRecord},
};

/// What becomes of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be done.
    Do,
    /// It was done before: it is answered with `Ok` and changes nothing.
    AlreadyIn,
    /// Nothing of it is done.
    Refuse(Refusal),
}

/// Decides about a commit.
///
/// `old` is the stored record of its session. `input` says what is known of an input id of the same session: its
/// sequence and the checksum of its payload.
pub(super) fn admit(
    commit: &Commit,
    old: Option<&SessionRecord>,
    index: &impl index::Lookup,
    input: impl Fn(&InputId) -> Result<Option<(u64, u32)>, StoreError>,
) -> Result<Verdict, StoreError> {
    let record = &commit.record;
    let found = old.map(|old| old.version);
    let is_same =
        |old: &SessionRecord| old.version == record.version && old.writer == record.writer;
    if old.is_some_and(is_same) {
        return Ok(Verdict::AlreadyIn);
    }
    // Nothing brings a deleted session back: not its run, not a start that is repeated.
    let revives = old.is_some_and(SessionRecord::is_deleted) && !record.is_deleted();
    if revives && !faults::planted(Bug::ReviveDeleted) {
        return Ok(Verdict::Refuse(Refusal::Deleted));
    }
    let replaced = record.version.checked_sub(1).filter(|version| *version > 0);
    let unexpected = found != replaced || record.version == 0;
    if unexpected && !faults::planted(Bug::SkipVersionCheck) {
        return Ok(Verdict::Refuse(Refusal::Version { found }));
    }
    // First of all: a start that is repeated meets its own name. What is its own already needs no look.
    if let Some(start) = &record.start_key
        && old.and_then(|old| old.start_key.as_ref()) != Some(start)
        && let Some((holder, digest)) = index::started(index, &start.key)?
        && holder != record.id
    {
        return Ok(Verdict::Refuse(Refusal::StartKeyTaken { holder, digest }));
    }
    if let Some(name) = &record.name
        && !record.state().is_terminal()
        && !record.is_deleted()
        && !old.is_some_and(|old| old.name.as_ref() == Some(name) && !old.state().is_terminal())
        && let Some(holder) = index::holder(index, name)?
        && holder != record.id
    {
        return Ok(Verdict::Refuse(Refusal::NameTaken { holder }));
    }
    if faults::planted(Bug::ForgetInputId) {
        return Ok(Verdict::Do);
    }
    for (place, new) in commit.inputs.iter().enumerate() {
        let Some(id) = &new.id else { continue };
        let earlier = commit.inputs.iter().take(place);
        let twin = earlier.filter(|earlier| earlier.id.as_ref() == Some(id));
        let taken = match input(id)? {
            Some(taken) => Some(taken),
            None => twin.map(|twin| (twin.sequence, crc32fast::hash(&twin.payload))).next(),
        };
        if let Some((sequence, checksum)) = taken {
            return Ok(Verdict::Refuse(Refusal::InputTaken { id: id.clone(), sequence, checksum }));
        }
    }
    Ok(Verdict::Do)
}

/// Decides about the successor that comes with a commit which is to be done: why the two are not done, if so.
///
/// `found` is what is stored under the id of the new session, and `after` the index with this commit done.
pub(super) fn admit_successor(
    commit: &Commit,
    successor: &Commit,
    found: Option<&SessionRecord>,
    after: &impl index::Lookup,
) -> Result<Option<Refusal>, StoreError> {
    let refuse = |refusal| Ok(Some(Refusal::Successor(Box::new(refusal))));
    // The first version of the same writer may be that of another start, not a repetition: the
    // commit that it would have come with is not in.
    if let Some(found) = found {
        return refuse(Refusal::Version { found: Some(found.version) });
    }
    let is_first = successor.record.version == 1 && successor.record.id != commit.record.id;
    if !is_first || successor.successor.is_some() {
        return refuse(Refusal::Version { found: None });
    }
    match admit(successor, None, after, |_| Ok(None))? {
        Verdict::Do | Verdict::AlreadyIn => Ok(None),
        Verdict::Refuse(refusal) => refuse(refusal),
    }
}
