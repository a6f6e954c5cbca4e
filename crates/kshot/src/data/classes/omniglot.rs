//! Omniglot (Lake, Salakhutdinov and Tenenbaum, Science 2015): 50 alphabets, 20 drawings a character.
//!
//! Reads the official zips or what they unpack to. Drawings are shrunk to the size asked and inverted
//! (ink is 1, paper 0); by default each quarter turn of a character is a class of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::data::classes::layout::{ClassInput, ClassLayout, ClassRow};
use crate::data::classes::pixels::{Pixels, Scaling, gray_into};
use crate::data::classes::split::Splits;
use crate::data::classes::{ClassSet, ImageClass};
use crate::error::{Error, Result};

/// The two halves of the data set as published.
const HALVES: [&str; 2] = ["images_background", "images_evaluation"];

/// Vinyals's split (Vinyals et al. 2016, arXiv 1606.04080) as later code uses it.
const VINYALS: &str = include_str!("vinyals.csv");

/// How characters are cut into training, validation and test.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OmniglotSplit {
    /// By character over all alphabets: 1028, 172 and 423.
    Vinyals,
    /// Background alphabets for training, evaluation alphabets for test.
    Lake,
    /// As Lake's, with these background alphabets for validation.
    Alphabets(Vec<String>),
}

/// Omniglot as recipes write it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmniglotConfig {
    /// Its folder.
    pub root: PathBuf,
    /// Height and width of the pictures.
    #[serde(default = "usual_size")]
    pub size: usize,
    /// How characters are cut into training, validation and test.
    pub split: OmniglotSplit,
    /// Mean and standard deviation of gray values (0 to 1) to normalise by, as published weights expect; by
    /// default ink is 1 and paper 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalize: Option<[f32; 2]>,
    /// Whether quarter turns count as classes of their own.
    #[serde(default = "yes")]
    pub rotations: bool,
}

fn usual_size() -> usize {
    28
}

fn yes() -> bool {
    true
}

impl ClassRow for OmniglotConfig {
    const NAME: &'static str = "omniglot";
    const SUMMARY: &'static str = "Omniglot: characters of 50 alphabets, 20 images each";
    const SOURCE: &'static str = "https://doi.org/10.1126/science.aab3050";
}

impl ClassLayout for OmniglotConfig {
    fn channels(&self) -> usize {
        1
    }

    fn size(&self) -> [usize; 2] {
        [self.size; 2]
    }

    fn scaling(&self, _: Option<Scaling>) -> Scaling {
        self.normalize
            .map_or(Scaling::INK, |[mean, std]| Scaling { mean: [mean; 3], std: [std; 3] })
    }

    fn splits(&self, input: ClassInput<'_>) -> Result<Splits> {
        match input {
            ClassInput::Pictures(scaling) => {
                read(&self.root, self.size, &self.split, self.rotations, scaling)
            }
            ClassInput::Vectors(_) => Err(Error::config(
                "frozen encoders take photographs, Omniglot has line drawings; use conv4",
            )
            .at_key("model.encoder")),
        }
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

/// A drawing before it is decoded.
struct Drawing {
    half: usize,
    alphabet: String,
    character: String,
    bytes: Vec<u8>,
    name: PathBuf,
}

/// Reads the data set at `root`: `images_background` and `images_evaluation`, each as a folder or a
/// zip; or the alphabets themselves.
///
/// # Errors
/// If nothing is found, a drawing cannot be read, or the split asks for alphabets that are not there.
pub fn read(
    root: &Path,
    size: usize,
    split: &OmniglotSplit,
    rotations: bool,
    scaling: Scaling,
) -> Result<Splits> {
    let mut drawings = Vec::new();
    for (half, name) in HALVES.iter().enumerate() {
        let (folder, archive) = (root.join(name), root.join(format!("{name}.zip")));
        if folder.is_dir() {
            unpacked(&folder, half, &mut drawings)?;
        } else if archive.is_file() {
            packed(&archive, half, &mut drawings)?;
        }
    }
    if drawings.is_empty() && root.is_dir() {
        let half = usize::from(root.ends_with(HALVES[1]));
        unpacked(root, half, &mut drawings)?;
    }
    if drawings.is_empty() {
        return Err(Error::data(
            "no drawing found; expected images_background(.zip) and images_evaluation(.zip) as \
             published at github.com/brendenlake/omniglot; set data.root",
        )
        .in_file(root));
    }
    drawings.sort_by(|left, right| left.name.cmp(&right.name));
    let each = size * size;
    let mut bytes = vec![0; drawings.len() * each];
    bytes.par_chunks_exact_mut(each).zip(&drawings).try_for_each(|(target, drawing)| {
        let picture = image::load_from_memory_with_format(&drawing.bytes, image::ImageFormat::Png)
            .map_err(|error| Error::data(format!("not a PNG: {error}")).in_file(&drawing.name))?;
        gray_into(&picture.into_luma8(), [size; 2], target)
            .map_err(|error| error.in_file(&drawing.name))
    })?;
    let pixels = Arc::new(Pixels::kept(bytes, 1, [size; 2], scaling));
    let mut characters: BTreeMap<(usize, &str, &str), Vec<usize>> = BTreeMap::new();
    for (index, drawing) in drawings.iter().enumerate() {
        let key = (drawing.half, drawing.alphabet.as_str(), drawing.character.as_str());
        characters.entry(key).or_default().push(index);
    }
    let mut parts: [Vec<ImageClass>; 3] = Default::default();
    let place = places(split, characters.keys())?;
    for ((half, alphabet, character), images) in characters {
        if let Some(part) = place(half, alphabet, character) {
            let name = format!("{alphabet}/{character}");
            parts[part].push(ImageClass { name, group: alphabet.to_owned(), images, turns: 0 });
        }
    }
    let [train, validation, test] = parts.map(|classes| {
        let set = ClassSet { classes, pixels: Arc::clone(&pixels) };
        if rotations { set.with_rotations() } else { set }
    });
    Ok(Splits { train, validation, test })
}

/// Says for half, alphabet and character which part it belongs to: 0, 1, 2 or none.
type PartOf = Box<dyn Fn(usize, &str, &str) -> Option<usize>>;

fn places<'a>(
    split: &OmniglotSplit,
    keys: impl Iterator<Item = &'a (usize, &'a str, &'a str)>,
) -> Result<PartOf> {
    Ok(match split {
        OmniglotSplit::Lake => Box::new(|half, _, _| Some(2 * half)),
        OmniglotSplit::Alphabets(validation) => {
            let mut known: Vec<&str> = keys.filter(|key| key.0 == 0).map(|key| key.1).collect();
            known.dedup();
            if let Some(unknown) = validation.iter().find(|name| !known.contains(&name.as_str())) {
                let text = crate::names::unknown("background alphabet", unknown, &known);
                return Err(Error::config(text).at_key("data.split.alphabets"));
            }
            let validation = validation.clone();
            Box::new(move |half, alphabet, _| match half {
                0 => Some(usize::from(validation.iter().any(|name| name == alphabet))),
                _ => Some(2),
            })
        }
        OmniglotSplit::Vinyals => {
            let mut table: BTreeMap<(usize, String, usize), usize> = BTreeMap::new();
            for line in VINYALS.lines().skip(1) {
                let fields: Vec<&str> = line.split(',').collect();
                let [part, half, alphabet, numbers] = fields[..] else { continue };
                let part = ["train", "validation", "test"].iter().position(|name| *name == part);
                let half = HALVES.iter().position(|name| name.ends_with(half));
                let (Some(part), Some(half)) = (part, half) else { continue };
                for number in numbers.split(' ').filter_map(|number| number.parse().ok()) {
                    table.insert((half, alphabet.to_owned(), number), part);
                }
            }
            Box::new(move |half, alphabet, character| {
                let number = character.trim_start_matches("character").parse().ok()?;
                table.get(&(half, alphabet.to_owned(), number)).copied()
            })
        }
    })
}

/// `.../ALPHABET/CHARACTER/DRAWING.png`
fn parts_of(path: &Path) -> Option<(String, String)> {
    let mut folders = path.parent()?.iter().rev().map(|part| part.to_string_lossy().into_owned());
    let (character, alphabet) = (folders.next()?, folders.next()?);
    Some((alphabet, character))
}

fn unpacked(folder: &Path, half: usize, drawings: &mut Vec<Drawing>) -> Result<()> {
    for name in kshot_data::image::list(folder, true)? {
        // Only drawings two folders below: ALPHABET/CHARACTER/DRAWING.
        let depth = name.strip_prefix(folder).map_or(0, |inside| inside.iter().count());
        let (3, Some((alphabet, character))) = (depth, parts_of(&name)) else { continue };
        let bytes =
            std::fs::read(&name).map_err(|error| Error::io("read the drawing", &name, error))?;
        drawings.push(Drawing { half, alphabet, character, bytes, name });
    }
    Ok(())
}

fn packed(archive: &Path, half: usize, drawings: &mut Vec<Drawing>) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::data(format!("not a whole zip: {error}; download it again")).in_file(archive)
    };
    let file = File::open(archive).map_err(|error| Error::io("open the zip", archive, error))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| wrong(&error))?;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|error| wrong(&error))?;
        let Some(name) = entry.enclosed_name() else { continue };
        if name.extension().is_none_or(|extension| extension != "png") {
            continue;
        }
        let Some((alphabet, character)) = parts_of(&name) else { continue };
        let mut bytes = Vec::new();
        // A drawing has a few hundred bytes; a bomb shall not fill the memory.
        entry.by_ref().take(1 << 20).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
        drawings.push(Drawing { half, alphabet, character, bytes, name: archive.join(name) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vinyals_split_has_its_published_size() {
        let mut counts = [0; 3];
        for line in VINYALS.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let part = ["train", "validation", "test"].iter().position(|name| *name == fields[0]);
            counts[part.unwrap()] += fields[3].split(' ').count();
        }
        assert_eq!(counts, [1028, 172, 423]);
    }

    #[test]
    fn folders_are_read_and_turned() {
        let root = tempfile::tempdir().unwrap();
        for (alphabet, character) in [("Latin", "character01"), ("Greek", "character01")] {
            let folder = root.path().join("images_background").join(alphabet).join(character);
            std::fs::create_dir_all(&folder).unwrap();
            image::GrayImage::from_pixel(105, 105, image::Luma([255]))
                .save(folder.join("0001_01.png"))
                .unwrap();
        }
        let alphabets = |names: &[&str]| {
            OmniglotSplit::Alphabets(names.iter().map(|name| (*name).to_owned()).collect())
        };
        let splits = read(root.path(), 28, &alphabets(&["Greek"]), true, Scaling::INK).unwrap();
        assert_eq!(splits.train.classes.len(), 4);
        assert_eq!(splits.validation.classes[3].name, "Greek/character01/270");
        let error = read(root.path(), 28, &alphabets(&["Greec"]), true, Scaling::INK)
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean `Greek`"), "{error}");
    }
}
