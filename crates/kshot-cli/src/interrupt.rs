//! Ctrl-C: the first asks the job to end after the picture at hand, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// What shells see of a process that Ctrl-C ended: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

/// Listens from its first use: commands that cannot be stopped in order end at once, as always.
static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let asked = Arc::new(AtomicBool::new(false));
    // In this order: the first Ctrl-C finds it false and makes it true, the second finds it true. Where
    // nothing can be registered, Ctrl-C stays what it was.
    if flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&asked)).is_ok() {
        let _ = flag::register(SIGINT, Arc::clone(&asked));
    }
    asked
});

/// What becomes true at the first Ctrl-C from now on.
pub fn flag() -> &'static AtomicBool {
    &ASKED
}

/// Whether Ctrl-C was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
