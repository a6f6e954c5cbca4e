//! Pictures prepared once and kept while there is room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// What is kept, with when it was last asked for.
struct CacheState<T> {
    items: HashMap<usize, (Arc<T>, usize, u64)>,
    bytes: usize,
    clock: u64,
}

/// The items most recently asked for, up to a number of bytes.
pub struct Cache<T> {
    kept: Mutex<CacheState<T>>,
    limit: usize,
}

impl<T> Cache<T> {
    /// An empty cache of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let kept = CacheState { items: HashMap::new(), bytes: 0, clock: 0 };
        Self { kept: Mutex::new(kept), limit }
    }

    /// The item, made by `make` (with its size in bytes) if it is not kept. Two workers may make the
    /// same item at once: either is right.
    ///
    /// # Errors
    /// What `make` returns.
    pub fn get(&self, key: usize, make: impl FnOnce() -> Result<(T, usize)>) -> Result<Arc<T>> {
        if let Some(item) = self.look(key) {
            return Ok(item);
        }
        let (item, bytes) = make()?;
        let item = Arc::new(item);
        self.keep(key, &item, bytes);
        Ok(item)
    }

    fn look(&self, key: usize) -> Option<Arc<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        let (item, _, used) = kept.items.get_mut(&key)?;
        *used = now;
        Some(Arc::clone(item))
    }

    fn keep(&self, key: usize, item: &Arc<T>, bytes: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        if let Some((_, bytes, _)) = kept.items.insert(key, (Arc::clone(item), bytes, now)) {
            kept.bytes -= bytes;
        }
        kept.bytes += bytes;
        while kept.bytes > self.limit {
            let oldest = kept.items.iter().min_by_key(|(_, item)| item.2).map(|(key, _)| *key);
            let Some((_, bytes, _)) = oldest.and_then(|key| kept.items.remove(&key)) else {
                return;
            };
            kept.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(20);
        let made = std::cell::Cell::new(0);
        let get = |key| {
            let make = || {
                made.set(made.get() + 1);
                Ok((key * 10, 10))
            };
            *cache.get(key, make).unwrap()
        };
        assert_eq!([get(1), get(2), get(1), get(3)], [10, 20, 10, 30]);
        assert_eq!(made.get(), 3);
        assert_eq!(get(1), 10); // still there
        assert_eq!(made.get(), 3);
        assert_eq!(get(2), 20); // gone, made again
        assert_eq!(made.get(), 4);
    }
}
