//! Pictures prepared once and kept while there is room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// What is kept.
struct CacheState<T> {
    items: HashMap<usize, Arc<T>>,
    bytes: usize,
}

/// The items that were asked for first, up to a number of bytes. Of more pictures than there is room for, each is asked for
/// once a pass: whoever puts out the oldest of them for the newest finds hardly any again, and who keeps those that are
/// there finds as large a share as there is room for.
pub struct Cache<T> {
    kept: Mutex<CacheState<T>>,
    limit: usize,
}

impl<T> Cache<T> {
    /// An empty cache of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { kept: Mutex::new(CacheState { items: HashMap::new(), bytes: 0 }), limit }
    }

    /// The item, made by `make` (with its size in bytes) if it is not kept. Two workers may make the
    /// same item at once: either is right.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get(&self, key: usize, make: impl FnOnce() -> Result<(T, usize)>) -> Result<Arc<T>> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = kept().items.get(&key) {
            return Ok(Arc::clone(item));
        }
        let (item, bytes) = make()?;
        let item = Arc::new(item);
        let mut kept = kept();
        if kept.bytes + bytes <= self.limit && !kept.items.contains_key(&key) {
            kept.bytes += bytes;
            kept.items.insert(key, Arc::clone(&item));
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_and_what_has_no_room_is_made_anew() {
        let cache = Cache::new(25);
        let made = std::cell::Cell::new(0);
        let get = |key| {
            let make = || {
                made.set(made.get() + 1);
                Ok((key * 10, 10))
            };
            *cache.get(key, make).unwrap()
        };
        for pass in 1..4 {
            assert_eq!([get(1), get(2), get(3)], [10, 20, 30]);
            assert_eq!(made.get(), 2 + pass);
        }
        // A smaller one still finds room.
        for _ in 0..2 {
            assert_eq!(*cache.get(4, || Ok((4, 5))).unwrap(), 4);
        }
        assert_eq!(*cache.get(4, || Ok((0, 5))).unwrap(), 4);
    }
}
