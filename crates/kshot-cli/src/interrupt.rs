//! Ctrl-C: the first asks the job to end after the picture at hand, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What shells see of a process that Ctrl-C ended: 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// What becomes true at the first Ctrl-C, from now on.
pub fn flag() -> &'static AtomicBool {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*installed {
        // Without a handler, Ctrl-C ends the process at once, as it always has.
        *installed = ctrlc::set_handler(handle).is_ok();
    }
    &ASKED
}

fn handle() {
    if ASKED.swap(true, Ordering::Relaxed) {
        std::process::exit(INTERRUPTED.into());
    }
    eprintln!("stopping after the picture at hand; press again to stop at once");
}
