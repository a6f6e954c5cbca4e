//! COCO's instances (Lin et al., ECCV 2014, arXiv 1405.0312) as masks of 80 classes.
//!
//! Reads `annotations/instances_PART.json` and the pictures of `PART/`. Objects are painted in the file's order, later ones
//! on top; crowds are void where no object of its own lies over them (`kshot_data::annotation::paint`, as for COCO files of
//! a label folder). A picture without an object is background all over. torchvision's reference code for segmentation
//! instead takes 20 classes and leaves out what two objects share.
//!
//! The training file has 450 MB: it is read as a stream into typed rows, of which outlines are kept in single precision
//! (a pixel's 30 000th at COCO's sizes): 324 MB at the peak for a generated file of 118 287 pictures and 860 001 objects.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot_data::annotation::{Object, ObjectShape, paint};
use kshot_data::image::ReadLimits;
use kshot_data::labels::names::Classes;
use kshot_data::labels::runs;
use kshot_data::mask::Mask;
use schemars::JsonSchema;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::coco_stuff::{pictures, things};
use super::dataset::{Dataset, DatasetLayout};
use super::layout::{Layout, part_of, stems};
use crate::error::{Error, Result};

const LAYOUT: Layout = Layout {
    name: "the folder that COCO 2017's archives are unpacked in",
    drawing: "  annotations/instances_{train2017,val2017}.json\n  {train2017,val2017}/NAME.jpg   (or images/train2017/...)",
};

/// Where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CocoConfig {
    /// The folder that holds `annotations`, `train2017` and `val2017`.
    #[schemars(length(min = 1), example = &"path/to/data")]
    pub root: PathBuf,
}

impl DatasetLayout for CocoConfig {
    const NAME: &'static str = "coco";
    const SUMMARY: &'static str = "COCO's objects of 80 classes, painted as masks, crowds void; parts train and val (of 2017), or NAME of instances_NAME.json";
    const SOURCE: &'static str = "https://arxiv.org/abs/1405.0312";

    fn open(&self, part: &str) -> Result<Arc<dyn Dataset>> {
        let folder = LAYOUT.first(&self.root, &["annotations"])?;
        let known = stems(&folder, ".json")?;
        let known = known.iter().filter_map(|stem| stem.strip_prefix("instances_"));
        let usual = [("train", "train2017"), ("val", "val2017"), ("validation", "val2017")];
        let parts: Vec<_> = usual.into_iter().chain(known.map(|name| (name, name))).collect();
        let part = part_of(part, &parts)?;
        let json = LAYOUT.first(&self.root, &[&format!("annotations/instances_{part}.json")])?;
        let coco = Coco::read(json, &pictures(&self.root, part, &LAYOUT)?)?;
        if coco.pictures.is_empty() {
            return Err(Error::data(format!("the part `{part}` has no picture")).in_file(coco.json));
        }
        Ok(Arc::new(coco))
    }

    fn root(&self) -> &Path {
        &self.root
    }
}

/// The file, with what is needed of it.
#[derive(Deserialize)]
struct RawFile {
    images: Vec<RawImage>,
    annotations: Vec<RawAnnotation>,
    categories: Vec<RawCategory>,
}

#[derive(Deserialize)]
struct RawImage {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct RawCategory {
    id: u32,
    name: String,
}

#[derive(Deserialize)]
struct RawAnnotation {
    image_id: u64,
    category_id: u32,
    #[serde(default)]
    iscrowd: u8,
    segmentation: Shape,
}

/// Outlines of `x, y, x, y, ...`, or run lengths.
enum Shape {
    Outlines(Box<[Box<[f32]>]>),
    Runs(Box<[u32]>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("outlines as lists of numbers, or run lengths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut outlines = Vec::new();
        while let Some(outline) = list.next_element::<Vec<f32>>()? {
            if outline.len() % 2 == 1 {
                let text = format!("an outline of {} numbers; it must be x, y, ...", outline.len());
                return Err(A::Error::custom(text));
            }
            // Fewer than three corners have no inside.
            if outline.len() >= 6 {
                outlines.push(outline.into_boxed_slice());
            }
        }
        Ok(Shape::Outlines(outlines.into_boxed_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut counts = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "counts" {
                counts = Some(map.next_value::<Counts>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        counts.map(Shape::Runs).ok_or_else(|| A::Error::custom("run lengths without counts"))
    }
}

/// Run lengths as a list, or as COCO's compressed string.
struct Counts(Box<[u32]>);

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            List(Vec<u32>),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::List(counts) => Ok(Self(counts.into_boxed_slice())),
            Either::Text(text) => {
                let counts = runs::decompress(&text).map_err(D::Error::custom)?;
                Ok(Self(counts.into_boxed_slice()))
            }
        }
    }
}

struct Picture {
    file: PathBuf,
    width: usize,
    height: usize,
}

/// An object of the picture at that place.
struct Annotation {
    picture: usize,
    /// Its place among the classes.
    class: usize,
    crowd: bool,
    shape: Shape,
}

struct Coco {
    json: PathBuf,
    names: Classes,
    pictures: Vec<Picture>,
    /// By picture, in the file's order.
    annotations: Vec<Annotation>,
}

impl Coco {
    fn read(json: PathBuf, folder: &Path) -> Result<Self> {
        let file = File::open(&json).map_err(|error| Error::io("read", &json, error))?;
        let raw: RawFile = serde_json::from_reader(BufReader::with_capacity(1 << 20, file))
            .map_err(|error| Error::data(format!("not as COCO's: {error}")).in_file(&json))?;
        let wrong = |what: String| Error::data(what).in_file(&json);
        let known: Vec<(u8, &str)> = things().collect();
        let place = |id: u32| known.iter().position(|(of, _)| u32::from(*of) == id);
        for RawCategory { id, name } in &raw.categories {
            if place(*id).is_none_or(|place| known[place].1 != name) {
                return Err(wrong(format!(
                    "the category {id}, `{name}`, is none of COCO's 80; a file of your own is read by the data set \
                     `folder`"
                )));
            }
        }
        let mut places = HashMap::with_capacity(raw.images.len());
        let mut pictures = Vec::with_capacity(raw.images.len());
        for RawImage { id, file_name, width, height } in raw.images {
            if places.insert(id, pictures.len()).is_some() {
                return Err(wrong(format!("two images have the id {id}")));
            }
            let (width, height) = (width as usize, height as usize);
            pictures.push(Picture { file: folder.join(file_name), width, height });
        }
        let mut annotations = Vec::with_capacity(raw.annotations.len());
        for RawAnnotation { image_id, category_id, iscrowd, segmentation } in raw.annotations {
            let (Some(&picture), Some(class)) = (places.get(&image_id), place(category_id)) else {
                return Err(wrong(format!(
                    "an annotation of the image {image_id} and the category {category_id}, of which one is not there"
                )));
            };
            let crowd = iscrowd != 0;
            annotations.push(Annotation { picture, class, crowd, shape: segmentation });
        }
        annotations.sort_by_key(|annotation| annotation.picture);
        let names = Classes::new(known.iter().map(|(_, name)| (*name).to_owned()).collect());
        Ok(Self { json, names, pictures, annotations })
    }

    /// The objects of a picture.
    fn objects(&self, index: usize) -> Result<Vec<Object>> {
        let Picture { width, height, file } = &self.pictures[index];
        let first = self.annotations.partition_point(|of| of.picture < index);
        let own = self.annotations[first..].iter().take_while(|of| of.picture == index);
        own.map(|Annotation { class, crowd, shape, .. }| {
            let shape = match shape {
                Shape::Outlines(outlines) => {
                    let corner = |pair: &[f32]| [f64::from(pair[0]), f64::from(pair[1])];
                    let ring = |outline: &[f32]| outline.chunks_exact(2).map(corner).collect();
                    ObjectShape::Polygons(outlines.iter().map(|outline| ring(outline)).collect())
                }
                Shape::Runs(counts) => {
                    let wrong = |what| Error::data(what).in_file(file);
                    runs::check(counts, (*width, *height)).map_err(wrong)?;
                    ObjectShape::Runs(counts.to_vec())
                }
            };
            let object = Object::new(self.names.names()[*class].clone(), shape);
            Ok(Object { crowd: *crowd, ..object })
        })
        .collect()
    }
}

impl Dataset for Coco {
    fn classes(&self) -> &[String] {
        self.names.names()
    }

    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn file(&self, index: usize) -> &Path {
        &self.pictures[index].file
    }

    fn label_files(&self, _: usize) -> Vec<PathBuf> {
        vec![self.json.clone()]
    }

    fn mask(&self, index: usize) -> Result<Mask> {
        let Picture { width, height, file } = &self.pictures[index];
        ReadLimits::default()
            .check(*width as u32, *height as u32)
            .map_err(|error| error.in_file(file))?;
        paint(&self.objects(index)?, &self.names, *width, *height)
            .map_err(|error| error.in_file(file))
    }
}
