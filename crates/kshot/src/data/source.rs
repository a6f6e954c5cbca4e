//! Where the items of a training or validation come from.

use std::sync::Arc;

use burn::prelude::*;

use crate::error::Result;

/// Where items come from: batches, episodes, or several of these together.
pub trait ItemSource<T>: Send + Sync {
    /// Item `index`: the same whenever and by whichever thread it is asked for. Random numbers come from a
    /// seed that the source was made with, and the index.
    ///
    /// # Errors
    /// If a picture or a label cannot be read.
    fn item(&self, index: u64, device: &Device) -> Result<T>;

    /// The same with each item in `shares` equal parts, for so many devices: items `index * shares ..` of the result
    /// are together item `index` of this. `None` where items cannot be cut so.
    fn shared(&self, _shares: usize) -> Option<Arc<dyn ItemSource<T>>> {
        None
    }
}

/// Several items as one: `count` of the inner source's, in their order.
pub struct Grouped<S> {
    source: Arc<S>,
    count: usize,
}

impl<S> Grouped<S> {
    /// Items `index * count ..` of `source` are item `index` of this.
    pub fn new(source: S, count: usize) -> Self {
        Self { source: Arc::new(source), count }
    }
}

impl<T: 'static, S: ItemSource<T> + 'static> ItemSource<Vec<T>> for Grouped<S> {
    fn item(&self, index: u64, device: &Device) -> Result<Vec<T>> {
        let count = self.count as u64;
        (index * count..(index + 1) * count).map(|index| self.source.item(index, device)).collect()
    }

    fn shared(&self, shares: usize) -> Option<Arc<dyn ItemSource<Vec<T>>>> {
        let count = self.count / shares;
        let source = Arc::clone(&self.source);
        if count == 0 || count * shares != self.count {
            return None;
        }
        Some(Arc::new(Self { source, count }))
    }
}

/// The random generator of one part of an item: a function of (seed, index, part) alone.
pub fn generator(seed: u64, index: u64, part: u64) -> rand_chacha::ChaCha8Rng {
    use rand::SeedableRng;
    let mut key = [0u8; 32];
    for (bytes, value) in key.chunks_exact_mut(8).zip([seed, index, part, 0x6974_656d]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    rand_chacha::ChaCha8Rng::from_seed(key)
}
