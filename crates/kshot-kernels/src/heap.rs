//! Pages of the heap, kept.

use libmimalloc_sys::{
    mi_option_get, mi_option_set_default, mi_option_t, mi_option_use_numa_nodes,
};

/// `mi_option_purge_delay`, which the binding does not name; its neighbour after it does.
const PURGE_DELAY: mi_option_t = 15;
const _: () = assert!(mi_option_use_numa_nodes == PURGE_DELAY + 1);

/// Tells mimalloc, where it is the program's allocator, to keep freed pages for good: results are fresh
/// memory, and asking the system for pages anew costs as much as some kernels. The process then stays
/// as large as it was at most. `MIMALLOC_PURGE_DELAY` in the environment (milliseconds, -1 for never)
/// wins. Returns whether pages are kept.
///
/// Call it first thing in `main`, before there are other threads: the option is a plain number.
pub fn keep_pages() -> bool {
    // SAFETY: the option takes any number of milliseconds. Threads that free meanwhile read the old number
    // or the new one: both are a delay.
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
        let set = std::env::var("MIMALLOC_PURGE_DELAY").is_ok();
        assert!(set || [10, 1000, -1].contains(&before), "{before} is no delay of mimalloc's");
        assert!(set || keep_pages());
    }
}
