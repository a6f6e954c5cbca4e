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

/// Pixels of a drawing's longer side at most.
const MOST_SIDE: u32 = 1024;
/// Bytes of a drawing at most; those published have a few hundred.
const MOST_BYTES: u64 = 1 << 18;
/// Bytes of all drawings of a zip at most, of which there are nearly 20 000.
const MOST_OF_ALL: u64 = 1 << 28;
/// Entries of a zip at most.
const MOST_ENTRIES: usize = 200_000;

/// How characters are cut into training, validation and test.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
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
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OmniglotConfig {
    /// Its folder.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
    /// Height and width of the pictures.
    #[serde(default = "usual_size")]
    #[schemars(range(min = 1, max = 1024))]
    pub size: usize,
    /// How characters are cut into training, validation and test.
    #[schemars(example = &"lake")]
    pub split: OmniglotSplit,
    /// Mean and standard deviation of gray values (0 to 1) to normalise by, as published weights expect; by
    /// default ink is 1 and paper 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(inner(range(min = -1000.0, max = 1000.0)))]
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
        kshot_data::image::gray_png(&drawing.bytes, MOST_SIDE)
            .and_then(|picture| gray_into(&picture, [size; 2], target))
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
        let failed = |error| Error::io("read the drawing", &name, error);
        let mut file = File::open(&name).map_err(failed)?;
        let bytes = drawn(&mut file, &name).map_err(failed)??;
        drawings.push(Drawing { half, alphabet, character, bytes, name });
    }
    Ok(())
}

/// The bytes of a drawing; the inner error is of one that is far too large.
fn drawn(from: &mut impl Read, name: &Path) -> std::io::Result<Result<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let text = format!(
            "a drawing of more than {} KiB; those of Omniglot have less than one: take it away",
            MOST_BYTES >> 10
        );
        return Ok(Err(Error::data(text).in_file(name)));
    }
    Ok(Ok(bytes))
}

fn packed(archive: &Path, half: usize, drawings: &mut Vec<Drawing>) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::data(format!("not a whole zip: {error}; download it again")).in_file(archive)
    };
    let file = File::open(archive).map_err(|error| Error::io("open the zip", archive, error))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|error| wrong(&error))?;
    if zip.len() > MOST_ENTRIES {
        let text = format!(
            "a zip of {} entries; Omniglot has fewer than {MOST_ENTRIES}: download it again",
            zip.len()
        );
        return Err(Error::data(text).in_file(archive));
    }
    let mut all = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|error| wrong(&error))?;
        let Some(name) = entry.enclosed_name() else {
            let text = format!(
                "the entry `{}` would lie outside the zip's folder; download it again",
                String::from_utf8_lossy(entry.name_raw())
            );
            return Err(Error::data(text).in_file(archive));
        };
        if name.extension().is_none_or(|extension| extension != "png") {
            continue;
        }
        let Some((alphabet, character)) = parts_of(&name) else { continue };
        let bytes = drawn(&mut entry, &archive.join(&name)).map_err(|error| wrong(&error))??;
        all += bytes.len() as u64;
        if all > MOST_OF_ALL {
            let text = format!(
                "its drawings have more than {} MiB; Omniglot's have 5: download it again",
                MOST_OF_ALL >> 20
            );
            return Err(Error::data(text).in_file(archive));
        }
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

    #[test]
    fn zips_are_read_under_limits() {
        use std::io::Write as _;
        let root = tempfile::tempdir().unwrap();
        let png = |side: u32| {
            let mut png = std::io::Cursor::new(Vec::new());
            let drawing = image::GrayImage::from_pixel(side, side, image::Luma([255]));
            drawing.write_to(&mut png, image::ImageFormat::Png).unwrap();
            png.into_inner()
        };
        let read = |entries: &[(&str, Vec<u8>)]| {
            let file = File::create(root.path().join("images_background.zip")).unwrap();
            let mut zip = zip::ZipWriter::new(file);
            for (name, bytes) in entries {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                zip.write_all(bytes).unwrap();
            }
            zip.finish().unwrap();
            super::read(root.path(), 28, &OmniglotSplit::Lake, false, Scaling::INK)
        };
        let good = ("Latin/character01/0001_01.png", png(105));
        assert_eq!(read(std::slice::from_ref(&good)).unwrap().train.classes.len(), 1);
        for (name, bytes, word) in [
            ("Latin/character01/2.png", vec![0; 1 << 20], "more than 256 KiB"),
            ("Latin/character01/2.png", png(2000), "not a PNG of a drawing"),
            ("../../Latin/character01/2.png", png(105), "outside the zip's folder"),
        ] {
            let error = read(&[good.clone(), (name, bytes)]).err().unwrap().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
