//! The index in memory.

use std::ops::Bound;

use crate::store::{
    StoreError,
    index::{Index, Lookup, Rows},
};

impl Lookup for Rows {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(key).cloned())
    }
}

impl Index for Rows {
    fn below(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let range = (Bound::Unbounded, Bound::Excluded(bound));
        let found = self.range::<[u8], _>(range).next_back();
        Ok(found.map(|(key, _)| key.clone()))
    }

    fn sound(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.value(key)
    }

    fn above(&self, bound: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let range = (Bound::Excluded(bound), Bound::Unbounded);
        let found = self.range::<[u8], _>(range).next();
        Ok(found.map(|(key, _)| key.clone()))
    }
}
