//! The classes of a model file: one more, or one less. The vectors of the others stay as they are, bit
//! for bit.

use std::path::{Path, PathBuf};

use kshot_data::class_folder::{ClassFolder, ClassPicture};
use kshot_data::image;
use kshot_data::lock::Lock;

use crate::classify::model_file::ModelFile;
use crate::classify::vectors;
use crate::device;
use crate::error::{Error, Result};
use crate::job::classify::embedder;
use crate::job::event::Event;
use crate::job::watch::Watch;

/// A class to add.
#[derive(Debug, Clone, PartialEq)]
pub struct AddClassOptions {
    /// The model.
    pub model: PathBuf,
    /// The class's name.
    pub class: String,
    /// Folder of its pictures (subfolders too), or one picture.
    pub pictures: PathBuf,
    /// Weights of the network, where they were given when the model was made.
    pub weights: Option<PathBuf>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
}

/// Adds a class; whether it was not stopped before. Where it is not added, the file is as it was.
///
/// # Errors
/// If there is a class of that name, a picture cannot be read, the weights are not those of the model, or
/// the file cannot be read or written.
pub fn add_class(options: &AddClassOptions, watch: &Watch<'_>) -> Result<bool> {
    let _lock = Lock::of_file(&options.model)?;
    let mut model = ModelFile::read(&options.model)?;
    let paths = if options.pictures.is_file() {
        vec![options.pictures.clone()]
    } else {
        image::list(&options.pictures, true)?
    };
    if paths.is_empty() {
        return Err(Error::data("no picture here").in_file(&options.pictures));
    }
    let folder = ClassFolder {
        classes: vec![options.class.clone()],
        pictures: paths.into_iter().map(|path| ClassPicture { path, class: 0 }).collect(),
        warnings: Vec::new(),
    };
    let device = device::parse(&options.device)?;
    let embedder = embedder(&model, options.weights.as_deref(), &device)?;
    let go_on = |_| !watch.is_cancelled();
    let Some((classes, _)) = vectors::examples(&embedder, &folder, go_on)? else {
        return Ok(false);
    };
    for class in classes {
        let pictures = class.examples.len();
        model.add_class(class)?;
        model.write(&options.model)?;
        let classes = model.classes.len();
        watch.tell(&Event::Added { class: &options.class, pictures, classes });
    }
    Ok(true)
}

/// Drops a class.
///
/// # Errors
/// If there is none of that name, it is the last, or the file cannot be read or written.
pub fn drop_class(file: &Path, class: &str, watch: &Watch<'_>) -> Result<()> {
    let _lock = Lock::of_file(file)?;
    let mut model = ModelFile::read(file)?;
    let pictures = model.drop_class(class)?.examples.len();
    model.write(file)?;
    watch.tell(&Event::Dropped { class, pictures, classes: model.classes.len() });
    Ok(())
}
