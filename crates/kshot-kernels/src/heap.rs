//! Pages of the heap, kept.

use libmimalloc_sys::{mi_option_get, mi_option_set_default, mi_option_t};

/// `mi_option_purge_delay`: the binding names only what mimalloc calls stable. A test holds the number.
const PURGE_DELAY: mi_option_t = 15;

/// Tells mimalloc, where it is the program's allocator, to keep freed pages for good: results are fresh
/// memory, and asking the system for pages costs up to a third of a training step. The process then stays
/// as large as it was at most. `MIMALLOC_PURGE_DELAY` in the environment (milliseconds, -1 for never)
/// wins. Returns whether pages are kept.
///
/// Call it first thing in `main`.
pub fn keep_pages() -> bool {
    // SAFETY: mimalloc's options are atomic numbers; this one is any number of milliseconds.
    unsafe {
        mi_option_set_default(PURGE_DELAY, -1);
        mi_option_get(PURGE_DELAY) < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay_in_milliseconds() {
        // SAFETY: reads a number.
        let before = unsafe { mi_option_get(PURGE_DELAY) };
        // Its neighbours are 1 and 0: another order of the options would show.
        let set = std::env::var("MIMALLOC_PURGE_DELAY").is_ok();
        assert!(set || [10, 1000, -1].contains(&before), "{before} is no delay of mimalloc's");
        assert!(set || keep_pages());
    }
}
