//! `kshot data convert`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kshot_data::convert::{ConvertOptions, LabelFormat, Simplified, Summary, convert};
use kshot_data::label_folder::MaskReading;
use kshot_data::names::{classes, counted};
use serde_json::json;

use crate::DONE;
use crate::table::print;

/// Classes that a summary names.
const LISTED: usize = 30;

/// Writes the labels of a folder, or the masks of a result, in another format.
///
/// The input may be in any format that `kshot segment --support` reads, or a mixture, or the output folder of `kshot
/// segment`, whose pictures are found by its run.toml. Pictures are copied to OUT/images, the classes' names go to
/// OUT/classes.txt. At the end the labels are read again and compared pixel by pixel. What the format cannot hold is
/// refused, unless --lossy is given.
///
/// Masks of a result become outlines of few corners (--simplify). They are predictions: as labels, `kshot segment
/// --support OUT` takes those that were saved in a labelling tool since, and passes over the others.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot data convert --from as-labelme/ --to yolo-seg --out as-yolo/
  kshot data convert --from labelled/ --to coco --out as-coco/ --link
  kshot data convert --from as-coco/ --to boxes-csv --out boxes/ --lossy --json
  kshot data convert --from out/ --to labelme --next --simplify 1.5 --out to-correct/
  kshot data convert --from out/ --to tiff-masks --only 'plot-3*' --out to-correct/

Exit status: 0 done, 2 wrong labels, something would be lost, or wrong use, 4 no room on the disk.")]
pub struct Arguments {
    /// Folder of labelled pictures, as for `kshot segment --support`, or the output folder of `kshot segment`.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The format to write.
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    to: LabelFormat,
    /// Folder to write; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the numbers in masks are read: auto, classes, instances, levels or threshold.
    #[arg(long, value_name = "READING", default_value = "auto")]
    masks: MaskReading,
    /// How far the corners of a mask's outline may be off, in pixels (0 to 100); pieces and holes of fewer pixels than its
    /// square go. 0 keeps every pixel. By default 1.5 for a result, 0 for labels.
    #[arg(long, value_name = "PIXELS")]
    simplify: Option<f64>,
    /// Only pictures of this name (with * and ?); may be given several times.
    #[arg(long, value_name = "PICTURE")]
    only: Vec<String>,
    /// Of a result, only the pictures that its page says to label next, or the first so many of them.
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "10")]
    next: Option<usize>,
    /// Where the pictures of a result are, if they were moved since.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
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
}

fn formats() -> impl TypedValueParser<Value = LabelFormat> {
    PossibleValuesParser::new(LabelFormat::ALL.map(LabelFormat::name))
        .try_map(|name| name.parse::<LabelFormat>().map_err(|error| error.message().to_owned()))
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Arguments { from, to, out, lossy, force, link, json, .. } = arguments;
    let options = ConvertOptions {
        to: *to,
        lossy: *lossy,
        force: *force,
        link: *link,
        masks: arguments.masks,
        simplify: arguments.simplify,
        only: arguments.only.clone(),
        next: arguments.next,
        images: arguments.images.clone(),
    };
    let summary = convert(from, out, &options)?;
    let shown = out.to_string_lossy();
    print(&if *json {
        let line = json!({"event": "done", "to": to.name(), "out": shown,
            "pictures": summary.pictures, "objects": summary.objects,
            "left_out": summary.left_out, "unreadable": summary.unreadable, "classes": summary.classes,
            "lost": summary.lost, "notes": summary.notes, "verified": summary.verified,
            "simplified": summary.simplified, "predictions": summary.predictions});
        format!("{line}\n")
    } else {
        told(&summary, to.name(), &shown)
    })?;
    Ok(DONE)
}

fn told(summary: &Summary, to: &str, out: &str) -> String {
    let mut lines = Vec::new();
    lines.extend(summary.lost.iter().map(|lost| format!("lost: {lost}")));
    lines.extend(summary.notes.iter().map(|note| format!("note: {note}")));
    lines.extend(summary.unreadable.iter().map(|what| format!("warning: left out: {what}")));
    if summary.left_out > 0 {
        let pictures = counted(summary.left_out, "picture", "pictures");
        lines.push(format!("note: {pictures} left out"));
    }
    if let Some(Simplified {
        tolerance,
        corners_before,
        corners,
        most,
        specks,
        mean_iou,
        least_iou,
    }) = &summary.simplified
    {
        lines.push(format!(
            "note: outlines within {tolerance} pixels: {corners_before} corners became {corners}, at most {most} of one \
             piece; IoU with the masks {:.1} % ({:.1} % of the worst class); {specks} pieces and holes of fewer than \
             {:.2} pixels went",
            100.0 * mean_iou,
            100.0 * least_iou,
            tolerance * tolerance
        ));
    }
    if summary.predictions > 0 {
        lines.push(format!(
            "note: {}: give {out} to --support once what is right is saved in the labelling tool; all else is passed over",
            counted(summary.predictions, "label is a prediction", "labels are predictions")
        ));
    }
    let outlines = match summary.pictures - summary.verified {
        others if others > 0 && summary.simplified.is_some() => {
            format!(", {others} with simplified outlines")
        }
        _ => String::new(),
    };
    lines.push(format!(
        "{} with {} as {to} in {out}, classes: {}; {} read back the same pixel by pixel{outlines}",
        counted(summary.pictures, "picture", "pictures"),
        counted(summary.objects, "object", "objects"),
        classes(&summary.classes, LISTED),
        summary.verified
    ));
    lines.join("\n") + "\n"
}
