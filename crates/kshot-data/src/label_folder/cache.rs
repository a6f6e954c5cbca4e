//! Masks that were decoded to tell what their numbers mean, kept until they are read for good.
//!
//! Small folders are so decoded once. What is kept is bounded; other masks are decoded again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::labels::index::{self, MaskFile};

/// Most bytes of pixels that are kept.
const MOST: usize = 256 << 20;

/// Decoded masks by their files.
#[derive(Debug, Default)]
pub(super) struct MaskCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    masks: HashMap<PathBuf, Arc<MaskFile>>,
    bytes: usize,
}

impl MaskCache {
    /// A mask that will be read again.
    ///
    /// # Errors
    /// As [`index::read_file`].
    pub(super) fn peek(&self, path: &Path) -> Result<Arc<MaskFile>> {
        if let Some(known) = self.kept().masks.get(path) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(index::read_file(path)?);
        let bytes = bytes(&read);
        let mut kept = self.kept();
        if kept.bytes + bytes <= MOST && !kept.masks.contains_key(path) {
            kept.bytes += bytes;
            kept.masks.insert(path.to_owned(), Arc::clone(&read));
        }
        Ok(read)
    }

    /// A mask for good: it is not kept any longer.
    ///
    /// # Errors
    /// As [`index::read_file`].
    pub(super) fn take(&self, path: &Path) -> Result<MaskFile> {
        match self.forget(path) {
            Some(mask) => Ok(Arc::unwrap_or_clone(mask)),
            None => index::read_file(path),
        }
    }

    /// Keeps a mask no longer.
    pub(super) fn forget(&self, path: &Path) -> Option<Arc<MaskFile>> {
        let mut kept = self.kept();
        let known = kept.masks.remove(path);
        kept.bytes -= known.as_deref().map_or(0, bytes);
        known
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is done while it is locked that could leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(mask: &MaskFile) -> usize {
    let values = mask.values.as_ref().map_or(0, |values| values.pixels.len());
    values + mask.coloured.as_ref().map_or(0, |coloured| 3 * coloured.pixels.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_kept_until_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let save = |value: u8| {
            let pixels = image::Luma([value]);
            image::GrayImage::from_pixel(2, 2, pixels).save(&path).unwrap();
        };
        let first = |mask: &MaskFile| mask.values.as_ref().unwrap().pixels[0];
        save(1);
        let cache = MaskCache::default();
        assert_eq!(first(&cache.peek(&path).unwrap()), 1);
        let size = bytes(&cache.peek(&path).unwrap());
        assert_eq!(cache.kept().bytes, size);
        save(2);
        assert_eq!(first(&cache.take(&path).unwrap()), 1);
        assert_eq!((first(&cache.take(&path).unwrap()), cache.kept().bytes), (2, 0));
        assert!(cache.peek(&folder.path().join("b.png")).is_err());
    }
}
