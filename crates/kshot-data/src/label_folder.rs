//! A folder of labelled pictures: which label belongs to which picture, and what the classes are.
//!
//! This is the one reader behind [`Support::load`](crate::support::Support::load),
//! [`check`](crate::check::check()) and [`convert`](crate::convert::convert()). What is wrong is gathered as
//! findings, so that all of it is told at once.

use std::path::{Path, PathBuf};

use crate::annotation::{Annotation, Content};
use crate::error::{Error, Result};
use crate::finding::{Findings, LabelKind, Severity};
use crate::labels::colours::Colours;
use crate::labels::index::{self, Reading};
use crate::labels::instances;
use crate::labels::names::Classes;
use crate::labels::{Outlines, class_masks};
use crate::mask::Mask;
use crate::names::counted;
use crate::objects::ObjectMap;

mod cache;
mod classes;
mod find;
mod hint;
mod layout;
mod masks;
mod meaning;
mod text;
mod upright;
mod whose;

pub use meaning::MaskReading;
use upright::PictureSize;

/// The class of objects that have numbers alone, where nothing else names it.
pub const OBJECT: &str = "object";

/// Where a picture's labels are.
#[derive(Debug, Clone)]
pub enum LabelSource {
    /// A PNG or TIFF of class numbers, or a PNG of declared colours.
    Mask(PathBuf),
    /// A PNG of strokes.
    Scribble(PathBuf),
    /// A picture of object numbers, of one class.
    Instances(PathBuf),
    /// A PNG for each of some classes.
    ClassMasks(Vec<(String, PathBuf)>),
    /// What a text format says.
    Outlines(Outlines),
    /// A label file that could not be read; why is among the findings.
    Broken(PathBuf),
}

impl LabelSource {
    /// The file, the first of several.
    pub fn file(&self) -> &Path {
        match self {
            Self::Mask(path)
            | Self::Scribble(path)
            | Self::Instances(path)
            | Self::Broken(path) => path,
            Self::ClassMasks(files) => files.first().map_or(Path::new(""), |(_, path)| path),
            Self::Outlines(outlines) => &outlines.file,
        }
    }

    /// All its files.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::ClassMasks(files) => files.iter().map(|(_, path)| path.as_path()).collect(),
            other => vec![other.file()],
        }
    }
}

/// A picture of the folder.
#[derive(Debug, Clone)]
pub struct FolderPicture {
    /// Its file.
    pub file: PathBuf,
    /// Its path from the folder of pictures.
    pub name: PathBuf,
    /// Its labels, where it has some.
    pub labels: Option<LabelSource>,
    /// A picture of object numbers beside labels that tell the classes.
    pub instances: Option<PathBuf>,
}

/// A folder of labelled pictures.
#[derive(Debug)]
pub struct LabelFolder {
    /// The folder.
    pub root: PathBuf,
    /// The pictures in the order of their names.
    pub pictures: Vec<FolderPicture>,
    /// The classes.
    pub classes: Classes,
    /// The file that lists the classes in their order, where there is one: `classes.txt`, or a
    /// labelling tool's own list.
    pub list: Option<PathBuf>,
    /// Whether that is `classes.txt`: its names are there on purpose, even without a label.
    pub declared: bool,
    /// Whether numbers stand for the classes in a mask or scribble.
    pub numbered: bool,
    /// What is wrong or odd so far; single labels are looked at by [`LabelFolder::read`].
    pub findings: Findings,
    colours: Option<Colours>,
    meaning: meaning::Meaning,
    cache: cache::MaskCache,
}

/// A picture's labels, read and painted.
#[derive(Debug, Clone)]
pub struct PaintedLabels {
    /// What the label says.
    pub annotation: Annotation,
    /// The same as a value per pixel.
    pub mask: Mask,
}

impl LabelFolder {
    /// Finds pictures and labels. What is wrong with a file is a finding.
    ///
    /// Pictures are in `images/` or `JPEGImages/` (and folders below), or in the folder itself. The
    /// first of these labels a picture `a.jpg`, and what else there is for it is a warning:
    ///
    /// 1. `masks/a.png` (or `SegmentationClass/a.png`): index, palette, gray or binary PNG, or a TIFF of class numbers; a
    ///    coloured one where `colors.csv`, `colors.txt` or `labelmap.txt` declares the colours;
    /// 2. `masks/CLASS/a.png`, `masks/a_CLASS.png`, `masks/a-CLASS.png`: a mask per class;
    /// 3. `scribbles/a.png`;
    /// 4. LabelMe's `a.json`, beside the picture or in `annotations/` or `labels/`;
    /// 5. a COCO file: any `.json` in the folder or in `annotations/`;
    /// 6. YOLO's `labels/a.txt` (or beside the picture), names in `data.yaml`;
    /// 7. Pascal VOC's `a.xml` in `annotations/` or `Annotations/`, or beside the picture;
    /// 8. lines in `boxes.csv`;
    /// 9. `instances/a.png` or `.tif`, where each value is one object (of StarDist, Fiji, napari, ...), Cellpose's
    ///    `a_cp_masks.png` or `a_masks.tif` beside the picture, and TIFF or 16-bit PNG files in `masks/`: of the one
    ///    class that `classes.txt` names, else of a class `object`.
    ///
    /// Where the last stands beside another label, that tells the classes and this the objects.
    ///
    /// Class names come from `classes.txt`, else from the tool's own list (COCO's categories, YOLO's
    /// names, LabelMe's `labels.txt`, the declared colours, the names that kshot's masks carry), then
    /// from the objects in alphabetical order; else masks' numbers are their names.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn open(root: &Path) -> Result<Self> {
        find::open(root, MaskReading::Auto)
    }

    /// As [`Self::open`], with masks' numbers read as somebody asks for.
    ///
    /// # Errors
    /// As there.
    pub fn open_reading(root: &Path, masks: MaskReading) -> Result<Self> {
        find::open(root, masks)
    }

    /// Pictures with masks that carry these classes' numbers; `list` is the file that names them.
    pub(crate) fn of_masks(
        root: &Path,
        pictures: Vec<FolderPicture>,
        classes: Classes,
        list: PathBuf,
        findings: Findings,
    ) -> Self {
        Self {
            root: root.to_owned(),
            pictures,
            classes,
            list: Some(list),
            declared: true,
            numbered: true,
            findings,
            colours: None,
            meaning: meaning::Meaning::default(),
            cache: cache::MaskCache::default(),
        }
    }

    /// Keeps the pictures for which `keep` holds, by their places.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut index = 0;
        self.pictures.retain(|_| {
            index += 1;
            keep(index - 1)
        });
    }

    /// Reads the labels of picture `index`, of `width` x `height` pixels; `None` where it has none or
    /// they are wrong, which the findings then say.
    pub fn read(
        &self,
        index: usize,
        width: usize,
        height: usize,
        findings: &mut Findings,
    ) -> Option<PaintedLabels> {
        let picture = &self.pictures[index];
        let labels = picture.labels.as_ref()?;
        let size = PictureSize { width, height, picture: &picture.file };
        match self.annotation(labels, &size, findings) {
            Ok(read) => read,
            Err(error) => {
                findings.leaves_out(labels.file(), &error);
                None
            }
        }
    }

    fn annotation(
        &self,
        labels: &LabelSource,
        size: &PictureSize<'_>,
        findings: &mut Findings,
    ) -> Result<Option<PaintedLabels>> {
        let (width, height) = (size.width, size.height);
        if !matches!(labels, LabelSource::Broken(_) | LabelSource::Outlines(_)) {
            size.turned(labels.file(), findings);
        }
        let content = match labels {
            LabelSource::Broken(_) => return Ok(None),
            LabelSource::Mask(path) => return self.mask(path, size, findings).map(Some),
            LabelSource::Scribble(path) => {
                size.fits(path, "the scribble")?;
                let mut values = index::values(path, self.cache.take(path)?)?;
                self.meaning.of_strokes(&mut values);
                size.fit_mask(&mut values, "the scribble", path, findings)?;
                let mask = index::interpret(values, self.classes.len(), Reading::Scribble, false)?;
                crate::check::values::scribble(path, &mask, findings);
                return Ok(Some(dense(mask, LabelKind::Scribble)));
            }
            LabelSource::Instances(path) => {
                let numbers = size.numbers(path, findings)?;
                let objects = instances::objects(&numbers, self.object_class()?)?;
                let content = Content::Objects(objects);
                Annotation { width, height, kind: LabelKind::Mask, content }
            }
            LabelSource::ClassMasks(files) => {
                let mut objects = Vec::new();
                for (class, path) in files {
                    size.fits(path, "the mask")?;
                    let (mut object, w, h) = class_masks::read(path, class)?;
                    let of = std::slice::from_mut(&mut object);
                    size.fit_objects((w, h), of, "the mask", path, findings)
                        .map_err(|error| error.in_file(path))?;
                    objects.push(object);
                }
                let double = class_masks::overlap(&objects, width, height);
                if double > 0 {
                    findings.add(
                        Severity::Warning,
                        labels.file(),
                        format!(
                            "{} in the masks of more than one class",
                            counted(double, "pixel is", "pixels are")
                        ),
                        "the class that comes later in the alphabet gets them; mend the masks if \
                         that is wrong",
                    );
                }
                Annotation {
                    width,
                    height,
                    kind: LabelKind::Mask,
                    content: Content::Objects(objects),
                }
            }
            LabelSource::Outlines(outlines) => {
                if let Some(what) = &outlines.damaged {
                    return Err(Error::data(what.clone()));
                }
                let what = "the label says the picture";
                let objects = match outlines.size {
                    Some(own) if size.is_turned(own, what)? => {
                        let mut objects = outlines.objects(own.0, own.1);
                        size.fit_objects(own, &mut objects, what, &outlines.file, findings)?;
                        objects
                    }
                    _ => outlines.objects(width, height),
                };
                let kind = outlines.kind();
                Annotation { width, height, kind, content: Content::Objects(objects) }
            }
        };
        let mask = content.paint(&self.classes)?;
        crate::check::values::objects(labels.file(), size.picture, &content, &mask, findings);
        Ok(Some(PaintedLabels { annotation: content, mask }))
    }

    /// The class of objects that have numbers alone.
    fn object_class(&self) -> Result<&str> {
        match self.classes.names() {
            _ if !self.declared => Ok(OBJECT),
            [only] => Ok(only),
            several => Err(Error::data(format!(
                "object numbers say which pixels are one object, but not of which of the {} classes that \
                 classes.txt names; put class masks of the same name (PNG of 8 bits) into masks/, or name one class",
                several.len()
            ))),
        }
    }

    /// The objects of picture `index`, whose labels were read before, and the file that tells them; `None` where the
    /// labels do not tell one object from another (masks of classes, strokes, boxes).
    ///
    /// # Errors
    /// If a file of object numbers cannot be read or has another size.
    pub fn objects(
        &self,
        index: usize,
        read: &PaintedLabels,
    ) -> Result<Option<(ObjectMap, PathBuf)>> {
        let picture = &self.pictures[index];
        let PaintedLabels { annotation, mask } = read;
        let (width, height) = (mask.width, mask.height);
        if let Some(path) = &picture.instances {
            let size = PictureSize { width, height, picture: &picture.file };
            // A turned label was told when it was read.
            let numbers = size.numbers(path, &mut Findings::default())?;
            let map = ObjectMap::over(mask, &numbers.values)?;
            return Ok(Some((map, path.clone())));
        }
        let file = match &picture.labels {
            Some(LabelSource::Instances(path)) => path,
            Some(LabelSource::ClassMasks(files))
                if files.windows(2).any(|pair| pair[0].0 == pair[1].0) =>
            {
                &files[0].1
            }
            Some(LabelSource::Outlines(outlines)) if annotation.kind != LabelKind::Scribble => {
                &outlines.file
            }
            _ => return Ok(None),
        };
        let map = ObjectMap::outlined(annotation.objects(), &self.classes, width, height)?;
        Ok(map.map(|map| (map, file.clone())))
    }

    fn mask(
        &self,
        path: &Path,
        size: &PictureSize<'_>,
        findings: &mut Findings,
    ) -> Result<PaintedLabels> {
        size.fits(path, "the mask")?;
        let file = self.cache.take(path)?;
        let declared = self.colours.as_ref().and_then(|colours| Some((colours, file.colours()?)));
        let mask = match declared {
            Some((colours, coloured)) => {
                let mut coloured = coloured.into_owned();
                let sides = (&mut coloured.width, &mut coloured.height);
                size.fit(sides, &mut coloured.pixels, "the mask", path, findings)?;
                let mask = colours.mask(path, &coloured, &self.classes)?;
                crate::check::values::colours(path, &mask, findings);
                mask
            }
            None => {
                let ours = file.names.is_some();
                let (lossy, transparent) = (file.lossy, file.transparent);
                let palette = file.palette.is_some();
                let mut values = index::values(path, file)?;
                size.fit_mask(&mut values, "the mask", path, findings)?;
                if lossy && !self.meaning.masks.is_threshold() {
                    return Err(Error::data(
                        "a JPEG, which changes class numbers; save the mask as an index PNG, or as black and white",
                    ));
                }
                if transparent {
                    findings.add(
                        Severity::Note,
                        path,
                        "transparent pixels are read as background",
                        "",
                    );
                }
                if !ours && !palette {
                    self.meaning.masks.apply(&mut values);
                }
                crate::check::values::numbers(path, &values, self.classes.len(), ours, findings);
                index::interpret(values, self.classes.len(), Reading::Mask, ours)?
            }
        };
        Ok(dense(mask, LabelKind::Mask))
    }
}

fn dense(mask: Mask, kind: LabelKind) -> PaintedLabels {
    let (width, height) = (mask.width, mask.height);
    let annotation = Annotation { width, height, kind, content: Content::Dense(mask.clone()) };
    PaintedLabels { annotation, mask }
}
