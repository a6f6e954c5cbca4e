//! A recogniser in one file: every example's vector, name and small picture, class by class.
//!
//! The file is a safetensors file. Class `i` of its metadata (the key `kshot`, JSON) has the tensors
//! `class/NAME/vectors`, `[examples, dimensions]` in half precision, and `class/NAME/thumbnails`, its
//! examples' JPEGs one after the other; `model_checksum.rs` says how the whole is protected. Heads are fitted when the file is opened, which takes a moment
//! and needs no picture: so a class can be added or dropped without touching the others.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use kshot_data::atomic;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::classify::{LabelledVectors, model_checksum};
use crate::error::{Error, Result};
use crate::features::embed::InputViews;
use crate::names;

/// The version of the format.
const FORMAT: u32 = 1;
/// The key of our metadata.
pub(super) const KEY: &str = "kshot";

/// What vectors in the file come from: only those of the same origin can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The encoder's name.
    pub encoder: String,
    /// SHA-256 of its weights' file.
    pub weights_sha256: String,
    /// Input size and test-time views (`looking` in files of before).
    #[serde(alias = "looking")]
    pub input_views: InputViews,
}

/// A labelled picture as a recogniser keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredExample {
    /// Its file.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// Its vector, of length 1.
    pub vector: Vec<f32>,
    /// A small JPEG of it.
    pub thumbnail: Vec<u8>,
}

/// A class with its examples.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredClass {
    /// Its name.
    pub name: String,
    /// Its examples.
    pub examples: Vec<StoredExample>,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// What the vectors come from.
    pub origin: Origin,
    /// The classes in the order of their names.
    pub classes: Vec<StoredClass>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: u32,
    version: String,
    #[serde(flatten)]
    origin: Origin,
    classes: Vec<ClassMetadata>,
    /// Whether the file has a checksum, so that one whose checksum is lost is not taken for one of an earlier version.
    #[serde(default)]
    checksum: bool,
}

#[derive(Serialize, Deserialize)]
struct ClassMetadata {
    name: String,
    pictures: Vec<PictureMetadata>,
}

#[derive(Serialize, Deserialize)]
struct PictureMetadata {
    file: String,
    sha256: String,
    thumbnail_bytes: usize,
}

/// Why a file is not read.
pub(super) enum Unreadable {
    /// Its checksum is not that of its content.
    Checksum,
    /// Anything else, in words.
    Other(String),
}

impl From<String> for Unreadable {
    fn from(what: String) -> Self {
        Self::Other(what)
    }
}

impl ModelFile {
    /// Puts examples together by class.
    pub fn new(origin: Origin, classes: Vec<StoredClass>) -> Self {
        let mut model = Self { origin, classes };
        model.classes.sort_by(|a, b| a.name.cmp(&b.name));
        model
    }

    /// The vectors, to fit a head to.
    pub fn examples(&self) -> LabelledVectors {
        let mut all = LabelledVectors::default();
        for (label, class) in self.classes.iter().enumerate() {
            all.classes.push(class.name.clone());
            for example in &class.examples {
                all.vectors.push(example.vector.clone());
                all.labels.push(label);
            }
        }
        all
    }

    /// The `index`-th of [`Self::examples`].
    pub fn example(&self, index: usize) -> Option<&StoredExample> {
        self.classes.iter().flat_map(|class| &class.examples).nth(index)
    }

    /// Adds a class; the others stay as they are.
    ///
    /// # Errors
    /// If there is one of that name, it has no example, or its vectors have another length.
    pub fn add_class(&mut self, class: StoredClass) -> Result<()> {
        if self.classes.iter().any(|other| other.name == class.name) {
            return Err(Error::config(format!(
                "there is a class {} already; drop it first, or give another name",
                class.name
            )));
        }
        if class.examples.is_empty() {
            return Err(Error::data(format!("the class {} has no picture", class.name)));
        }
        self.check_dimensions(&class)?;
        let at = self.classes.partition_point(|other| other.name < class.name);
        self.classes.insert(at, class);
        Ok(())
    }

    /// Adds pictures to a class that is there; how many it has then. Its own and the other classes' stay as they are.
    ///
    /// # Errors
    /// If there is no class of that name, or the vectors have another length.
    pub fn add_examples(&mut self, class: StoredClass) -> Result<usize> {
        self.check_dimensions(&class)?;
        let names: Vec<&str> = self.classes.iter().map(|class| &*class.name).collect();
        let Some(at) = names.iter().position(|name| *name == class.name) else {
            return Err(Error::config(names::unknown("class", &class.name, &names)));
        };
        self.classes[at].examples.extend(class.examples);
        Ok(self.classes[at].examples.len())
    }

    fn check_dimensions(&self, class: &StoredClass) -> Result<()> {
        let dimensions = self.examples().dimensions();
        if class.examples.iter().any(|e| e.vector.len() != dimensions && dimensions > 0) {
            return Err(Error::new(
                crate::ErrorKind::Shape,
                format!("the vectors of {} do not have {dimensions} numbers", class.name),
            ));
        }
        Ok(())
    }

    /// Drops a class; the others stay as they are.
    ///
    /// # Errors
    /// If there is none of that name, or it is the last.
    pub fn drop_class(&mut self, name: &str) -> Result<StoredClass> {
        let Some(at) = self.classes.iter().position(|class| class.name == name) else {
            let names: Vec<&str> = self.classes.iter().map(|class| &*class.name).collect();
            return Err(Error::config(names::unknown("class", name, &names)));
        };
        if self.classes.len() == 1 {
            return Err(Error::config(format!(
                "{name} is the only class; remove the file instead, or add another class first"
            )));
        }
        Ok(self.classes.remove(at))
    }

    /// Whether vectors of `other`, of that many numbers, can be compared with those of the file.
    ///
    /// # Errors
    /// If encoder, weights, input size, views or the number of numbers differ.
    pub fn check_origin(&self, other: &Origin, dimensions: usize) -> Result<()> {
        let Origin { encoder, weights_sha256, input_views } = &self.origin;
        if *encoder != other.encoder || *input_views != other.input_views {
            return Err(Error::config(format!(
                "the model was made with {encoder} at {} pixels and {} views, not {} at {} and {}",
                input_views.size,
                input_views.views,
                other.encoder,
                other.input_views.size,
                other.input_views.views
            )));
        }
        if *weights_sha256 != other.weights_sha256 {
            let short = |sha256: &str| sha256.chars().take(12).collect::<String>();
            return Err(Error::weights(format!(
                "the model was made with other weights of {encoder} (SHA-256 {}..., these are {}...); \
                 give those with --weights, or make the model anew",
                short(weights_sha256),
                short(&other.weights_sha256),
            )));
        }
        let stored = self.examples().dimensions();
        if stored != dimensions {
            return Err(Error::data(format!(
                "the model's vectors have {stored} numbers, those of {encoder} {dimensions}; it is \
                 damaged, or of another version of kshot: make it anew"
            )));
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is no model of kshot.
    pub fn read(path: &Path) -> Result<Self> {
        let unread = |error| Error::io("read the model", path, error);
        let bytes = model_checksum::bytes_of(path).map_err(unread)?;
        bytes.and_then(|bytes| Self::from_bytes(&bytes)).map_err(|what| {
            Error::data(match what {
                Unreadable::Other(what) => format!(
                    "not a model that `kshot classify --save` wrote, or a damaged one ({what})"
                ),
                Unreadable::Checksum => "damaged: its checksum is not that of its content; take a \
                                         copy that is whole, or save it again with `kshot classify \
                                         --save`"
                    .to_owned(),
            })
            .in_file(path)
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (size, header) =
            SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let text = header.metadata().as_ref().and_then(|all| all.get(KEY));
        let text = text.ok_or("it has no metadata of kshot".to_owned())?;
        let known = model_checksum::is_right(text, &header, &bytes[8 + size..]);
        if known == Some(false) {
            return Err(Unreadable::Checksum);
        }
        let metadata: Metadata = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if metadata.checksum && known.is_none() {
            return Err(Unreadable::Checksum);
        }
        Ok(Self::from_parts(metadata, bytes)?)
    }

    fn from_parts(metadata: Metadata, bytes: &[u8]) -> Result<Self, String> {
        if metadata.format != FORMAT {
            return Err(format!(
                "format {}, while this version of kshot reads {FORMAT}",
                metadata.format
            ));
        }
        metadata.origin.input_views.check().map_err(|error| error.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        let mut dimensions = None;
        let mut classes = Vec::with_capacity(metadata.classes.len());
        for class in metadata.classes {
            let name = class.name.clone();
            if !names.insert(name.clone()) || class.pictures.is_empty() {
                return Err(format!("the class {name} is there twice or without a picture"));
            }
            let read = read_class(&tensors, class)?;
            let wide = read.examples[0].vector.len();
            if *dimensions.get_or_insert(wide) != wide {
                return Err(format!("vectors of {name} are of another length"));
            }
            classes.push(read);
        }
        if classes.is_empty() {
            return Err("it has no class".to_owned());
        }
        Ok(Self::new(metadata.origin, classes))
    }

    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.bytes()?)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::data(format!("the model cannot be written: {error}"))
        };
        let mut metadata = Metadata {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: self.origin.clone(),
            classes: Vec::new(),
            checksum: true,
        };
        let mut data = Vec::new();
        for class in &self.classes {
            let wide = class.examples.first().map_or(0, |example| example.vector.len());
            let mut vectors = Vec::with_capacity(class.examples.len() * wide * 2);
            let mut thumbnails = Vec::new();
            let mut pictures = Vec::new();
            for example in &class.examples {
                for value in &example.vector {
                    vectors.extend(f16::from_f32(*value).to_le_bytes());
                }
                thumbnails.extend(&example.thumbnail);
                pictures.push(PictureMetadata {
                    file: example.file.clone(),
                    sha256: example.sha256.clone(),
                    thumbnail_bytes: example.thumbnail.len(),
                });
            }
            let shape = vec![class.examples.len(), wide];
            let bytes = vec![thumbnails.len()];
            data.push((key(&class.name, "vectors"), Dtype::F16, shape, vectors));
            data.push((key(&class.name, "thumbnails"), Dtype::U8, bytes, thumbnails));
            metadata.classes.push(ClassMetadata { name: class.name.clone(), pictures });
        }
        let text = serde_json::to_string(&metadata).map_err(|error| wrong(&error))?;
        let mut views = Vec::with_capacity(data.len());
        for (name, dtype, shape, bytes) in &data {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| wrong(&e))?;
            views.push((name.clone(), view));
        }
        let bytes = safetensors::serialize(views, Some(HashMap::from([(KEY.to_owned(), text)])))
            .map_err(|error| wrong(&error))?;
        model_checksum::added(&bytes).map_err(|what| wrong(&what))
    }
}

fn key(class: &str, what: &str) -> String {
    format!("class/{class}/{what}")
}

fn read_class(tensors: &SafeTensors<'_>, class: ClassMetadata) -> Result<StoredClass, String> {
    let name = class.name;
    let tensor = |what: &str| tensors.tensor(&key(&name, what)).map_err(|e| e.to_string());
    let vectors = tensor("vectors")?;
    let count = class.pictures.len();
    let (&[rows, wide], Dtype::F16) = (vectors.shape(), vectors.dtype()) else {
        return Err(format!("the vectors of {name} are of the wrong kind"));
    };
    if rows != count || wide == 0 {
        return Err(format!("{name} has {count} pictures and {rows} vectors"));
    }
    let halves: Vec<f16> =
        vectors.data().chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect();
    let values = halves.to_f32_vec();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(format!("a vector of {name} is not finite"));
    }
    let thumbnails = tensor("thumbnails")?;
    let mut rest = thumbnails.data();
    let mut examples = Vec::with_capacity(count);
    for (picture, vector) in class.pictures.into_iter().zip(values.chunks_exact(wide)) {
        let Some((thumbnail, after)) = rest.split_at_checked(picture.thumbnail_bytes) else {
            return Err(format!("the small pictures of {name} are cut off"));
        };
        rest = after;
        examples.push(StoredExample {
            file: picture.file,
            sha256: picture.sha256,
            vector: vector.to_vec(),
            thumbnail: thumbnail.to_vec(),
        });
    }
    Ok(StoredClass { name, examples })
}

#[cfg(test)]
#[path = "model_file_tests.rs"]
mod tests;
