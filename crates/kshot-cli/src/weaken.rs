//! `kshot data weaken`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kshot_data::convert::weaken::{WeakLabels, WeakenOptions, weaken};
use kshot_data::label_folder::MaskReading;
use kshot_data::names::counted;
use serde_json::json;

use crate::DONE;
use crate::table::print;

/// Writes labelled pictures with weaker labels: strokes or boxes made from their masks.
///
/// To measure what they are worth: segment with both folders as --support and score what comes out. Strokes are smooth
/// random walks, 3 pixels wide, of every class and of background. Boxes are those of PANet's protocol: of each class the
/// box of its largest piece; of the other boxes nothing is said; background is what lies outside all boxes.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot data weaken --from labelled/ --to scribbles --out strokes/
  kshot data weaken --from labelled/ --to scribbles --share 0.05 --seed 2 --out more-strokes/
  kshot data weaken --from as-coco/ --to boxes --out boxes/ --link --json

Exit status: 0 done, 2 wrong labels or wrong use, 4 no room on the disk.")]
pub struct Arguments {
    /// Folder of labelled pictures, as for `kshot segment --support`.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// What masks become.
    #[arg(long)]
    to: To,
    /// Folder to write; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Share of the labelled pixels that strokes mark, above 0 to 1.
    #[arg(long, default_value_t = 0.02)]
    share: f64,
    /// By which strokes are drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How the numbers in masks are read: auto, classes, instances, levels or threshold.
    #[arg(long, value_name = "READING", default_value = "auto")]
    masks: MaskReading,
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

#[derive(Clone, Copy, ValueEnum)]
enum To {
    Scribbles,
    Boxes,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Arguments { from, to, out, share, seed, masks, force, link, json } = arguments;
    let to = match to {
        To::Scribbles => WeakLabels::Scribbles(*share),
        To::Boxes => WeakLabels::Boxes,
    };
    let options = WeakenOptions { to, seed: *seed, masks: *masks, force: *force, link: *link };
    let told = weaken(from, out, &options)?;
    let shown = out.to_string_lossy();
    print(&if *json {
        let line = json!({"event": "done", "out": shown, "pictures": told.pictures, "left_out": told.left_out,
            "classes": told.classes, "labelled": told.labelled});
        format!("{line}\n")
    } else {
        let left_out = match told.left_out {
            0 => String::new(),
            count => {
                format!("; {} without a label left out", counted(count, "picture", "pictures"))
            }
        };
        format!(
            "{shown}: {} of {}, {:.1} % of their labelled pixels still labelled{left_out}\n",
            counted(told.pictures, "picture", "pictures"),
            counted(told.classes.len(), "class", "classes"),
            100.0 * told.labelled,
        )
    })?;
    Ok(DONE)
}
