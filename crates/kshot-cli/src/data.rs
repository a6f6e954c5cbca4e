//! `kshot data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kshot_data::check::{self, Report, Severity};
use kshot_data::label_folder::MaskReading;
use serde_json::json;

#[cfg(feature = "hub")]
use crate::download;
use crate::table::print;
use crate::{DONE, WRONG_USE, convert, weaken};

/// Checks labels before a run depends on them, converts them between formats, weakens them, and downloads data sets.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot data check labelled/
  kshot data check labelled/ --query photos/ --json
  kshot data convert --from labelled/ --to coco --out as-coco/
  kshot data convert --from out/ --to labelme --next --out to-correct/
  kshot data weaken --from labelled/ --to scribbles --out strokes/
  kshot data download voc2012 --out data/voc

Exit status: 0 no errors (warnings and notes are for you to judge), 2 errors or wrong use.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Looks for what is wrong or odd in a support folder.
    #[command(after_help = "Every format of `kshot list formats` is checked, mixtures too.

Examples:
  kshot data check labelled/
  kshot data check labelled/ --query photos/ --json

Exit status: 0 no errors (warnings and notes are for you to judge), 2 errors or wrong use.")]
    Check {
        /// Folder of labelled pictures, as for `kshot segment --support`.
        folder: PathBuf,
        /// Folder of pictures to segment: those that are in the support too are named.
        #[arg(long, value_name = "DIR")]
        query: Option<PathBuf>,
        /// How the numbers in masks are read: auto, classes, instances, levels or threshold.
        #[arg(long, value_name = "READING", default_value = "auto")]
        masks: MaskReading,
        /// One JSON object a line on standard output, for programs.
        #[arg(long)]
        json: bool,
    },
    Convert(convert::Arguments),
    Weaken(weaken::Arguments),
    #[cfg(feature = "hub")]
    Download(download::Arguments),
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.command {
        Command::Check { folder, query, masks, json } => {
            let report = check::check_reading(folder, query.as_deref(), *masks)?;
            print(&if *json { lines(&report) } else { report.to_string() })?;
            Ok(if report.has_errors() { WRONG_USE } else { DONE })
        }
        Command::Convert(arguments) => convert::run(arguments),
        Command::Weaken(arguments) => weaken::run(arguments),
        #[cfg(feature = "hub")]
        Command::Download(arguments) => download::run(arguments),
    }
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let line = json!({"event": "finding", "severity": finding.severity,
            "file": finding.file.to_string_lossy(), "line": finding.line, "what": finding.what, "todo": finding.todo});
        text.push_str(&format!("{line}\n"));
    }
    for copy in &report.copies {
        let (file, of) = (copy.file.to_string_lossy(), copy.of.to_string_lossy());
        text.push_str(&format!("{}\n", json!({"event": "copy", "file": file, "of": of})));
    }
    let summary = json!({"event": "done", "labelled": report.labelled, "query": report.query,
        "classes": report.classes, "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning), "notes": report.count(Severity::Note)});
    text.push_str(&format!("{summary}\n"));
    text
}
