//! The labelled pictures a user gives: the support set.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::labels::index::{self, Reading};
use super::labels::{boxes, labelme};
use super::mask::{MAX_CLASSES, Mask};
use crate::error::{Error, Result};

/// How a picture was labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// Every pixel is labelled (index, palette or binary mask).
    Mask,
    /// Outlines: polygons of a labelling tool.
    Polygons,
    /// A few strokes; the rest is unlabelled.
    Scribble,
    /// Boxes; what is inside is the class and more, what is outside is background.
    Boxes,
}

impl std::fmt::Display for LabelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mask => "mask",
            Self::Polygons => "polygons",
            Self::Scribble => "scribble",
            Self::Boxes => "boxes",
        })
    }
}

/// One labelled picture.
#[derive(Debug, Clone)]
pub struct LabelledPicture {
    /// The picture's file.
    pub path: PathBuf,
    /// The file its labels came from.
    pub labels: PathBuf,
    /// The picture, upright.
    pub image: RgbImage,
    /// Its labels, of the same size.
    pub mask: Mask,
    /// How it was labelled.
    pub kind: LabelKind,
}

/// K labelled pictures of C classes.
#[derive(Debug, Clone, Default)]
pub struct Support {
    /// The classes' names without background: class `i + 1` of the masks is `classes[i]`.
    pub classes: Vec<String>,
    /// The labelled pictures.
    pub pictures: Vec<LabelledPicture>,
    /// What was passed over, in words.
    pub warnings: Vec<String>,
}

/// Where a picture's labels are, before the classes are known.
enum Found {
    Mask(PathBuf),
    Scribble(PathBuf),
    LabelMe(PathBuf, labelme::File),
    Boxes(Vec<boxes::LabelledBox>),
}

/// At most this many problems are listed in one error.
const LISTED: usize = 10;

impl Support {
    /// Reads a folder of labelled pictures.
    ///
    /// Pictures are in `images/` (or in the folder itself). A picture `images/a.jpg` is labelled by
    /// the first of: `masks/a.png`, `scribbles/a.png`, a LabelMe file `a.json` beside it, or lines
    /// for `a.jpg` in `boxes.csv`. Ways of labelling may be mixed. Class names come from
    /// `classes.txt` (one a line), else from LabelMe's labels and the boxes' classes in alphabetical
    /// order, else masks' numbers are their names.
    ///
    /// # Errors
    /// If no picture is labelled, or if any label is wrong: all that are wrong are listed.
    pub fn load(folder: &Path) -> Result<Self> {
        let images = folder.join("images");
        let images = if images.is_dir() { images } else { folder.to_owned() };
        let files = super::image::list(&images, false)?;
        let csv = folder.join("boxes.csv");
        let mut all_boxes = if csv.is_file() { boxes::read_csv(&csv)? } else { BTreeMap::new() };
        let mut found = Vec::new();
        let mut support = Self::default();
        let mut problems = Vec::new();
        for file in files {
            match locate(folder, &file, &mut all_boxes) {
                Ok(Some(labels)) => found.push((file, labels)),
                Ok(None) => support.warnings.push(format!(
                    "{}: no label, passed over (looked for masks/, scribbles/, LabelMe JSON and \
                     boxes.csv)",
                    file.display()
                )),
                Err(error) => problems.push(error),
            }
        }
        for name in all_boxes.keys() {
            support
                .warnings
                .push(format!("{}: boxes for `{name}`, but no such picture", csv.display()));
        }
        if found.is_empty() && problems.is_empty() {
            return Err(Error::data(
                "no labelled picture here; put pictures in images/ and their labels in masks/ or \
                 scribbles/ (PNG of the same name), LabelMe JSON beside them, or boxes.csv",
            )
            .in_file(folder));
        }
        support.classes = classes(folder, &found)?;
        for (file, labels) in found {
            match support.read(&file, &csv, labels) {
                Ok(picture) => support.pictures.push(picture),
                Err(error) => problems.push(error),
            }
        }
        if problems.is_empty() {
            return Ok(support);
        }
        let more = problems.len().saturating_sub(LISTED);
        let mut lines: Vec<String> =
            problems.iter().take(LISTED).map(|error| format!("\n  {error}")).collect();
        if more > 0 {
            lines.push(format!("\n  and {more} more"));
        }
        Err(Error::data(format!("{} wrong labels:{}", problems.len(), lines.concat()))
            .in_file(folder))
    }

    fn read(&self, file: &Path, csv: &Path, labels: Found) -> Result<LabelledPicture> {
        let image = super::image::read(file)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        let count = self.classes.len();
        let (mask, kind, labels) = match labels {
            Found::Mask(path) => (index::read(&path, count, Reading::Mask)?, LabelKind::Mask, path),
            Found::Scribble(path) => {
                (index::read(&path, count, Reading::Scribble)?, LabelKind::Scribble, path)
            }
            Found::LabelMe(path, file) => {
                let mask = labelme::paint(&file, &self.classes, width, height, &path)?;
                (mask, LabelKind::Polygons, path)
            }
            Found::Boxes(rows) => {
                let mask = boxes::paint(&rows, &self.classes, width, height, csv)?;
                (mask, LabelKind::Boxes, csv.to_owned())
            }
        };
        if (mask.width, mask.height) != (width, height) {
            return Err(Error::data(format!(
                "the mask is {} x {} but its picture {} is {width} x {height}; export the mask at \
                 the picture's size",
                mask.width,
                mask.height,
                file.display()
            ))
            .in_file(labels));
        }
        Ok(LabelledPicture { path: file.to_owned(), labels, image, mask, kind })
    }
}

fn locate(
    folder: &Path,
    file: &Path,
    all_boxes: &mut BTreeMap<String, Vec<boxes::LabelledBox>>,
) -> Result<Option<Found>> {
    let stem = Path::new(file.file_stem().unwrap_or_default());
    let labelled = |below: &str| {
        // `with_extension` would cut `a.b` short.
        let mut name = stem.as_os_str().to_owned();
        name.push(".png");
        let path = folder.join(below).join(name);
        path.is_file().then_some(path)
    };
    if let Some(path) = labelled("masks") {
        return Ok(Some(Found::Mask(path)));
    }
    if let Some(path) = labelled("scribbles") {
        return Ok(Some(Found::Scribble(path)));
    }
    let json = file.with_extension("json");
    if json.is_file()
        && let Some(labels) = labelme::read(&json)?
    {
        return Ok(Some(Found::LabelMe(json, labels)));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(all_boxes.remove(&name).map(Found::Boxes))
}

fn classes(folder: &Path, found: &[(PathBuf, Found)]) -> Result<Vec<String>> {
    let path = folder.join("classes.txt");
    let names: Vec<String> = if path.is_file() {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::io("read the class names", &path, error))?;
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    } else {
        let mut names = BTreeSet::new();
        let mut largest = 0;
        for (_, labels) in found {
            match labels {
                Found::Mask(path) => largest = largest.max(index::largest_class(path)?),
                Found::Scribble(path) => {
                    let mask = index::read_values(path)?;
                    let highest = (1..255).rev().find(|&value| mask.counts()[value] > 0);
                    largest = largest.max(highest.unwrap_or(0) as u8);
                }
                Found::LabelMe(_, file) => {
                    names.extend(file.shapes.iter().map(|shape| shape.label.clone()));
                }
                Found::Boxes(rows) => names.extend(rows.iter().map(|row| row.class.clone())),
            }
        }
        if !names.is_empty() && usize::from(largest) > names.len() {
            return Err(Error::data(format!(
                "masks hold class numbers up to {largest}, but the outlines and boxes name {} \
                 classes; write classes.txt with a name a line, in the order of the numbers",
                names.len()
            ))
            .in_file(folder));
        }
        if names.is_empty() {
            (1..=largest).map(|number| format!("class {number}")).collect()
        } else {
            names.into_iter().collect()
        }
    };
    if names.is_empty() || names.len() > usize::from(MAX_CLASSES) {
        return Err(Error::data(format!(
            "{} classes; there must be 1 to {MAX_CLASSES}. Name them in classes.txt, one a line",
            names.len()
        ))
        .in_file(folder));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mask::{UNLABELLED, VOID};

    fn picture(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::new(4, 2).save(path).unwrap();
    }

    fn gray(path: &Path, pixels: [u8; 8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_raw(4, 2, pixels.to_vec()).unwrap().save(path).unwrap();
    }

    #[test]
    fn a_mixture_of_labels_is_one_support() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["a.png", "b.png", "c.png", "d.png", "e.png"] {
            picture(&at("images").join(name));
        }
        gray(&at("masks/a.png"), [0, 1, 2, 255, 0, 0, 0, 0]);
        gray(&at("scribbles/b.png"), [255, 1, 0, 255, 255, 255, 255, 255]);
        std::fs::write(
            at("images/c.json"),
            r#"{"imagePath": "c.png", "shapes": [{"label": "dog", "points": [[0,0],[4,0],[4,1],[0,1]]}]}"#,
        )
        .unwrap();
        std::fs::write(at("boxes.csv"), "image,xmin,ymin,xmax,ymax,class\nd.png,0,0,2,2,cat\n")
            .unwrap();
        std::fs::write(at("classes.txt"), "cat\ndog\n").unwrap();
        let support = Support::load(folder.path()).unwrap();
        assert_eq!(support.classes, ["cat", "dog"]);
        let masks: Vec<&[u8]> = support.pictures.iter().map(|p| &p.mask.pixels[..]).collect();
        assert_eq!(masks[0], [0, 1, 2, VOID, 0, 0, 0, 0]);
        const U: u8 = UNLABELLED;
        assert_eq!(masks[1], [U, 1, 0, U, U, U, U, U]);
        assert_eq!(masks[2], [2, 2, 2, 2, 0, 0, 0, 0]);
        assert_eq!(masks[3], [1, 1, 0, 0, 1, 1, 0, 0]);
        assert!(support.warnings.len() == 1 && support.warnings[0].contains("e.png"));
    }

    #[test]
    fn every_wrong_label_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        picture(&at("images/a.png"));
        picture(&at("images/b.png"));
        gray(&at("masks/a.png"), [9, 0, 0, 0, 0, 0, 0, 0]);
        std::fs::create_dir_all(at("masks")).unwrap();
        image::GrayImage::new(3, 3).save(at("masks/b.png")).unwrap();
        std::fs::write(at("classes.txt"), "cat\n").unwrap();
        let error = Support::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("2 wrong labels") && error.contains("9 (1 pixels)"), "{error}");
        assert!(error.contains("3 x 3") && error.contains("4 x 2"), "{error}");
    }

    #[test]
    fn an_empty_folder_says_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let error = Support::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no labelled picture") && error.contains("images/"), "{error}");
    }
}
