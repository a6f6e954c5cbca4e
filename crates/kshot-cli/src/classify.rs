//! `kshot classify`.

use std::path::PathBuf;

use clap::Args;
use kshot::classify::heads;
use kshot::classify::reject::Keep;
use kshot::classify::sort::SortMode;
use kshot::features::embed::InputViews;
use kshot::job::{ClassSource, ClassifyOptions, ClassifyRunOptions, classify, classify_run, undo};
use kshot::nn::Precision;
use kshot::weights;

use crate::talk::Talk;

/// Labels a folder of pictures from a few pictures a class, or says that they are none of these.
///
/// The support is a folder with a folder a class, or a csv of path,class. One picture a class is enough; from
/// two on, methods are compared on held-out pictures and the result says what to expect.
///
/// Writes labels.csv, and beside it report.html (the least certain first), run.toml and, where the truth is
/// known, truth.json (of NAME.csv: NAME.report.html and so on). Run again, it looks only at new pictures; labels are always made anew.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot classify --support parts/ --query photos/ --out run/labels.csv --link sorted/
  kshot classify --support train/ --shots 5 --query test/ --out run/ --truth truth.csv
  kshot classify --support parts/ --query photos/ --out labels.csv --save parts.kshot --json
  kshot classify --model parts.kshot --query more/ --out more.csv
  kshot classify --run runs/proto --support drawings/ --query more/ --out labels.csv
  kshot classify --undo run/moved.csv

labels.csv: file,class,probability,accepted,familiarity,nearest,class_2,probability_2,...
  class        the likeliest class, whether accepted or not
  probability  its probability, should it show one of the classes; accepted: false is none of these
  familiarity  its similarity to the support, which decided; nearest: the most similar of the class
Names that a spreadsheet would take for a formula (=1.png) have an apostrophe before them.

Exit status: 0 all done, 2 wrong use, 3 some pictures failed (all others are written),
4 no room on the disk, 130 stopped by Ctrl-C (143 by SIGTERM, 129 by SIGHUP).")]
pub struct Arguments {
    /// Folder of class folders, or a csv of path,class.
    #[arg(long, value_name = "DIR|CSV", required_unless_present_any = ["model", "undo"])]
    support: Option<PathBuf>,
    /// A model that --save wrote, in place of --support.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["support", "shots", "size", "views", "encoder"])]
    model: Option<PathBuf>,
    /// Folder of pictures to label (subfolders too), one picture, or a list of them (.csv with a column
    /// path, or .txt).
    #[arg(long, value_name = "DIR|LIST", required_unless_present = "undo")]
    query: Option<PathBuf>,
    /// The table of labels; or a folder, in which it is named labels.csv.
    #[arg(long, value_name = "CSV|DIR", required_unless_present = "undo")]
    out: Option<PathBuf>,
    /// The folder of a training (`kshot train`): its method labels, as it was trained; nothing is rejected.
    #[arg(long, value_name = "RUN", requires = "support", conflicts_with_all = ["model", "method", "reject", "move_to", "link", "save", "encoder", "weights", "size", "views"])]
    run: Option<PathBuf>,
    /// Only the first pictures of each class, by name.
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// auto, ridge, probe, prototype or simple-shot; auto compares all on held-out pictures.
    #[arg(long, default_value = heads::AUTO)]
    method: String,
    /// auto, off, or the share of true members to keep, such as 0.95 (which auto is).
    #[arg(long, default_value = "auto", value_name = "auto|off|SHARE")]
    reject: Keep,
    /// Classes listed a picture.
    #[arg(long, default_value_t = 5, value_name = "K")]
    top_k: usize,
    /// Moves the pictures into class folders here; what is not accepted into none-of-these. Nothing is overwritten, and
    /// moved.csv beside the labels lists every move of every run.
    #[arg(long = "move", value_name = "DIR", conflicts_with = "link")]
    move_to: Option<PathBuf>,
    /// Links the pictures into class folders here; links of the last run that do not belong there any more go.
    #[arg(long, value_name = "DIR")]
    link: Option<PathBuf>,
    /// Puts back what --move moved, by its moved.csv (or the folder it is in), and does nothing else. Nothing is overwritten;
    /// what cannot be put back is named and stays in the list.
    #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["support", "model", "query", "out", "run", "move_to", "link", "truth", "save"])]
    undo: Option<PathBuf>,
    /// What the pictures really show, as a csv of path,class, to judge the labels; another name than a class's
    /// means none of these. Queries in folders named like the classes are judged without.
    #[arg(long, value_name = "CSV")]
    truth: Option<PathBuf>,
    /// Writes the classes into a model file (see `kshot model`).
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The network whose features are used (`kshot list encoders`).
    #[arg(long, default_value = weights::DEFAULT)]
    encoder: String,
    /// Its weights: a .safetensors or .pth file, or a Hugging Face repository (owner/name); by default the
    /// built-in ones, or those that `kshot weights pull` fetched.
    #[arg(long, value_name = "FILE|REPOSITORY")]
    weights: Option<PathBuf>,
    /// Side of what the network sees; 224 is quicker, larger sees smaller things.
    #[arg(long, value_name = "PX", default_value_t = InputViews::default().size)]
    size: usize,
    /// Views a picture: the centre, the whole mirrored, ... Each costs as much time as the first.
    #[arg(long, value_name = "N", default_value_t = InputViews::default().views)]
    views: usize,
    /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Threads; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Looks at finished pictures again.
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
    if let Some(list) = arguments.undo {
        let back = talk.follow(|watch| undo(&list, watch))?;
        return Ok(Talk::end(&back.failed, false));
    }
    let (Some(query), Some(out)) = (arguments.query, arguments.out) else {
        anyhow::bail!("give --query and --out");
    };
    let Arguments { support, model, shots, truth, top_k, device, .. } = arguments;
    let command = crate::command();
    let link = arguments.link.map(|to| (SortMode::Link, to));
    let outcome = if let (Some(run), Some(support)) = (arguments.run, support.clone()) {
        anyhow::ensure!(precision.is_none(), "the recipe of --run has a precision of its own");
        let of =
            ClassifyRunOptions { run, support, shots, query, out, truth, top_k, device, command };
        talk.follow(|watch| classify_run(&of, watch))?
    } else {
        let source = match (model, support) {
            (Some(model), _) => ClassSource::Model(model),
            (None, Some(path)) => {
                let input_views = InputViews { size: arguments.size, views: arguments.views };
                ClassSource::Support { path, shots, encoder: arguments.encoder, input_views }
            }
            (None, None) => anyhow::bail!("give --support or --model"),
        };
        let options = ClassifyOptions {
            source,
            query,
            out,
            method: arguments.method,
            keep: arguments.reject,
            top_k,
            sort: arguments.move_to.map(|to| (SortMode::Move, to)).or(link),
            truth,
            save: arguments.save,
            weights: arguments.weights,
            device,
            precision: precision.unwrap_or_default(),
            force: arguments.force,
            command,
        };
        talk.follow(|watch| classify(&options, watch))?
    };
    Ok(Talk::end(&outcome.failed, outcome.cancelled))
}
