//! `kshot data`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use kshot_data::check::{self, Report, Severity};
use kshot_data::convert::{self, ConvertOptions, LabelFormat, Summary};
use serde_json::json;

use crate::table::print;
use crate::{DONE, WRONG_USE};

/// Checks labels before a run depends on them, and converts them between formats.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot data check labelled/
  kshot data check labelled/ --query photos/ --json
  kshot data convert --from labelled/ --to coco --out as-coco/

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
        /// One JSON object a line on standard output, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Writes the labels of a folder in another format, without losing an id or a pixel.
    ///
    /// The input may be in any format that `kshot segment --support` reads, or a mixture. Pictures go
    /// to OUT/images and the classes' names to OUT/classes.txt. At the end the labels are read again
    /// and compared pixel by pixel. What the format cannot hold is refused, unless --lossy is given.
    #[command(after_help = "Examples:
  kshot data convert --from as-labelme/ --to yolo-seg --out as-yolo/
  kshot data convert --from labelled/ --to coco --out as-coco/ --link
  kshot data convert --from as-coco/ --to boxes-csv --out boxes/ --lossy --json

Exit status: 0 done, 2 wrong labels, something would be lost, or wrong use.")]
    Convert {
        /// Folder of labelled pictures, as for `kshot segment --support`.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// The format to write.
        #[arg(long, value_name = "FORMAT", value_parser = formats())]
        to: LabelFormat,
        /// Folder to write; made where it is missing.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Goes on where the format cannot hold everything; what is lost is said.
        #[arg(long)]
        lossy: bool,
        /// Writes into a folder that is not empty; files in the way are replaced.
        #[arg(long)]
        force: bool,
        /// Makes hard links to the pictures instead of copies (on the same disk).
        #[arg(long)]
        link: bool,
        /// One JSON object on standard output, for programs.
        #[arg(long)]
        json: bool,
    },
}

fn formats() -> impl TypedValueParser<Value = LabelFormat> {
    PossibleValuesParser::new(LabelFormat::ALL.map(LabelFormat::name))
        .try_map(|name| name.parse::<LabelFormat>().map_err(|error| error.message().to_owned()))
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    match &arguments.command {
        Command::Check { folder, query, json } => {
            let report = check::check(folder, query.as_deref())?;
            print(&if *json { lines(&report) } else { report.to_string() })?;
            Ok(if report.has_errors() { WRONG_USE } else { DONE })
        }
        Command::Convert { from, to, out, lossy, force, link, json } => {
            let options = ConvertOptions { to: *to, lossy: *lossy, force: *force, link: *link };
            let summary = convert::convert(from, out, options)?;
            print(&if *json {
                let line = json!({"event": "done", "to": to.name(), "out": out.to_string_lossy(),
                    "pictures": summary.pictures, "objects": summary.objects,
                    "left_out": summary.left_out, "classes": summary.classes,
                    "lost": summary.lost, "notes": summary.notes, "verified": summary.verified});
                format!("{line}\n")
            } else {
                converted(&summary, to.name(), &out.to_string_lossy())
            })?;
            Ok(DONE)
        }
    }
}

fn converted(summary: &Summary, to: &str, out: &str) -> String {
    let mut text = String::new();
    for lost in &summary.lost {
        text.push_str(&format!("lost: {lost}\n"));
    }
    for note in &summary.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if summary.left_out > 0 {
        text.push_str(&format!("note: {} pictures without a label left out\n", summary.left_out));
    }
    text.push_str(&format!(
        "{} pictures with {} objects as {to} in {out}, classes: {}; {} read back the same pixel by \
         pixel\n",
        summary.pictures,
        summary.objects,
        summary.classes.join(", "),
        summary.verified
    ));
    text
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let line = json!({"event": "finding", "severity": finding.severity,
            "file": finding.file.to_string_lossy(), "line": finding.line, "what": finding.what, "todo": finding.todo});
        text.push_str(&format!("{line}\n"));
    }
    let summary = json!({"event": "done", "labelled": report.labelled, "query": report.query,
        "classes": report.classes, "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning), "notes": report.count(Severity::Note)});
    text.push_str(&format!("{summary}\n"));
    text
}
