//! How commands that work through a folder speak.

use indicatif::{ProgressBar, ProgressStyle};
use kshot::classify::Recogniser;
use kshot::classify::vectors::Event;
use kshot::job::bf16::Cost;
use kshot::nn::bf16::is_bf16;
use kshot_data::query::FailedPicture;
use kshot_data::query::Item;
use serde_json::json;

/// How the command speaks: JSON lines, plain lines, or a bar on a terminal.
pub struct Talk {
    /// One JSON object a line.
    pub json: bool,
    /// Only errors.
    pub quiet: bool,
}

impl Talk {
    /// Says it, in the form that was asked for.
    pub fn say(&self, json: serde_json::Value, text: &str) {
        if self.json {
            println!("{json}");
        } else if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says what is odd.
    pub fn warn(&self, words: &str) {
        self.say(json!({"event": "warning", "message": words}), &format!("warning: {words}"));
    }

    /// Measures and says what products in bf16 cost, where they were asked for and somebody listens.
    pub fn cost(&self, measure: impl FnOnce() -> Option<Cost>) -> Option<Cost> {
        let cost = (is_bf16() && !self.quiet).then(measure).flatten()?;
        self.say(json!({"event": "bf16", "cost": cost}), &cost.to_string());
        Some(cost)
    }

    /// A bar on a terminal.
    pub fn bar(&self, pictures: usize) -> ProgressBar {
        if self.json || self.quiet {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(pictures as u64);
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30} {pos}/{len} pictures, {per_sec}, {eta} left, {wide_msg}",
        ) {
            bar.set_style(style);
        }
        bar
    }

    /// Tells what class a picture was given.
    pub fn event(&self, bar: &ProgressBar, event: &Event<'_>, recogniser: &Recogniser) {
        bar.inc(1);
        match event {
            Event::Done { item: Item { shown, .. }, vector, seconds } => {
                bar.set_message(shown.clone());
                let plain = !self.quiet && !self.json && bar.is_hidden();
                if !(self.json || plain) {
                    return;
                }
                let found = recogniser.recognise(vector);
                let class = &recogniser.examples().classes[found.class()];
                if self.json {
                    println!(
                        "{}",
                        json!({"event": "picture", "file": shown, "class": class,
                            "probability": found.probability(), "accepted": found.accepted,
                            "familiarity": found.familiarity, "seconds": seconds})
                    );
                } else {
                    let none = if found.accepted { "" } else { " (none of these)" };
                    eprintln!("{shown}: {class} {:.2}{none}", found.probability());
                }
            }
            Event::Failed(failed) => self.failed(failed),
        }
    }

    /// Tells of a picture that could not be done; lines for people come at the end.
    pub fn failed(&self, failed: &FailedPicture) {
        if self.json {
            println!("{}", json!({"event": "failed", "file": failed.name, "error": failed.error}));
        }
    }
}
