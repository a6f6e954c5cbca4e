//! `kshot model`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kshot::classify::model_file::{ModelFile, Origin};
use kshot::job::model::{self as job, AddClassOptions};
use serde_json::json;

use crate::table::{aligned, print};
use crate::talk::Talk;

/// Lists, adds to and drops the classes of a model that `kshot classify --save` wrote.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot classify --support parts/ --query photos/ --out labels.csv --save parts.kshot
  kshot model ls parts.kshot
  kshot model add-class parts.kshot washer new/washer/
  kshot model add-class parts.kshot washer one.jpg another.jpg
  kshot model drop-class parts.kshot bolt

The vectors of the other classes stay as they are, bit for bit; heads are fitted anew at every use.
Exit status: 0 done, 2 wrong use, 4 no room on the disk; the file is then as it was.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line on standard output, for programs.
    #[arg(long, global = true)]
    json: bool,
    /// Only errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The classes with their pictures, and what the model was made with.
    Ls {
        /// The model.
        file: PathBuf,
    },
    /// Adds a class from folders of pictures (subfolders too) or pictures, or more pictures to one that is there: those that
    /// it has already (the same file, whatever its name) are passed over.
    AddClass {
        /// The model.
        file: PathBuf,
        /// The class's name.
        name: String,
        /// Its pictures.
        #[arg(value_name = "DIR|PICTURE", required = true)]
        pictures: Vec<PathBuf>,
        /// Weights of the network, where they were given when the model was made.
        #[arg(long, value_name = "FILE|REPOSITORY")]
        weights: Option<PathBuf>,
        /// flex (CPU), cuda:0, vulkan, ...: what this build holds.
        #[arg(long, default_value = "flex")]
        device: String,
    },
    /// Drops a class.
    DropClass {
        /// The model.
        file: PathBuf,
        /// The class's name.
        name: String,
    },
}

/// Runs the command; the exit status is returned.
pub fn run(arguments: Arguments) -> anyhow::Result<u8> {
    let talk = Talk::new(arguments.json, arguments.quiet);
    let finished = match arguments.command {
        Command::Ls { file } => {
            print(&list(&file, arguments.json)?)?;
            true
        }
        Command::AddClass { file, name, pictures, weights, device } => {
            let options = AddClassOptions { model: file, class: name, pictures, weights, device };
            talk.follow(|watch| job::add_class(&options, watch))?
        }
        Command::DropClass { file, name } => {
            talk.follow(|watch| job::drop_class(&file, &name, watch))?;
            true
        }
    };
    Ok(Talk::end(&[], !finished))
}

fn list(file: &Path, as_json: bool) -> anyhow::Result<String> {
    let model = ModelFile::read(file)?;
    let Origin { encoder, weights_sha256, input_views } = &model.origin;
    let mut text = String::new();
    if as_json {
        let line = json!({"encoder": encoder, "weights_sha256": weights_sha256,
            "size": input_views.size, "views": input_views.views, "classes": model.classes.len()});
        text.push_str(&format!("{line}\n"));
        for class in &model.classes {
            let pictures: Vec<&str> = class.examples.iter().map(|e| &*e.file).collect();
            text.push_str(&format!("{}\n", json!({"class": class.name, "pictures": pictures})));
        }
    } else {
        let rows: Vec<Vec<String>> = model
            .classes
            .iter()
            .map(|class| {
                let first = class.examples.first().map_or("", |example| &example.file);
                vec![class.name.clone(), class.examples.len().to_string(), first.to_owned()]
            })
            .collect();
        text = aligned(&["class", "pictures", "first"], &rows);
        text.push_str(&format!(
            "\n{} classes; {encoder}, {} pixels, {} views, weights {}...\n",
            model.classes.len(),
            input_views.size,
            input_views.views,
            weights_sha256.chars().take(12).collect::<String>()
        ));
    }
    Ok(text)
}
