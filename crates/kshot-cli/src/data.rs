//! `kshot data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kshot::data::check::{self, Report, Severity};
use serde_json::json;

use crate::table::print;
use crate::{DONE, WRONG_USE};

/// Checks labels before a run depends on them.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot data check labelled/
  kshot data check labelled/ --query photos/ --json

Exit status: 0 no errors (warnings and notes are for you to judge), 2 errors or wrong use.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Looks for what is wrong or odd in a support folder.
    Check {
        /// Folder of labelled pictures, as for `kshot segment --support`.
        folder: PathBuf,
        /// Folder of pictures to segment: those that are in the support too are named.
        #[arg(long, value_name = "DIR")]
        query: Option<PathBuf>,
        /// One JSON object a line on standard output, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Command::Check { folder, query, json } = &arguments.command;
    let report = check::check(folder, query.as_deref())?;
    print(&if *json { lines(&report) } else { text(&report) })?;
    Ok(if report.has_errors() { WRONG_USE } else { DONE })
}

fn count(report: &Report, severity: Severity) -> usize {
    report.findings.iter().filter(|finding| finding.severity == severity).count()
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let line = json!({"event": "finding", "severity": finding.severity,
            "file": finding.file.to_string_lossy(), "what": finding.what, "todo": finding.todo});
        text.push_str(&format!("{line}\n"));
    }
    let summary = json!({"event": "done", "labelled": report.labelled, "query": report.query,
        "classes": report.classes, "errors": count(report, Severity::Error),
        "warnings": count(report, Severity::Warning), "notes": count(report, Severity::Note)});
    text.push_str(&format!("{summary}\n"));
    text
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&format!(
            "{}: {}: {}\n",
            finding.severity,
            finding.file.display(),
            finding.what
        ));
        if !finding.todo.is_empty() {
            text.push_str(&format!("  -> {}\n", finding.todo));
        }
    }
    text.push_str(&format!(
        "{} labelled pictures, classes: {}; {} errors, {} warnings, {} notes\n",
        report.labelled,
        if report.classes.is_empty() { "none".to_owned() } else { report.classes.join(", ") },
        count(report, Severity::Error),
        count(report, Severity::Warning),
        count(report, Severity::Note)
    ));
    text
}
