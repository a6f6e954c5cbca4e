//! `kshot data download`.

use std::cell::RefCell;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kshot::data::download::catalog::{self, Origin, Published};
use kshot::data::download::{Download, Event};
use serde_json::json;

use crate::table::{aligned, print, say};
use crate::{DONE, WRONG_USE};

/// Downloads a data set from its own source, checks and unpacks it; lists those it knows where no name is given.
#[derive(Args)]
#[command(
    after_help = "Interrupted downloads go on where they stopped when the same command is given again. Sums that
publishers or common tools give out are compared; where there is none, the first download's SHA-256 is kept in
DIR/.kshot-download.json and counts from then on.

Examples:
  kshot data download
  kshot data download voc2012 --out data/voc
  kshot data download coco-2017 --part val --part annotations --out data/coco --accept-licence

Exit status: 0 it is there, 2 wrong use, terms not accepted or a failed download, 4 no room on the disk."
)]
pub struct Arguments {
    /// The data set.
    name: Option<String>,
    /// Folder to download to; data/NAME by default.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A part of it, such as val of coco-2017; may be given several times. All by default.
    #[arg(long, value_name = "PART")]
    part: Vec<String>,
    /// Accepts the data set's terms without asking.
    #[arg(long)]
    accept_licence: bool,
    /// Downloads again what is there; where nobody publishes a sum the new one counts.
    #[arg(long)]
    force: bool,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
    /// One JSON object a line on standard output, for programs.
    #[arg(long)]
    json: bool,
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let Some(name) = &arguments.name else {
        print(&list(arguments.json))?;
        return Ok(DONE);
    };
    let published = catalog::find(name)?;
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("data").join(name));
    let download =
        Download::new(published, out).parts(arguments.part.clone()).force(arguments.force);
    // What is had by hand alone is told at once, and unknown parts are.
    if matches!(published.origin, Origin::Files(_)) {
        published.chosen(&arguments.part)?;
        if !accepted(published, arguments)? {
            say("kshot: the terms were not accepted; nothing was downloaded");
            return Ok(WRONG_USE);
        }
    }
    let teller = Teller::new(arguments)?;
    let outcome = download.run(&|event| teller.tell(event));
    teller.bar.borrow().finish_and_clear();
    let outcome = outcome?;
    print(&if arguments.json {
        format!("{}\n", json!({"event": "done", "dataset": outcome.dataset, "root": outcome.root}))
    } else {
        format!(
            "in recipes: [data] dataset = \"{}\", root = \"{}\"\n",
            outcome.dataset,
            outcome.root.display()
        )
    })?;
    Ok(DONE)
}

/// Shows the terms, and asks where somebody can answer.
fn accepted(published: &Published, arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen = published.chosen(&arguments.part)?;
    let size = size(chosen.iter().map(|file| file.bytes).sum());
    say(&format!(
        "{}: {}\nterms: {} ({})\nto download: about {size}, and as much again or more when unpacked",
        published.name, published.about, published.terms, published.page
    ));
    if arguments.accept_licence {
        return Ok(true);
    }
    if arguments.json || !std::io::stdin().is_terminal() {
        say("kshot: nobody is here to accept the terms; give --accept-licence if you do");
        return Ok(false);
    }
    let mut out = std::io::stderr().lock();
    write!(out, "Do you accept these terms? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn list(as_json: bool) -> String {
    if as_json {
        let row = |published: &Published| {
            let parts: Vec<_> = published.files().iter().map(|file| file.part).collect();
            let bytes: u64 = published.files().iter().map(|file| file.bytes).sum();
            let row = json!({"name": published.name, "about": published.about,
                "dataset": published.dataset, "terms": published.terms, "page": published.page,
                "bytes": bytes, "parts": parts, "by_hand": parts.is_empty()});
            format!("{row}\n")
        };
        return catalog::ALL.iter().map(row).collect();
    }
    let row = |published: &Published| {
        let bytes = published.files().iter().map(|file| file.bytes).sum();
        let size = if bytes == 0 { "by hand".to_owned() } else { size(bytes) };
        let parts: Vec<_> = published.files().iter().map(|file| file.part).collect();
        let parts = if parts.len() > 1 { parts.join(", ") } else { String::new() };
        vec![published.name.to_owned(), size, parts, published.about.to_owned()]
    };
    let rows: Vec<_> = catalog::ALL.iter().map(row).collect();
    format!(
        "{}\n`kshot data download NAME` shows the terms and asks first\n",
        aligned(&["name", "size", "parts", "what"], &rows)
    )
}

/// Events as lines, and a bar where somebody looks.
struct Teller {
    json: bool,
    quiet: bool,
    bar: RefCell<ProgressBar>,
}

impl Teller {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let silent = arguments.quiet || arguments.json;
        let bar = if silent { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let template = "{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left {msg}";
        bar.set_style(ProgressStyle::with_template(template)?);
        Ok(Self { json: arguments.json, quiet: arguments.quiet, bar: RefCell::new(bar) })
    }

    fn tell(&self, event: &Event) {
        let bar = self.bar.borrow();
        match event {
            Event::Bytes { done, total } => {
                if let Some(total) = total {
                    bar.set_length(*total);
                }
                bar.set_position(*done);
            }
            Event::Unpacking { entries } => {
                if entries % 100 == 0 {
                    bar.set_message(format!("{entries} entries unpacked"));
                }
            }
            // Whoever does not read on does not stop the download.
            event if self.json => {
                if let Ok(line) = serde_json::to_value(event) {
                    let _ = print(&format!("{line}\n"));
                }
            }
            _ if self.quiet => {}
            event => bar.suspend(|| say(&event.to_string())),
        }
    }
}
