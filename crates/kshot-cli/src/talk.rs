//! How the events of a job become JSON lines, lines for people, or a bar on a terminal.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use kshot::job::{Event, Watch};
use kshot_data::query::FailedPicture;
use kshot_data::visible::visible;

use crate::table::{print, say};
use crate::{DONE, SOME_FAILED, interrupt, tuning};

/// How the command speaks.
pub struct Talk {
    json: bool,
    quiet: bool,
    figures: bool,
    bar: Mutex<ProgressBar>,
}

impl Talk {
    /// With `json`, one JSON object a line on standard output; with `quiet`, only errors.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, figures: false, bar: Mutex::new(ProgressBar::hidden()) }
    }

    /// Of a job whose result are figures: they go to standard output in any case.
    pub fn figures(quiet: bool) -> Self {
        Self { figures: true, ..Self::new(false, quiet) }
    }

    /// Runs a job, tells its events, and stops it at a signal.
    pub fn follow<T>(&self, job: impl FnOnce(&Watch<'_>) -> kshot::Result<T>) -> anyhow::Result<T> {
        let tell = |event: &Event<'_>| self.tell(event);
        let watch = if self.quiet && !self.json && !self.figures {
            Watch::silent()
        } else {
            Watch::new(&tell)
        };
        // An evaluation cannot stop in order: a signal ends it at once, and --out keeps what is finished.
        let watch = if self.figures { watch } else { watch.cancelled_by(interrupt::flag()) };
        let silent = self.quiet && !self.json;
        let tuned = |event: &Event<'_>| {
            if !silent {
                self.tell(event)
            }
        };
        let outcome = tuning::told(&tuned, || job(&watch));
        self.bar().finish_and_clear();
        Ok(outcome?)
    }

    /// Names what failed, whatever else is asked for, and gives the exit status.
    pub fn end(failed: &[FailedPicture], cancelled: bool) -> u8 {
        for failed in failed {
            say(&format!("failed: {}: {}", visible(&failed.name), failed.error));
        }
        match (cancelled, failed) {
            (true, _) => interrupt::status(),
            (false, []) => DONE,
            (false, _) => SOME_FAILED,
        }
    }

    fn tell(&self, event: &Event<'_>) {
        match event {
            event if event.is_momentary() && (self.quiet || self.json) => {}
            Event::Progress { done, total } => self.progress(*done, *total),
            Event::AtHand(_) | Event::Tried(_) if !self.json && std::io::stderr().is_terminal() => {
                self.at_hand(event);
            }
            event if event.is_momentary() => {}
            // Through a value, which holds numbers in 64 bits: as these lines have always been written.
            event if self.json => {
                if let Ok(line) = serde_json::to_value(event) {
                    // Whoever does not read on does not stop the job.
                    let _ = print(&format!("{line}\n"));
                }
            }
            Event::Picture(picture) if !self.bar().is_hidden() => {
                self.bar().set_message(visible(picture.file()).into_owned());
            }
            Event::Done(done) if self.figures => {
                self.bar().finish_and_clear();
                let _ = print(&format!("{done}\n"));
            }
            // At the end, where they are together.
            Event::Failed { .. } => {}
            event => self.bar().suspend(|| say(&words(event))),
        }
    }

    /// What is being done just now, with the seconds since the first of it.
    fn at_hand(&self, event: &Event<'_>) {
        let mut bar = self.bar();
        if bar.length().is_some() || bar.is_hidden() {
            bar.finish_and_clear();
            *bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar.set_message(visible(&event.to_string()).into_owned());
    }

    fn progress(&self, done: usize, total: usize) {
        let mut bar = self.bar();
        if done == 0 {
            bar.finish_and_clear();
            *bar = ProgressBar::new(total as u64);
            let template = "{bar:30} {pos}/{len} pictures, {per_sec}, {eta} left, {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        bar.set_position(done as u64);
        if done == total {
            bar.finish_and_clear();
        }
    }

    fn bar(&self) -> MutexGuard<'_, ProgressBar> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event as text. What is of one line stays of one, whatever names of files and classes hold.
fn words(event: &Event<'_>) -> String {
    let text = event.to_string();
    match event {
        Event::Start(_) | Event::Picture(_) | Event::Sorted { .. } => visible(&text).into_owned(),
        Event::Added { .. } | Event::Dropped { .. } => visible(&text).into_owned(),
        _ => text,
    }
}
