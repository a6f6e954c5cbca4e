//! Says while a job runs that kernels are being tuned for a GPU: the first run of a network takes minutes by it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use kshot::device::tuning;
use kshot::job::Event;

/// How often one looks, and how often one tells.
const LOOK: Duration = Duration::from_millis(250);
const TELL: Duration = Duration::from_secs(10);

/// Runs a job, and tells how many kernels were tuned meanwhile: at the first, every ten seconds, and at the end. Where
/// nothing is tuned (on the CPU; in a second run) nothing is told.
pub fn told<T>(tell: &(dyn Fn(&Event<'_>) + Sync), job: impl FnOnce() -> T) -> T {
    if !tuning::TUNES {
        return job();
    }
    std::thread::scope(|scope| {
        // Dropped when the job ends, also by a panic.
        let (_running, over) = channel::<()>();
        scope.spawn(move || {
            let folder = tuning::folder();
            let (mut told, mut last) = (tuning::tuned(), None::<Instant>);
            loop {
                let ended = over.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected);
                let kernels = tuning::tuned();
                if kernels > told && (ended || last.is_none_or(|at| at.elapsed() >= TELL)) {
                    tell(&Event::Tuning { kernels, folder: &folder });
                    (told, last) = (kernels, Some(Instant::now()));
                }
                if ended {
                    return;
                }
            }
        });
        job()
    })
}
