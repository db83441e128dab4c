//! The sessions and commits that store tests are made of, from the test kit.

pub(crate) use sessionkeeper::testing::{Damageable, Place, fixture::*};
