use std::{ops::RangeBounds, sync::Arc};

use ::sled::Batch;
use tempfile::TempDir;

use super::*;
use crate::store::codec::Frame;

/// The sessions, by the first 16 bytes of their keys, whose records are found damaged in a store
/// with these keys, where all of `spoiled` have a wrong checksum.
fn found(keys: &[Vec<u8>], spoiled: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let folder = TempDir::new().expect("a folder");
    let engine = Engine::open(folder.path(), 1 << 20, Arc::default()).expect("open");
    let mut records = Batch::default();
    for key in keys {
        let mut row = codec::seal(Frame::Record, &[7; 100]);
        row[50] ^= u8::from(spoiled(key));
        records.insert(key.as_slice(), row);
    }
    engine.apply(vec![(Table::Records, records)]).expect("written");
    scan(&engine);
    let session = |damage: Damage| Some(damage.session?.as_uuid().into_bytes().to_vec());
    engine.damages.all().into_iter().filter_map(session).collect()
}

fn key(number: u128) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Sets of keys that are hard to divide, and one that is not.
fn sets() -> [Vec<Vec<u8>>; 5] {
    [
        vec![],
        vec![key(7)],
        vec![key(0), key(1), key(u128::MAX)],
        // All but one are close together.
        (1..500).map(key).chain([key(u128::MAX)]).collect(),
        (0..500).map(|number| key(number << 100 | number)).collect(),
    ]
}

#[test]
fn every_damaged_record_is_found_wherever_it_is() {
    for keys in sets() {
        assert_eq!(found(&keys, |_| true), keys);
        assert_eq!(found(&keys, |_| false), Vec::<Vec<u8>>::new());
    }
    let [.., even] = sets();
    for damaged in [[0, 1], [0, 499], [130, 370]] {
        let damaged = damaged.map(|place: usize| even[place].clone());
        assert_eq!(found(&even, |key| damaged.iter().any(|one| one == key)), damaged);
    }
}

#[test]
fn keys_that_are_no_session_are_looked_at_too() {
    let long = [key(1 << 100), vec![9; 20]].concat();
    for odd in [vec![[0; 15].to_vec(), key(9), long.clone()], vec![key(9), long, vec![255; 17]]] {
        let expected: Vec<_> =
            odd.iter().filter_map(|key| Some(key.first_chunk::<16>()?.to_vec())).collect();
        assert_eq!(found(&odd, |_| true), expected);
    }
}

#[test]
fn every_key_is_in_one_part() {
    let ends = [0, 1, 64, u128::MAX - 1, u128::MAX].map(u128::to_be_bytes);
    for cuts in [&[], &ends[..], &[[5; 16]; 3]] {
        assert_eq!(parts(cuts).count(), cuts.len() + 1);
        let keys = cuts
            .iter()
            .flat_map(|cut| [cut.to_vec(), [cut, &[0][..]].concat(), cut[..15].to_vec()]);
        for key in keys.chain([vec![], vec![255; 32]]) {
            let inside = |part: &Part<'_>| RangeBounds::<[u8]>::contains(part, key.as_slice());
            assert_eq!(parts(cuts).filter(inside).count(), 1, "{key:?}");
        }
    }
}
