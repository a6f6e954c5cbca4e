//! Ctrl-C, `kill` and a closed terminal: the first asks the job to end after the picture at hand, the second ends the
//! process.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What shells see of a process that a signal ended: this and the signal's number.
const BY_SIGNAL: c_int = 128;

struct Asked {
    any: Arc<AtomicBool>,
    /// The exit status that the first signal means.
    status: Arc<AtomicUsize>,
}

/// Listens from its first use: commands that cannot be stopped in order end at once, as always.
static ASKED: LazyLock<Asked> = LazyLock::new(|| {
    let (any, status) = (Arc::new(AtomicBool::new(false)), Arc::default());
    for signal in signals() {
        let ends = BY_SIGNAL + signal;
        // In this order: the first signal finds `any` false and makes it true, the second finds it true. Where
        // nothing can be registered, the signal does what it always did.
        if flag::register_conditional_shutdown(signal, ends, Arc::clone(&any)).is_ok() {
            let ends = usize::try_from(ends).unwrap_or_default();
            let _ = flag::register_usize(signal, Arc::clone(&status), ends);
            let _ = flag::register(signal, Arc::clone(&any));
        }
    }
    Asked { any, status }
});

fn signals() -> Vec<c_int> {
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    if !hang_up_is_ignored() {
        signals.push(signal_hook::consts::SIGHUP);
    }
    signals
}

/// Whether the process was told to outlive its terminal, as `nohup` does: to listen would undo that. Linux says so in
/// `/proc`; elsewhere it counts as told, and a closed terminal does what it always did.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1)
}

/// What becomes true at the first signal from now on.
pub fn flag() -> &'static AtomicBool {
    &ASKED.any
}

/// Whether the job was asked to stop.
pub fn asked() -> bool {
    flag().load(Ordering::Relaxed)
}

/// The exit status of a job that was stopped: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
pub fn status() -> u8 {
    let status = ASKED.status.load(Ordering::Relaxed);
    u8::try_from(status).ok().filter(|status| *status > 0).unwrap_or(130)
}

/// A file that may not grow further (`ulimit -f`) is then an error of the write, which says so, and not the end.
pub fn survive_file_limits() {
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}
