//! `kshot segment`.

use std::path::PathBuf;

use clap::Args;
use kshot::job::{SegmentOptions, segment};
use kshot::method::few_shot::{self, Effort};
use kshot::nn::Precision;
use kshot::predict::objects::ObjectOptions;
use kshot::weights;
use kshot_data::label_folder::MaskReading;
use kshot_data::pixel_size::PixelSize;

use crate::talk::Talk;

/// Segments a folder of pictures from a few labelled ones, or by a trained network.
///
/// The support folder holds images/ and, by the same names, masks/ (index PNG), scribbles/ (index
/// PNG, 255 = unlabelled), LabelMe JSON beside the pictures, or boxes.csv; classes.txt names the
/// classes, one a line.
///
/// Leaves in --out: masks/ (index PNG), overlays/ (to look at), report.html, labels.csv, coco.json
/// and run.toml. Run again, it skips the pictures that are finished.
///
/// With --objects also objects.csv (a row an object) and objects/ (16-bit PNG of object numbers); labels.csv counts
/// them, and coco.json holds one annotation an object. Touching objects are split better where the support tells its
/// own: instances/ (PNG, TIFF or NumPy numbers, as of Cellpose, StarDist or Fiji), COCO or LabelMe.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot segment --support examples/coins/support --query examples/coins/query --out out/
  kshot segment --support labelled/ --query photos/ --out out/ --method probe --json
  kshot segment --model runs/mine --query photos/ --out out/
  kshot segment --model runs/fold0 --model runs/fold1 --query photos/ --out out/
  kshot segment --support labelled/ --support corrected/ --query photos/ --out out/
  kshot segment --support labelled/ --query photos/ --out out/ --objects --min-object 30

Exit status: 0 all done, 2 wrong use, 3 some pictures failed (all others are written), 4 no room on the disk,
130 stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP). After 4 and a stop what is finished is kept, and the same
command goes on.")]
pub struct Arguments {
    /// Folder of labelled pictures; may be given several times. Classes are joined by their names, in the order of the
    /// first folder; a picture that is in several has the labels of the last one.
    #[arg(long, value_name = "DIR", required_unless_present = "model")]
    support: Vec<PathBuf>,
    /// How the numbers in masks are read: auto (by what all masks hold, which is told), classes, instances (each is an
    /// object), levels (those that occur, in their order) or threshold (from 128 on it is the class).
    #[arg(long, value_name = "READING", default_value = "auto")]
    masks: MaskReading,
    /// The folder of a training (`kshot train`), in place of a method fitted to labelled pictures; given several times
    /// (runs of the same classes, such as those of folds), the mean of the probabilities counts. PANet's takes --support
    /// besides: the classes that are asked for.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["method", "encoder", "weights", "scale"])]
    model: Vec<PathBuf>,
    /// Folder of pictures to segment (subfolders too), or one picture.
    #[arg(long, value_name = "DIR")]
    query: PathBuf,
    /// Where the results go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// auto, prototype, probe, forest, filter-forest, pixel-decoder or self-support; auto tries them on the labelled
    /// pictures and joins those that help.
    #[arg(long, default_value = few_shot::AUTO)]
    method: String,
    /// How much auto tries: fast (heads on features, one method a picture), normal, best (longer training, more scales).
    #[arg(long, default_value = "normal")]
    effort: Effort,
    /// The network whose features are used (`kshot list encoders`).
    #[arg(long, default_value = weights::DEFAULT)]
    encoder: String,
    /// Weights of the network: a .safetensors or .pth file, or a Hugging Face repository
    /// (owner/name); by default the built-in ones, or those that `kshot weights pull` fetched.
    #[arg(long, value_name = "FILE|REPOSITORY")]
    weights: Option<PathBuf>,
    /// Working pixels per picture pixel; by default the size of the labelled objects decides.
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f32>,
    /// Plain upsampling instead of following the picture's edges.
    #[arg(long)]
    no_refine: bool,
    /// Tells single objects apart and measures each.
    #[arg(long)]
    objects: bool,
    /// Objects of fewer pixels are none; by default half of what nearly all labelled objects surpass.
    #[arg(long, value_name = "PX", requires = "objects")]
    min_object: Option<usize>,
    /// Holes of at most so many pixels are filled; by default as small as objects are none.
    #[arg(long, value_name = "PX", requires = "objects")]
    fill_holes: Option<usize>,
    /// How wide a pixel is, with its unit (nm, um, mm, cm, m, km, in), such as 0.325um: the tables then have areas by it.
    #[arg(long, value_name = "LENGTH")]
    pixel_size: Option<PixelSize>,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Segment finished pictures again.
    #[arg(long)]
    force: bool,
    /// One JSON object a line on standard output, for programs.
    #[arg(long)]
    json: bool,
    /// Only errors.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: Arguments, precision: Option<Precision>) -> anyhow::Result<u8> {
    arguments.threads.map_or(Ok(()), crate::set_threads)?;
    let talk = Talk::new(arguments.json, arguments.quiet);
    let options = SegmentOptions {
        support: arguments.support,
        masks: arguments.masks,
        query: arguments.query,
        out: arguments.out,
        models: arguments.model,
        method: arguments.method,
        effort: arguments.effort,
        encoder: arguments.encoder,
        weights: arguments.weights,
        scale: arguments.scale,
        refine: !arguments.no_refine,
        objects: arguments.objects.then_some(ObjectOptions {
            min_object: arguments.min_object,
            fill_holes: arguments.fill_holes,
        }),
        pixel_size: arguments.pixel_size,
        device: arguments.device,
        precision: precision.unwrap_or_default(),
        seed: arguments.seed,
        force: arguments.force,
        command: crate::command(),
    };
    let outcome = talk.follow(|watch| segment(&options, watch))?;
    Ok(Talk::end(&outcome.failed, outcome.cancelled))
}
