//! The labelled pictures a user gives: the support set.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use crate::deep::DeepRange;
use crate::error::{Error, Result};
pub use crate::finding::LabelKind;
use crate::finding::{Finding, Findings, Severity, gathered};
use crate::hash;
use crate::label_folder::LabelFolder;
use crate::mask::{MAX_CLASSES, Mask};
use crate::names::{classes, counted};
use crate::objects::ObjectMap;

/// New classes that are named.
const LISTED: usize = 30;

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
    /// Its objects; `None` where the labels do not tell one from another.
    pub objects: Option<LabelledObjects>,
}

/// The objects of a labelled picture.
#[derive(Debug, Clone)]
pub struct LabelledObjects {
    /// Which pixels are one object.
    pub map: ObjectMap,
    /// The file that tells them.
    pub file: PathBuf,
}

/// K labelled pictures of C classes.
#[derive(Debug, Clone, Default)]
pub struct Support {
    /// The classes' names without background: class `i + 1` of the masks is `classes[i]`.
    pub classes: Vec<String>,
    /// The labelled pictures.
    pub pictures: Vec<LabelledPicture>,
    /// What was passed over or is odd, in words.
    pub warnings: Vec<String>,
}

impl Support {
    /// Reads a folder of labelled pictures, in any format or mixture that [`LabelFolder::open`]
    /// knows. Classes of a labelling tool's own list that no label shows are left out; those of
    /// `classes.txt` stay.
    ///
    /// Pictures that cannot be read, or whose labels cannot, are left out, which a warning tells.
    ///
    /// # Errors
    /// If no picture is labelled, or if something is wrong that is not of single pictures (all of it is listed).
    pub fn load(folder: &Path) -> Result<Self> {
        Self::of(LabelFolder::open(folder)?, None)
    }

    /// As [`Self::load`], of a folder that was opened before, with the range that 16-bit pictures share.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(mut folder: LabelFolder, range: Option<DeepRange>) -> Result<Self> {
        let mut findings = std::mem::take(&mut folder.findings);
        let labelled: Vec<usize> = (0..folder.pictures.len())
            .filter(|&index| folder.pictures[index].labels.is_some())
            .collect();
        let read: Vec<(Option<LabelledPicture>, Findings)> =
            labelled.into_par_iter().map(|index| picture(&folder, index, range)).collect();
        let mut support = Self { classes: folder.classes.names().to_vec(), ..Self::default() };
        for (picture, mut found) in read {
            support.pictures.extend(picture);
            findings.0.append(&mut found.0);
        }
        support.leave_out_unused(&folder, &mut findings);
        support.forget_untold_objects();
        if support.pictures.is_empty() {
            findings.refuse_errors(&folder.root)?;
        }
        findings.refuse_errors_of_all(&folder.root)?;
        let is_class = |value: &u8| (1..=MAX_CLASSES).contains(value);
        if !support.pictures.iter().any(|picture| picture.mask.pixels.iter().any(is_class)) {
            return Err(Error::data(
                "no label shows a pixel of any class, so that there is nothing to learn from; `kshot data check` says \
                 what each holds",
            )
            .in_file(&folder.root));
        }
        support.warnings = gathered(&findings.0).iter().filter_map(in_words).collect();
        Ok(support)
    }

    /// Refuses labels that are of one class all over: nothing tells what is not of it, and whatever is predicted seems right.
    ///
    /// # Errors
    /// If there is no pixel of another class, nor of background.
    pub fn check_contrast(&self) -> Result<()> {
        let mut found = [false; 256];
        for picture in &self.pictures {
            picture.mask.pixels.iter().for_each(|&value| found[usize::from(value)] = true);
        }
        let classes: Vec<usize> =
            (0..=usize::from(MAX_CLASSES)).filter(|&value| found[value]).collect();
        let [class] = classes[..] else { return Ok(()) };
        let name = self.classes.get(class.wrapping_sub(1)).map_or("background", String::as_str);
        Err(Error::data(format!(
            "all labelled pixels are of `{name}`, so that nothing tells what is not: label background (0 in masks and \
             strokes), or another class, in one of the pictures"
        )))
    }

    /// This with another folder's pictures. Classes are joined by name: these keep their numbers, new ones follow. A picture
    /// that both hold (the same file, byte by byte) has the labels of the other, which is told.
    ///
    /// # Errors
    /// If there are more classes than a mask can hold, or a picture cannot be read again.
    pub fn and(mut self, mut other: Self) -> Result<Self> {
        if self.pictures.is_empty() {
            return Ok(other);
        }
        let mut values: [u8; 256] = std::array::from_fn(|value| value as u8);
        let mut new = Vec::new();
        for (name, number) in other.classes.iter().zip(1..=MAX_CLASSES) {
            let place = self.classes.iter().position(|known| known == name).unwrap_or_else(|| {
                new.push(name.clone());
                self.classes.push(name.clone());
                self.classes.len() - 1
            });
            values[usize::from(number)] = u8::try_from(place + 1).unwrap_or(u8::MAX);
        }
        if self.classes.len() > usize::from(MAX_CLASSES) {
            return Err(Error::data(format!(
                "the folders of labelled pictures hold {} classes together; a mask can hold {MAX_CLASSES}",
                self.classes.len()
            )));
        }
        for picture in &mut other.pictures {
            picture.mask.pixels.iter_mut().for_each(|value| *value = values[usize::from(*value)]);
            let objects = picture.objects.iter_mut().flat_map(|objects| &mut objects.map.classes);
            objects.for_each(|class| *class = values[usize::from(*class)]);
        }
        let from = other.pictures.first().map(|picture| picture.labels.display().to_string());
        if !new.is_empty() {
            self.warnings.push(format!(
                "{}: new classes besides those of the first folder: {}; if they are meant to be the same, mend the names",
                from.unwrap_or_default(),
                classes(&new, LISTED)
            ));
        }
        let hashes = |pictures: &[LabelledPicture]| -> Result<Vec<String>> {
            pictures.iter().map(|picture| hash::of_file(&picture.path)).collect()
        };
        let (known, again) = (hashes(&self.pictures)?, hashes(&other.pictures)?);
        let before = self.pictures.len();
        let mut index = 0;
        self.pictures.retain(|_| {
            index += 1;
            !again.contains(&known[index - 1])
        });
        if self.pictures.len() < before {
            self.warnings.push(format!(
                "{} in a later folder too, whose labels count",
                counted(
                    before - self.pictures.len(),
                    "labelled picture is",
                    "labelled pictures are"
                )
            ));
        }
        self.pictures.append(&mut other.pictures);
        self.warnings.append(&mut other.warnings);
        Ok(self)
    }

    /// Where no picture has two objects of a class, each annotation holds all of a class, as kshot's own masks in COCO's
    /// form do, or there is nothing to tell apart.
    fn forget_untold_objects(&mut self) {
        let told = |map: &ObjectMap| map.counts(self.classes.len()).iter().any(|count| *count > 1);
        let mut maps = self.pictures.iter().filter_map(|picture| picture.objects.as_ref());
        if !maps.any(|objects| told(&objects.map)) {
            self.pictures.iter_mut().for_each(|picture| picture.objects = None);
        }
    }

    /// A tool's list of classes is often longer than what is labelled, and each class costs memory
    /// and time for every pixel. Numbers that stand in a mask keep their meaning, though.
    fn leave_out_unused(&mut self, folder: &LabelFolder, findings: &mut Findings) {
        let Some(list) = folder.list.as_ref().filter(|_| !folder.declared && !folder.numbered)
        else {
            return;
        };
        let mut used = [false; 256];
        for picture in &self.pictures {
            picture.mask.pixels.iter().for_each(|&value| used[usize::from(value)] = true);
        }
        let mut values: [u8; 256] = std::array::from_fn(|value| value as u8);
        let mut kept = Vec::new();
        for (name, number) in self.classes.iter().zip(1..=MAX_CLASSES) {
            if used[usize::from(number)] {
                kept.push(name.clone());
                values[usize::from(number)] = kept.len() as u8;
            }
        }
        let left = self.classes.len() - kept.len();
        if kept.is_empty() || left == 0 {
            return;
        }
        for picture in &mut self.pictures {
            picture.mask.pixels.iter_mut().for_each(|value| *value = values[usize::from(*value)]);
            let objects = picture.objects.iter_mut().flat_map(|objects| &mut objects.map.classes);
            objects.for_each(|class| *class = values[usize::from(*class)]);
        }
        let what = format!(
            "of its {} {} no label here and {} left out",
            counted(self.classes.len(), "class", "classes"),
            counted(left, "has", "have"),
            if left == 1 { "is" } else { "are" }
        );
        let todo = "list the classes you want in classes.txt to keep them and their numbers";
        findings.add(Severity::Warning, list, what, todo);
        self.classes = kept;
    }
}

/// A finding that a run goes on with, where it is more than a note.
fn in_words(finding: &Finding) -> Option<String> {
    match finding.severity {
        Severity::Error => Some(format!("left out: {finding}")),
        Severity::Warning => Some(finding.to_string()),
        Severity::Note => None,
    }
}

fn picture(
    folder: &LabelFolder,
    index: usize,
    range: Option<DeepRange>,
) -> (Option<LabelledPicture>, Findings) {
    let mut findings = Findings::default();
    let path = folder.pictures[index].file.clone();
    let image = match crate::image::read_deep(&path, range) {
        Ok(image) => image,
        Err(error) => {
            findings.leaves_out(&path, &error);
            return (None, findings);
        }
    };
    let size = (image.width() as usize, image.height() as usize);
    let read = folder.read(index, size.0, size.1, &mut findings);
    let labels = folder.pictures[index].labels.as_ref().map(|labels| labels.file().to_owned());
    let objects = match read.as_ref().map(|read| folder.objects(index, read)) {
        None | Some(Ok(None)) => None,
        Some(Ok(Some((map, file)))) => Some(LabelledObjects { map, file }),
        Some(Err(error)) => {
            findings.leaves_out(&path, &error);
            return (None, findings);
        }
    };
    let picture = read.map(|read| LabelledPicture {
        path,
        objects,
        labels: labels.unwrap_or_default(),
        image,
        mask: read.mask,
        kind: read.annotation.kind,
    });
    (picture, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::{UNLABELLED, VOID};

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
    fn folders_are_joined_by_names_and_the_last_label_counts() {
        let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        picture(&one.path().join("images/a.png"));
        gray(&one.path().join("masks/a.png"), [0, 1, 2, 0, 0, 0, 0, 0]);
        std::fs::write(one.path().join("classes.txt"), "cat\ndog\n").unwrap();
        image::RgbImage::from_pixel(4, 2, image::Rgb([9; 3]))
            .save(one.path().join("images/b.png"))
            .unwrap();
        gray(&one.path().join("masks/b.png"), [2; 8]);
        // The first picture again, under another name and with other numbers.
        picture(&two.path().join("images/again.png"));
        gray(&two.path().join("masks/again.png"), [1, 2, 3, 255, 0, 0, 0, 0]);
        std::fs::write(two.path().join("classes.txt"), "dog\nbird\ncat\n").unwrap();
        let load = |folder: &tempfile::TempDir| Support::load(folder.path()).unwrap();
        let both = load(&one).and(load(&two)).unwrap();
        assert_eq!(both.classes, ["cat", "dog", "bird"]);
        let masks: Vec<&[u8]> = both.pictures.iter().map(|p| &p.mask.pixels[..]).collect();
        assert_eq!(masks, [&[2; 8][..], &[2, 3, 1, VOID, 0, 0, 0, 0]]);
        assert_eq!(both.warnings.len(), 2, "{:?}", both.warnings);
        assert!(both.warnings[0].contains("bird"));
        let alone = Support::default().and(load(&one)).unwrap();
        assert_eq!(alone.classes, ["cat", "dog"]);
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
        assert!(error.contains("2 wrong labels") && error.contains("9 (1 pixel)"), "{error}");
        assert!(error.contains("3 x 3") && error.contains("4 x 2"), "{error}");
    }

    #[test]
    fn an_empty_folder_says_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let error = Support::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no labelled picture") && error.contains("images/"), "{error}");
    }
}
