//! Label files and pictures of the target folder.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::annotation::{Content, Object, ObjectShape};
use crate::atomic;
use crate::convert::outlines::Outliner;
use crate::convert::{LabelFormat, shapes};
use crate::error::{Error, Result};
use crate::finding::LabelKind;
use crate::image::embedded;
use crate::label_folder::{FolderPicture, PaintedLabels};
use crate::labels::names::Classes;
use crate::labels::{boxes, class_masks, coco_text, colours, labelme, voc_xml, yolo, yolo_names};
use crate::mask::{BACKGROUND, Mask, UNLABELLED, VOID};
use crate::mask_png;
use crate::mask_tiff;
use crate::palette::Palette;

/// Writes labels of one format.
pub(super) struct LabelWriter<'a> {
    pub out: &'a Path,
    pub classes: &'a Classes,
    pub format: LabelFormat,
    pub outliner: &'a Outliner,
}

/// What of a picture goes into a file of the whole folder.
pub(super) enum FolderEntry {
    /// It has a file of its own, with this many objects.
    Done(usize),
    Coco(coco_text::CocoPicture),
    Boxes(String, Vec<(Object, [f64; 4])>),
}

impl FolderEntry {
    pub(super) fn objects(&self) -> usize {
        match self {
            Self::Done(objects) => *objects,
            Self::Coco(written) => written.objects.len(),
            Self::Boxes(_, objects) => objects.len(),
        }
    }
}

/// Copies or links a picture, unless it is there already.
pub(super) fn picture(from: &Path, to: &Path, link: bool) -> Result<()> {
    if embedded::is_one(from) {
        let bytes = embedded::bytes(from).map_err(|error| error.in_file(from))?;
        return atomic::write_with(to, |writer| Ok(writer.write_all(&bytes)?));
    }
    if link {
        let parent = to.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|error| atomic::write_error(parent, error))?;
        let made = match std::fs::hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(to).and_then(|()| std::fs::hard_link(from, to))
            }
            made => made,
        };
        return made.map_err(|error| {
            Error::io("link the picture (leave out --link to copy it)", to, error)
        });
    }
    let mut file =
        std::fs::File::open(from).map_err(|error| Error::io("read the picture", from, error))?;
    atomic::write_with(to, |writer| {
        io::copy(&mut file, writer)?;
        Ok(())
    })
}

impl LabelWriter<'_> {
    /// Writes a picture's label file, or returns what goes into the one for all.
    pub(super) fn labels(
        &self,
        picture: &FolderPicture,
        read: &PaintedLabels,
    ) -> Result<FolderEntry> {
        let (width, height) = (read.annotation.width, read.annotation.height);
        let slashed = picture.name.to_string_lossy().replace('\\', "/");
        let last = picture.name.file_name().unwrap_or_default().to_string_lossy();
        let done = |objects: usize| Ok(FolderEntry::Done(objects));
        match self.format {
            LabelFormat::Mask => {
                self.index(picture, read)?;
                done(shapes::values(&read.mask).len())
            }
            LabelFormat::ColorMasks => {
                let path = self.path("masks", picture, "png");
                atomic::write(&path, &coloured(&read.mask).map_err(|error| error.in_file(&path))?)?;
                done(shapes::values(&read.mask).len())
            }
            LabelFormat::TiffMasks => {
                let path = self.path("masks", picture, "tif");
                mask_tiff::write(&path, &read.mask, &picture.file)?;
                done(shapes::values(&read.mask).len())
            }
            LabelFormat::ClassMasks => done(self.class_masks(picture, read)?),
            LabelFormat::Labelme => {
                let objects = shapes::with_groups(&read.annotation, self.classes, self.outliner);
                let text = labelme::text(&last, width, height, &objects.iter().collect::<Vec<_>>());
                atomic::write(self.path("images", picture, "json"), text.as_bytes())?;
                done(objects.len())
            }
            LabelFormat::YoloSeg => {
                let (annotation, mask) = (&read.annotation, &read.mask);
                let objects =
                    shapes::with_single_outlines(annotation, mask, self.classes, self.outliner);
                let refs: Vec<&Object> = objects.iter().collect();
                let text = yolo::text(&refs, self.classes.names(), width, height);
                atomic::write(self.path("labels", picture, "txt"), text.as_bytes())?;
                done(objects.len())
            }
            LabelFormat::VocXml => {
                let objects = shapes::with_boxes(&read.annotation, self.classes);
                let refs: Vec<_> = objects.iter().map(|(object, sides)| (object, *sides)).collect();
                let text = voc_xml::text(&last, width, height, &refs);
                atomic::write(self.path("Annotations", picture, "xml"), text.as_bytes())?;
                done(objects.len())
            }
            LabelFormat::Coco => {
                let objects = shapes::with_runs(&read.annotation, self.classes, self.outliner);
                let counted = |object: Object| {
                    let mut mask = Mask::filled(width, height, 0);
                    object.shape.paint(&mut mask, 1);
                    let area = mask.counts()[1] as u64;
                    (object, area)
                };
                let objects = objects.into_iter().map(counted).collect();
                Ok(FolderEntry::Coco(coco_text::CocoPicture {
                    name: slashed,
                    width,
                    height,
                    objects,
                }))
            }
            LabelFormat::BoxesCsv => {
                Ok(FolderEntry::Boxes(slashed, shapes::with_boxes(&read.annotation, self.classes)))
            }
        }
    }

    /// `OUT/BELOW/NAME.END` for a picture's name.
    fn path(&self, below: &str, picture: &FolderPicture, end: &str) -> PathBuf {
        let mut name = picture.name.file_stem().unwrap_or_default().to_owned();
        // `with_extension` would cut `a.b` short.
        name.push(".");
        name.push(end);
        self.out.join(below).join(picture.name.with_file_name(name))
    }

    fn index(&self, picture: &FolderPicture, read: &PaintedLabels) -> Result<()> {
        let palette = Palette::distinct();
        let names = self.classes.names();
        let void = read.mask.counts()[usize::from(VOID)] > 0;
        if read.annotation.kind == LabelKind::Scribble && !void {
            // There, 255 is what nobody has labelled.
            let mut mask = read.mask.clone();
            mask.pixels.iter_mut().filter(|value| **value == UNLABELLED).for_each(|v| *v = VOID);
            return mask_png::write(
                &self.path("scribbles", picture, "png"),
                &mask,
                &palette,
                names,
            );
        }
        mask_png::write(&self.path("masks", picture, "png"), &read.mask, &palette, names)
    }

    fn class_masks(&self, picture: &FolderPicture, read: &PaintedLabels) -> Result<usize> {
        let (width, height) = (read.mask.width, read.mask.height);
        // Masks of classes may overlap; all else is what it is painted to.
        let apart = |objects: &[Object]| {
            read.annotation.kind == LabelKind::Mask
                && objects
                    .iter()
                    .all(|object| matches!(object.shape, ObjectShape::Runs(_)) && !object.crowd)
                && objects.windows(2).all(|pair| pair[0].class < pair[1].class)
        };
        let mut masks: Vec<(String, Mask)> = match &read.annotation.content {
            Content::Objects(objects) if apart(objects) => objects
                .iter()
                .map(|object| {
                    let mut mask = Mask::filled(width, height, 0);
                    object.shape.paint(&mut mask, u8::MAX);
                    (object.class.clone(), mask)
                })
                .collect(),
            _ => shapes::values(&read.mask)
                .into_iter()
                .map(|value| {
                    let pixels = read.mask.pixels.iter();
                    let pixels = pixels.map(|&v| if v == value { u8::MAX } else { 0 }).collect();
                    (self.classes.word(value), Mask { width, height, pixels })
                })
                .collect(),
        };
        if masks.is_empty() {
            // An empty mask says that somebody looked.
            masks.push((self.classes.name(1).to_owned(), Mask::filled(width, height, 0)));
        }
        for (class, mask) in &masks {
            let below = Path::new("masks").join(class_masks::folder_name(class));
            let path = self.path(&below.to_string_lossy(), picture, "png");
            let bytes = png(&mask.pixels, width, height, png::ColorType::Grayscale);
            atomic::write(&path, &bytes.map_err(|error| error.in_file(&path))?)?;
        }
        Ok(masks.len())
    }

    /// Writes what is for the whole folder.
    pub(super) fn finish(&self, parts: &[FolderEntry]) -> Result<()> {
        let mut names = self.classes.names().join("\n");
        names.push('\n');
        atomic::write(self.out.join("classes.txt"), names.as_bytes())?;
        match self.format {
            LabelFormat::Coco => {
                let ours = [BACKGROUND, UNLABELLED, VOID].map(|value| self.classes.word(value));
                let mut pictures: Vec<coco_text::CocoPicture> = Vec::new();
                let mut used = vec![false; ours.len()];
                for part in parts {
                    let FolderEntry::Coco(written) = part else { continue };
                    let mut objects = written.objects.clone();
                    for (object, _) in &mut objects {
                        // Other tools' names for void and the like become ours.
                        if let Ok(value) = self.classes.value(&object.class)
                            && let Some(at) =
                                [BACKGROUND, UNLABELLED, VOID].iter().position(|v| *v == value)
                        {
                            object.class.clone_from(&ours[at]);
                            used[at] = true;
                        }
                    }
                    let name = written.name.clone();
                    pictures.push(coco_text::CocoPicture { name, objects, ..*written });
                }
                let ours: Vec<String> = ours
                    .into_iter()
                    .zip(used)
                    .filter(|(_, used)| *used)
                    .map(|(name, _)| name)
                    .collect();
                let text = coco_text::text(self.classes.names(), &ours, &pictures);
                atomic::write(self.out.join("annotations.json"), text.as_bytes())
            }
            LabelFormat::BoxesCsv => {
                let rows = parts.iter().flat_map(|part| match part {
                    FolderEntry::Boxes(name, objects) => objects
                        .iter()
                        .map(|(object, sides)| (name.as_str(), object, *sides))
                        .collect::<Vec<_>>(),
                    _ => Vec::new(),
                });
                let path = self.out.join("boxes.csv");
                let text = boxes::text(rows).map_err(|error| {
                    Error::data("could not make the table").in_file(&path).caused_by(error)
                })?;
                atomic::write(&path, &text)
            }
            LabelFormat::YoloSeg => {
                let text = yolo_names::text(self.classes.names());
                atomic::write(self.out.join("data.yaml"), text.as_bytes())
            }
            LabelFormat::ColorMasks => {
                let palette = Palette::distinct();
                let names = self.classes.names();
                let count = u8::try_from(names.len()).unwrap_or(u8::MAX);
                let values = [BACKGROUND].into_iter().chain(1..=count).chain([UNLABELLED, VOID]);
                let words: Vec<_> =
                    values.map(|value| (self.classes.word(value), palette.colour(value))).collect();
                let text =
                    colours::text(words.iter().map(|(name, colour)| (name.as_str(), *colour)));
                atomic::write(self.out.join("colors.csv"), text.as_bytes())
            }
            LabelFormat::Mask
            | LabelFormat::TiffMasks
            | LabelFormat::ClassMasks
            | LabelFormat::Labelme
            | LabelFormat::VocXml => Ok(()),
        }
    }
}

fn coloured(mask: &Mask) -> Result<Vec<u8>> {
    let palette = Palette::distinct();
    let pixels: Vec<u8> = mask.pixels.iter().flat_map(|&value| palette.colour(value)).collect();
    png(&pixels, mask.width, mask.height, png::ColorType::Rgb)
}

fn png(pixels: &[u8], width: usize, height: usize, colour: png::ColorType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encode = |bytes: &mut Vec<u8>| -> Result<(), png::EncodingError> {
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
        let mut encoder = png::Encoder::new(bytes, side(width), side(height));
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        writer.finish()
    };
    encode(&mut bytes)
        .map_err(|error| Error::data("could not encode the mask as a PNG").caused_by(error))?;
    Ok(bytes)
}
