//! `kshot model`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kshot::classify::model_file::{ModelFile, Origin};
use kshot::classify::vectors;
use kshot::device;
use kshot::encoder::EncoderConfig;
use kshot::features::embed::Embedder;
use kshot_data::class_folder::{ClassFolder, ClassPicture};
use kshot_data::image;
use serde_json::json;

use crate::DONE;
use crate::table::{aligned, print};
use crate::talk::Talk;

/// Lists, adds and drops the classes of a model that `kshot classify --save` wrote.
#[derive(Args)]
#[command(after_help = "Examples:
  kshot classify --support parts/ --query photos/ --out labels.csv --save parts.kshot
  kshot model ls parts.kshot
  kshot model add-class parts.kshot washer new/washer/
  kshot model drop-class parts.kshot bolt

The vectors of the other classes stay as they are, bit for bit; heads are fitted anew at every use.
Exit status: 0 done, 2 wrong use; the file is then as it was.")]
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
    /// Adds a class from a folder of pictures (subfolders too) or one picture.
    AddClass {
        /// The model.
        file: PathBuf,
        /// The class's name.
        name: String,
        /// Its pictures.
        #[arg(value_name = "DIR|PICTURE")]
        pictures: PathBuf,
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
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let talk = Talk { json: arguments.json, quiet: arguments.quiet };
    match &arguments.command {
        Command::Ls { file } => list(file, arguments.json)?,
        Command::AddClass { file, name, pictures, weights, device } => {
            add(file, name, pictures, weights.as_deref(), device, &talk)?;
        }
        Command::DropClass { file, name } => {
            let mut model = ModelFile::read(file)?;
            let dropped = model.drop_class(name)?;
            model.write(file)?;
            talk.say(
                json!({"event": "dropped", "class": name, "pictures": dropped.examples.len(),
                    "classes": model.classes.len()}),
                &format!("{name} dropped; {} classes stay", model.classes.len()),
            );
        }
    }
    Ok(DONE)
}

fn list(file: &Path, as_json: bool) -> anyhow::Result<()> {
    let model = ModelFile::read(file)?;
    let Origin { encoder, weights_sha256, looking } = &model.origin;
    let mut text = String::new();
    if as_json {
        let line = json!({"encoder": encoder, "weights_sha256": weights_sha256,
            "size": looking.size, "views": looking.views, "classes": model.classes.len()});
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
            looking.size,
            looking.views,
            weights_sha256.chars().take(12).collect::<String>()
        ));
    }
    print(&text)?;
    Ok(())
}

fn add(
    file: &Path,
    name: &str,
    pictures: &Path,
    weights: Option<&Path>,
    device: &str,
    talk: &Talk,
) -> anyhow::Result<()> {
    let mut model = ModelFile::read(file)?;
    let paths =
        if pictures.is_file() { vec![pictures.to_owned()] } else { image::list(pictures, true)? };
    anyhow::ensure!(!paths.is_empty(), "{}: no picture here", pictures.display());
    let folder = ClassFolder {
        classes: vec![name.to_owned()],
        pictures: paths.into_iter().map(|path| ClassPicture { path, class: 0 }).collect(),
        warnings: Vec::new(),
    };
    let config: EncoderConfig = model.origin.encoder.parse()?;
    let looking = model.origin.looking;
    let device = device::parse(device)?;
    let (embedder, weights_sha256) = Embedder::from_weights(&config, weights, &device, looking)?;
    let encoder = model.origin.encoder.clone();
    model.check_origin(&Origin { encoder, weights_sha256, looking }, embedder.dimensions())?;
    let (classes, _) = vectors::examples(&embedder, &folder, |_| ())?;
    for class in classes {
        let count = class.examples.len();
        model.add_class(class)?;
        model.write(file)?;
        let text = format!("{name} added from {count} pictures; {} classes", model.classes.len());
        let line = json!({"event": "added", "class": name, "pictures": count,
            "classes": model.classes.len()});
        talk.say(line, &text);
    }
    Ok(())
}
