//! Label Studio's JSON (<https://labelstud.io/guide/task_format>): a list of tasks with annotations, or JSON-MIN, a
//! list with an item for each annotation.
//!
//! Coordinates are shares of the picture in percent. The latest annotation of a task counts; cancelled ones and
//! predictions do not. The class of a shape is its first label. How a picture was turned on the labelling page
//! (`image_rotation`) changes no coordinates. A brush is run lengths of an RGBA picture
//! (<https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack>): its pixels are those that are not fully
//! transparent.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value};

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::Result;
use crate::finding::{Findings, Severity};
use crate::image::EXTENSIONS;
use crate::labels::brush::{bitmask, brush};
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::passed_over::{FEW_CORNERS, OPEN, POINT, Reason, VECTOR_PATH};
use crate::labels::shapes::{FAR, NoShape, ellipse, pixel_size, turned_box};
use crate::labels::{Outlines, settled, tidy};

/// Choices and texts.
const NO_SHAPE: Reason = Reason::harmless("entry that is no shape", "entries that are no shapes");
/// Shapes that nobody labelled.
const NO_LABEL: Reason = Reason::lost("shape without a label", "shapes without a label");
/// Tasks without a picture.
const NO_PICTURE: Reason =
    Reason::harmless("task that names no picture", "tasks that name no picture");
/// Shapes of another picture than the task's first.
const FURTHER: Reason = Reason::harmless(
    "shape of a further picture of a task",
    "shapes of further pictures of a task",
);
/// Labels that have no place, as their shape has one already.
const SECOND: Reason = Reason::harmless(
    "label of a shape that has another label before",
    "labels of shapes that have another label before",
);

/// Keys of a task's annotations: today's, and that of old versions.
const ANNOTATIONS: [&str; 2] = ["annotations", "completions"];

/// A picture to label.
struct Task<'a> {
    /// Where the picture is, among other things.
    data: &'a Map<String, Value>,
    /// The file that was uploaded.
    upload: Option<&'a str>,
    /// Those that count.
    annotations: Vec<Annotation<'a>>,
}

/// What somebody said of a picture.
struct Annotation<'a> {
    updated: &'a str,
    regions: Vec<Region<'a>>,
}

/// An entry of an annotation: a shape, a choice, a text.
struct Region<'a> {
    /// The picture's size, the entry's id and kind.
    about: &'a Value,
    /// Coordinates and labels; in JSON-MIN both are one.
    value: &'a Value,
}

/// Whether a JSON value is Label Studio's.
pub fn is(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| {
            let mut lists = item.as_object().into_iter().flat_map(|map| map.values());
            is_task(item) || lists.any(|list| shapes_of(list).any(|one| !labels(one).is_empty()))
        }),
        one => is_task(one),
    }
}

fn is_task(item: &Value) -> bool {
    let list = |key: &str| item.get(key).is_some_and(Value::is_array);
    item.get("data").is_some_and(Value::is_object)
        && (ANNOTATIONS.into_iter().any(list) || list("predictions"))
}

/// The shapes in a list.
fn shapes_of(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten().filter(|one| is_shape(one))
}

fn is_shape(value: &Value) -> bool {
    ["x", "points", "vertices", "rle", "imageDataURL"].iter().any(|key| value.get(*key).is_some())
}

/// Reads the shapes of a parsed file. Single shapes that are damaged go to the findings; what has no inside (points,
/// choices, texts) is passed over, which the findings say.
///
/// # Errors
/// Never: what is wrong is among the findings.
pub fn read(path: &Path, value: &Value, findings: &mut Findings) -> Result<LabelFile> {
    let tasks = tasks(value);
    let mut all = FileItems::default();
    let mut pictures = Vec::new();
    let (mut several, mut left) = (0usize, 0usize);
    for (index, task) in tasks.iter().enumerate() {
        let latest = task.annotations.iter().max_by_key(|annotation| annotation.updated);
        let Some(latest) = latest else { continue };
        if task.annotations.len() > 1 {
            several += 1;
            left += task.annotations.len() - 1;
        }
        let mut shapes = latest.regions.iter().filter(|region| is_shape(region.value));
        let object = shapes.find_map(|region| region.about.get("to_name")?.as_str());
        let picture = picture(task, object);
        // A single picture may have the file's name.
        if picture.is_none() && tasks.len() > 1 {
            all.pass_over(&NO_PICTURE, format!("task {}", index + 1));
            continue;
        }
        pictures.push(outlines(path, picture, object, &latest.regions, &mut all));
    }
    all.tell(path, "", findings);
    if several > 0 {
        let what = format!(
            "tasks with several annotations: {several}; the latest of each counts, others left out: {left}"
        );
        findings.add(Severity::Note, path, what, "");
    }
    let none = tasks.iter().filter(|task| task.annotations.is_empty()).count();
    if none > 0 {
        let what = format!(
            "tasks without an annotation (not labelled yet, or skipped) are left out: {none} of {}",
            tasks.len()
        );
        findings.add(Severity::Note, path, what, "");
    }
    Ok(LabelFile { classes: Vec::new(), pictures })
}

/// The tasks in the file's order.
fn tasks(value: &Value) -> Vec<Task<'_>> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut tasks: Vec<Task<'_>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for item in items {
        let Some(map) = item.as_object() else { continue };
        if let Some(data) = map.get("data").and_then(Value::as_object) {
            let all = ANNOTATIONS.into_iter().find_map(|key| map.get(key)?.as_array());
            let annotations = all.into_iter().flatten().filter_map(annotation).collect();
            let upload = map.get("file_upload").and_then(Value::as_str);
            tasks.push(Task { data, upload, annotations });
            continue;
        }
        // JSON-MIN: an item for each annotation of a task, with the task's id.
        let new = tasks.len();
        let place = match map.get("id") {
            Some(id) => *places.entry(id.to_string()).or_insert(new),
            None => new,
        };
        if place == new {
            tasks.push(Task { data: map, upload: None, annotations: Vec::new() });
        }
        let shapes = map.values().flat_map(shapes_of);
        let regions: Vec<Region<'_>> = shapes.map(|value| Region { about: value, value }).collect();
        let made = map.get("annotation_id").is_some_and(|id| !id.is_null());
        if made || !regions.is_empty() {
            tasks[place].annotations.push(Annotation { updated: updated(item), regions });
        }
    }
    tasks
}

/// An annotation that counts.
fn annotation(value: &Value) -> Option<Annotation<'_>> {
    let not = |key: &str| value.get(key).and_then(Value::as_bool) != Some(true);
    let result = value.get("result")?.as_array()?;
    (not("was_cancelled") && not("skipped")).then(|| Annotation {
        updated: updated(value),
        regions: result.iter().filter_map(Region::of).collect(),
    })
}

/// When it was last changed: times in text that sort as they are.
fn updated(value: &Value) -> &str {
    value.get("updated_at").and_then(Value::as_str).unwrap_or_default()
}

/// The labels of a shape.
fn labels(value: &Value) -> Vec<&str> {
    let keys = value.as_object().into_iter().flatten();
    let lists =
        keys.filter(|(key, _)| key.ends_with("labels")).filter_map(|(_, list)| list.as_array());
    lists
        .flatten()
        .filter_map(Value::as_str)
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

impl<'a> Region<'a> {
    /// Relations between entries have no value.
    fn of(about: &'a Value) -> Option<Self> {
        Some(Self { about, value: about.get("value")? })
    }

    fn id(&self) -> Option<&'a str> {
        self.about.get("id").and_then(Value::as_str)
    }

    /// `rectangle` of the types `rectangle` and `rectanglelabels`.
    fn kind(&self) -> &'a str {
        let kind = self.about.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind.strip_suffix("labels").unwrap_or(kind) {
            "" => "shape",
            kind => kind,
        }
    }

    /// The picture's size in pixels.
    fn size(&self) -> Option<(usize, usize)> {
        let side = |key: &str| {
            let side = self.about.get(key).and_then(Value::as_f64);
            side.filter(|side| (1.0..FAR).contains(side)).map(|side| side as usize)
        };
        side("original_width").zip(side("original_height"))
    }
}

/// The shapes of one picture, which the labelling page calls `object`.
fn outlines(
    path: &Path,
    picture: Option<String>,
    object: Option<&str>,
    regions: &[Region<'_>],
    all: &mut FileItems,
) -> Outlines {
    let size = regions.iter().find_map(Region::size);
    // A shape and its labels may be two entries with the same id and coordinates.
    let labelled: HashSet<&str> = regions
        .iter()
        .filter(|region| !labels(region.value).is_empty())
        .filter_map(Region::id)
        .collect();
    let mut items = PictureItems::default();
    for region in regions {
        let names = labels(region.value);
        let of = picture.as_deref().unwrap_or("the picture");
        let what = match names.first() {
            Some(name) => format!("{} `{name}` of `{of}`", region.kind()),
            None => format!("{} of `{of}`", region.kind()),
        };
        let Some((&class, further)) = names.split_first() else {
            if !is_shape(region.value) {
                items.pass_over(&NO_SHAPE, what);
            } else if !region.id().is_some_and(|id| labelled.contains(id)) {
                items.pass_over(&NO_LABEL, what);
            }
            continue;
        };
        let to = region.about.get("to_name").and_then(Value::as_str);
        let page = region.about.get("item_index").and_then(Value::as_u64).unwrap_or(0);
        if (to.is_some() && to != object) || page > 0 {
            items.pass_over(&FURTHER, what);
            continue;
        }
        let read = match region.size() {
            Some(own) if Some(own) != size => {
                Err("its picture has another size than that of others".into())
            }
            _ => shape(region.value, size),
        };
        if read.is_ok() {
            for further in further {
                items.pass_over(&SECOND, format!("`{further}` of {what}"));
            }
        }
        items.take(read.map(|shape| Object::new(class, shape)), || what);
    }
    Outlines { picture, size, relative: size.is_none(), ..items.finish(path, all) }
}

/// The pixels of a shape; without a size in shares of the picture.
fn shape(value: &Value, size: Option<(usize, usize)>) -> Result<ObjectShape, NoShape> {
    let (width, height) = size.map_or((1.0, 1.0), |(width, height)| (width as f64, height as f64));
    let across = |percent: f64| percent / 100.0 * width;
    let down = |percent: f64| percent / 100.0 * height;
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    if let Some(picture) = value.get("imageDataURL") {
        return Ok(ObjectShape::Runs(bitmask(picture, pixel_size(size)?)?));
    }
    if let Some(runs) = value.get("rle") {
        return Ok(ObjectShape::Runs(brush(runs, pixel_size(size)?)?));
    }
    if let Some(points) = value.get("points") {
        if value.get("closed").and_then(Value::as_bool) == Some(false) {
            return Err(NoShape::Passed(&OPEN));
        }
        let corner = |pair: &Value| -> Option<Corner> {
            let corner = [across(pair.get(0)?.as_f64()?), down(pair.get(1)?.as_f64()?)];
            corner.iter().all(|number| number.abs() < FAR).then(|| corner.map(settled))
        };
        let ring: Option<Vec<Corner>> =
            points.as_array().and_then(|points| points.iter().map(corner).collect());
        let ring = ring.ok_or_else(|| "`points` must be [[x, y], ...] in percent".to_owned())?;
        if ring.len() < 3 {
            return Err(NoShape::Passed(&FEW_CORNERS));
        }
        return Ok(ObjectShape::Polygons(vec![ring]));
    }
    if value.get("vertices").is_some() {
        return Err(NoShape::Passed(&VECTOR_PATH));
    }
    let (Some(x), Some(y)) = (number("x"), number("y")) else {
        return Err("`x` and `y` must be numbers".to_owned().into());
    };
    let near = |numbers: [f64; 4]| -> Result<[f64; 4], String> {
        let near = numbers.iter().all(|number| number.abs() < FAR);
        if near { Ok(numbers) } else { Err("it is far outside any picture".to_owned()) }
    };
    let degrees = number("rotation").unwrap_or(0.0) % 360.0;
    if let (Some(a), Some(b)) = (number("radiusX"), number("radiusY")) {
        // Shares of two sides have no form without them.
        pixel_size(size)?;
        let [x, y, a, b] = near([across(x), down(y), across(a), down(b)])?;
        return ellipse([settled(x), settled(y)], [a, b], degrees);
    }
    if let (Some(w), Some(h)) = (number("width"), number("height")) {
        if degrees != 0.0 {
            pixel_size(size)?;
        }
        let sides = near([across(x), down(y), across(x + w), down(y + h)])?;
        let sides = if size.is_some() { sides.map(tidy) } else { sides };
        // The corner at the upper left stays where it is.
        return turned_box(sides, degrees, |[left, top, ..]| [left, top]);
    }
    Err(NoShape::Passed(&POINT))
}

/// The name of a task's picture: of the value that the labelling page shows or that is called `image`, else of the
/// first that ends like a picture, else of the upload.
fn picture(task: &Task<'_>, object: Option<&str>) -> Option<String> {
    let keys = object.into_iter().chain(["image"]);
    let called = keys.filter_map(|key| task.data.get(key)).filter_map(first_text);
    let mut named = called.filter_map(picture_name);
    let any = || {
        let mut names = task.data.values().filter_map(first_text).filter_map(picture_name);
        names.find(|name| ends_like_a_picture(name))
    };
    let upload = || task.upload.map(|name| without_hash(name).to_owned());
    named.next().or_else(any).or_else(upload)
}

/// A text, or the first of several.
fn first_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get(0)?.as_str())
}

fn ends_like_a_picture(name: &str) -> bool {
    let end = Path::new(name).extension().and_then(|end| end.to_str());
    end.is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// The picture's name in an address: a path where it is one, else its last part.
fn picture_name(address: &str) -> Option<String> {
    let address = address.trim();
    let name = if address.starts_with("data:") {
        String::new()
    } else if let Some((_, path)) = address.split_once("?d=") {
        // Local files: the path below a folder that the server knows.
        let path = decoded(path.split('&').next().unwrap_or_default());
        path.trim_start_matches('/').to_owned()
    } else if let Some((scheme, key)) = address.split_once("://")
        && !scheme.starts_with("http")
    {
        // Keys of cloud storage (`s3`, `gs`, ...) are not encoded.
        last_part(key).to_owned()
    } else if address.starts_with('/') || address.contains("://") {
        let path = decoded(address.split(['?', '#']).next().unwrap_or_default());
        let uploaded = path.contains("/upload/");
        let name = last_part(&path);
        (if uploaded { without_hash(name) } else { name }).to_owned()
    } else {
        decoded(address)
    };
    Some(name).filter(|name| !name.is_empty())
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The name that an uploaded file had: eight hexadecimal digits and a dash stand before it.
fn without_hash(name: &str) -> &str {
    match name.split_once('-') {
        Some((hash, rest))
            if hash.len() == 8
                && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
                && !rest.is_empty() =>
        {
            rest
        }
        _ => name,
    }
}

/// A path with `%20` and the like as characters, and with slashes.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.as_bytes().get(at) {
        let code = path.get(at + 1..at + 3).filter(|_| byte == b'%');
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                at += 3;
            }
            None => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).replace('\\', "/")
}

#[cfg(test)]
#[path = "label_studio_tests.rs"]
mod tests;
