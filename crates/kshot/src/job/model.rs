//! The classes of a model file: one more or one less, or more pictures of one. The vectors of the others stay as they
//! are, bit for bit.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kshot_data::class_folder::{ClassFolder, ClassPicture};
use kshot_data::found_pictures::{FoundPictures, of_broken};
use kshot_data::lock::Lock;
use kshot_data::near_names::near;

use crate::classify::model_file::{ModelFile, StoredClass};
use crate::classify::{copies, vectors};
use crate::device;
use crate::error::{Error, Result};
use crate::hash;
use crate::job::classify::embedder;
use crate::job::event::Event;
use crate::job::watch::Watch;

/// Pictures to add to a class of a model, or to a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct AddClassOptions {
    /// The model.
    pub model: PathBuf,
    /// The class's name.
    pub class: String,
    /// Folders of its pictures (subfolders too), or pictures.
    pub pictures: Vec<PathBuf>,
    /// Weights of the network, where they were given when the model was made.
    pub weights: Option<PathBuf>,
    /// The compute device, such as `flex` (CPU) or `cuda:0`.
    pub device: String,
}

/// Adds a class, or pictures to one that is there (those that it has already, by SHA-256, are passed over); whether it was
/// not stopped before. Where nothing is added, the file is as it was.
///
/// # Errors
/// If the class has no name, a picture cannot be read, the weights are not those of the model, or
/// the file cannot be read or written.
pub fn add_class(options: &AddClassOptions, watch: &Watch<'_>) -> Result<bool> {
    let AddClassOptions { model: file, class, .. } = options;
    if class.trim().is_empty() {
        return Err(Error::config("a class needs a name; give it after the model's file"));
    }
    let _lock = Lock::of_file(file)?;
    let mut model = ModelFile::read(file)?;
    let given = listed(&options.pictures, watch)?;
    let all = given.len();
    let stored = model.classes.iter().find(|stored| stored.name == *class);
    let (is_new, had) = (stored.is_none(), stored.map_or(0, |stored| stored.examples.len()));
    let paths = match stored {
        Some(stored) => not_in(stored, given)?,
        None => given,
    };
    let known = all - paths.len();
    if is_new {
        warn_of_near(&model, options, watch);
    }
    if paths.is_empty() {
        let classes = model.classes.len();
        watch.tell(&Event::Added { class, pictures: 0, known, of_class: had, classes });
        return Ok(true);
    }
    let folder = ClassFolder {
        classes: vec![class.clone()],
        pictures: paths.into_iter().map(|path| ClassPicture { path, class: 0 }).collect(),
        warnings: Vec::new(),
    };
    let device = device::parse(&options.device)?;
    let embedder = embedder(&model, options.weights.as_deref(), &device)?;
    let go_on = |_| !watch.is_cancelled();
    let Some((added, odd)) = vectors::examples(&embedder, &folder, go_on)? else {
        return Ok(false);
    };
    odd.iter().for_each(|words| watch.warn(words));
    for added in added {
        copies::in_others(&model.classes, &added).iter().for_each(|words| watch.warn(words));
        let pictures = added.examples.len();
        if is_new {
            model.add_class(added)?;
        } else {
            model.add_examples(added)?;
        }
        model.write(file)?;
        let (of_class, classes) = (had + pictures, model.classes.len());
        watch.tell(&Event::Added { class, pictures, known, of_class, classes });
    }
    Ok(true)
}

/// The pictures of all that is given, each file once.
fn listed(given: &[PathBuf], watch: &Watch<'_>) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut met = HashSet::new();
    for given in given {
        let mut files = vec![given.clone()];
        if !given.is_file() {
            let found = FoundPictures::of(given, true)?;
            of_broken(given, &found.broken).iter().for_each(|words| watch.warn(words));
            files = found.files;
        }
        if files.is_empty() {
            return Err(Error::data("no picture here").in_file(given));
        }
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        paths.extend(files.into_iter().filter(|path| met.insert(whole(path))));
    }
    if paths.is_empty() {
        return Err(Error::config("give the class's pictures, or a folder of them"));
    }
    Ok(paths)
}

/// Those of the pictures that a class does not have, each once.
fn not_in(stored: &StoredClass, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut known: HashSet<String> =
        stored.examples.iter().map(|example| example.sha256.clone()).collect();
    let mut left = Vec::new();
    for path in paths {
        if known.insert(hash::of_file(&path)?) {
            left.push(path);
        }
    }
    Ok(left)
}

/// Warns where the name of a new class is nearly that of one that is there.
fn warn_of_near(model: &ModelFile, options: &AddClassOptions, watch: &Watch<'_>) {
    let class = &options.class;
    let names: Vec<&str> = model.classes.iter().map(|class| &*class.name).collect();
    if let Some(other) = near(class, &names) {
        watch.warn(&format!(
            "there is a class `{other}`; `{class}` becomes another. If `{other}` was meant: `kshot model \
             drop-class {} {class}`, and add the pictures to `{other}`",
            options.model.display()
        ));
    }
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
