//! A map that forgets what wasn't used for long.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Keeps between `capacity` and twice as many of the entries used last: when the young ones are that many, they become the
/// old ones, and what was old goes. An entry that is used becomes young again.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Clone + Eq + Hash, V: Clone> Bounded<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, young: HashMap::new(), old: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.old.remove(key);
        self.young.remove(key).or(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_the_last_ones_and_never_more_than_twice_as_many(keys in prop::collection::vec(0_u8..40, 0..200)) {
            let mut map = Bounded::new(5);
            for (n, key) in keys.iter().enumerate() {
                map.insert(*key, n);
                prop_assert_eq!(map.get(key), Some(n));
                prop_assert!(map.young.len() <= 5 && map.young.len() + map.old.len() <= 10);
            }
            let mut last: Vec<u8> = Vec::new();
            for key in keys.iter().rev() {
                if !last.contains(key) {
                    last.push(*key);
                }
            }
            for key in last.iter().take(5) {
                prop_assert!(map.remove(key).is_some());
                prop_assert!(map.get(key).is_none());
            }
        }
    }
}
