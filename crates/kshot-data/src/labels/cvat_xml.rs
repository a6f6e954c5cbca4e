//! CVAT's XML (<https://docs.cvat.ai/docs/manual/advanced/xml_format/>): "CVAT for images 1.1" and "CVAT for video 1.1".
//!
//! Corners are in pixels, the first pixel's corner at 0, 0. A mask is run lengths row by row within a box, pixels
//! outside first. What has a higher `z_order` lies on top, and shapes of one class in one group are one object. The
//! frames of a video are named `frame_000000`, without an ending, as in CVAT's exports of pictures; CVAT writes every
//! frame of a track, those between two key frames too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use roxmltree::{Document, Node};

use crate::annotation::{Corner, Object, ObjectShape};
use crate::error::Result;
use crate::finding::{Findings, Severity};
use crate::labels::Outlines;
use crate::labels::collect::{FileItems, PictureItems};
use crate::labels::files::LabelFile;
use crate::labels::names::reserved;
use crate::labels::passed_over::{CUBOID, FEW_CORNERS, LINE, POINT, SKELETON, TAG, UNKNOWN_KIND};
use crate::labels::runs::by_columns;
use crate::labels::shapes::{FAR, NoShape, ellipse, pixel_size, turned_box};
use crate::mask::BACKGROUND;

/// Whether an XML file is CVAT's.
pub fn is(document: &Document<'_>) -> bool {
    let root = document.root_element();
    let known =
        |node: Node<'_, '_>| ["meta", "image", "track"].iter().any(|name| node.has_tag_name(*name));
    root.has_tag_name("annotations") && root.children().any(known)
}

/// Reads the shapes of a parsed file. Single shapes that are damaged go to the findings; what has no inside (points,
/// lines, tags, skeletons) and cuboids are passed over, which the findings say.
///
/// # Errors
/// Never: what is wrong is among the findings.
pub fn read(path: &Path, document: &Document<'_>, findings: &mut Findings) -> Result<LabelFile> {
    let root = document.root_element();
    let meta = root.children().find(|node| node.has_tag_name("meta"));
    let mut all = FileItems::default();
    let mut pictures = Vec::new();
    for image in root.children().filter(|node| node.has_tag_name("image")) {
        let Some(name) = image.attribute("name").filter(|name| !name.trim().is_empty()) else {
            let what = "an image without a name: its shapes belong to no picture";
            findings.add(Severity::Error, path, what, "export it again");
            continue;
        };
        let picture = below(image.attribute("subset"), &name.replace('\\', "/"));
        let side = |name: &str| image.attribute(name).and_then(whole);
        let size = side("width").zip(side("height"));
        let mut items = PictureItems::default();
        for node in image.children().filter(Node::is_element) {
            add(node, image_shape(node), &picture, size, &mut items);
        }
        let picture = Some(picture);
        pictures.push(Outlines { picture, size, ..items.finish(path, &mut all) });
    }
    let sizes = frame_sizes(meta);
    // Frames by task, subset and number.
    let mut frames: BTreeMap<(&str, &str, u64), PictureItems> = BTreeMap::new();
    for track in root.children().filter(|node| node.has_tag_name("track")) {
        let task = track.attribute("task_id").unwrap_or_default();
        let subset = track.attribute("subset").unwrap_or_default();
        let size = frame_size(&sizes, task);
        let owner = Owner { label: track.attribute("label"), group: track.attribute("group_id") };
        for node in track.children().filter(Node::is_element) {
            let Some(frame) = node.attribute("frame").and_then(|text| text.trim().parse().ok())
            else {
                let what = format!("a {} of a track that is in no frame", node.tag_name().name());
                findings.add(Severity::Error, path, what, "export it again");
                continue;
            };
            let picture = frame_name(subset, frame);
            let items = frames.entry((task, subset, frame)).or_default();
            add(node, owner, &picture, size, items);
        }
    }
    for ((task, subset, frame), items) in frames {
        let read = items.finish(path, &mut all);
        if !read.objects.is_empty() || read.damaged.is_some() {
            let picture = Some(frame_name(subset, frame));
            pictures.push(Outlines { picture, size: frame_size(&sizes, task), ..read });
        }
    }
    all.tell(path, "", findings);
    Ok(LabelFile { classes: classes(meta), pictures })
}

/// The element that says a shape's class and group.
#[derive(Clone, Copy)]
struct Owner<'a> {
    label: Option<&'a str>,
    group: Option<&'a str>,
}

/// A shape of a picture says both itself.
fn image_shape<'a>(node: Node<'a, '_>) -> Owner<'a> {
    Owner { label: node.attribute("label"), group: node.attribute("group_id") }
}

/// Adds the shape of an element to its picture's.
fn add(
    node: Node<'_, '_>,
    owner: Owner<'_>,
    picture: &str,
    size: Option<(usize, usize)>,
    items: &mut PictureItems,
) {
    // Not in the picture at this time.
    if node.attribute("outside") == Some("1") {
        return;
    }
    let class = owner.label.map(str::trim).unwrap_or_default();
    let read = shape(node, size).and_then(|shape| {
        if class.is_empty() {
            return Err("it has no label".into());
        }
        let group = owner.group.and_then(|text| text.trim().parse::<i64>().ok());
        Ok(Object { id: group.filter(|group| *group != 0), ..Object::new(class, shape) })
    });
    let above = node.attribute("z_order").and_then(|text| text.trim().parse().ok());
    let name = || format!("{} `{class}` of `{picture}`", node.tag_name().name());
    items.take_at(above.unwrap_or(0), read, name);
}

/// A picture's path: exports of projects have a folder for each subset.
fn below(subset: Option<&str>, name: &str) -> String {
    match subset {
        Some(subset) if !subset.is_empty() => format!("{subset}/{name}"),
        _ => name.to_owned(),
    }
}

fn frame_name(subset: &str, frame: u64) -> String {
    below(Some(subset), &format!("frame_{frame:06}"))
}

/// A side of a picture in pixels.
fn whole(text: &str) -> Option<usize> {
    text.trim().parse::<usize>().ok().filter(|side| *side > 0)
}

fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children()
        .find(|child| child.has_tag_name(name))
        .map(|child| child.text().unwrap_or_default().trim())
}

/// The classes in the order of the task's, project's or job's list. Parts of skeletons stand there too, with a
/// `parent`.
fn classes(meta: Option<Node<'_, '_>>) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    let labels = meta.into_iter().flat_map(|meta| meta.descendants());
    for label in labels.filter(|node| node.has_tag_name("label")) {
        let listed = label.parent().is_some_and(|list| list.has_tag_name("labels"));
        let part = label.children().any(|node| node.has_tag_name("parent"));
        if let Some(name) = child(label, "name").filter(|_| listed && !part)
            && !name.is_empty()
            && reserved(name) != Some(BACKGROUND)
            && !classes.iter().any(|known| known == name)
        {
            classes.push(name.to_owned());
        }
    }
    classes
}

/// The sizes of videos' frames by their task's number.
fn frame_sizes<'a>(meta: Option<Node<'a, '_>>) -> Vec<(&'a str, (usize, usize))> {
    let mut sizes = Vec::new();
    let nodes = meta.into_iter().flat_map(|meta| meta.descendants());
    for node in nodes.filter(|node| node.has_tag_name("original_size")) {
        let task = node.parent().and_then(|task| child(task, "id")).unwrap_or_default();
        let side = |name: &str| child(node, name).and_then(whole);
        if let Some(size) = side("width").zip(side("height")) {
            sizes.push((task, size));
        }
    }
    sizes
}

/// The size of a task's frames. A file of one task does not say at the tracks which it is.
fn frame_size(sizes: &[(&str, (usize, usize))], task: &str) -> Option<(usize, usize)> {
    match sizes {
        [(_, only)] => Some(*only),
        sizes => sizes.iter().find(|(known, _)| *known == task).map(|(_, size)| *size),
    }
}

fn shape(node: Node<'_, '_>, size: Option<(usize, usize)>) -> Result<ObjectShape, NoShape> {
    let number = |name: &str| -> Result<f64, String> {
        let text = text(node, name)?;
        finite(text).ok_or_else(|| {
            format!("`{name}` is `{text}`; it must be a number of pixels or degrees")
        })
    };
    let rotation = match node.attribute("rotation") {
        Some(_) => number("rotation")? % 360.0,
        None => 0.0,
    };
    match node.tag_name().name() {
        "polygon" => {
            let corner = |pair: &str| -> Option<Corner> {
                let (x, y) = pair.split_once(',')?;
                Some([finite(x)?, finite(y)?])
            };
            let points = text(node, "points")?.trim().trim_end_matches(';');
            let ring: Option<Vec<Corner>> = points.split(';').map(corner).collect();
            let ring = ring.ok_or_else(|| "`points` must be x,y;x,y;...".to_owned())?;
            if ring.len() < 3 {
                return Err(NoShape::Passed(&FEW_CORNERS));
            }
            Ok(ObjectShape::Polygons(vec![ring]))
        }
        "box" => {
            let sides = [number("xtl")?, number("ytl")?, number("xbr")?, number("ybr")?];
            turned_box(sides, rotation, |[left, top, right, bottom]| {
                [(left + right) / 2.0, (top + bottom) / 2.0]
            })
        }
        "ellipse" => {
            ellipse([number("cx")?, number("cy")?], [number("rx")?, number("ry")?], rotation)
        }
        "mask" => Ok(ObjectShape::Runs(mask(node, size)?)),
        "polyline" => Err(NoShape::Passed(&LINE)),
        "points" => Err(NoShape::Passed(&POINT)),
        "skeleton" => Err(NoShape::Passed(&SKELETON)),
        "tag" => Err(NoShape::Passed(&TAG)),
        "cuboid" => Err(NoShape::Passed(&CUBOID)),
        _ => Err(NoShape::Passed(&UNKNOWN_KIND)),
    }
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Result<&'a str, String> {
    node.attribute(name).ok_or_else(|| format!("`{name}` is missing"))
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.abs() < FAR)
}

/// The run lengths of a mask's picture.
fn mask(node: Node<'_, '_>, size: Option<(usize, usize)>) -> Result<Vec<u32>, String> {
    let (width, height) = pixel_size(size)?;
    let pixels = |name: &str| -> Result<usize, String> {
        let text = text(node, name)?;
        let number = text.trim().parse::<usize>();
        number.map_err(|_| format!("`{name}` is `{text}`; it must be a number of pixels"))
    };
    let (left, top) = (pixels("left")?, pixels("top")?);
    let (across, down) = (pixels("width")?, pixels("height")?);
    let fits = |start: usize, length: usize, all: usize| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= all)
    };
    if !fits(left, across, width) || !fits(top, down, height) {
        return Err(format!(
            "it is {across} x {down} pixels at {left}, {top}, but its picture {width} x {height}"
        ));
    }
    let area = across * down;
    let mut inside: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for (index, length) in text(node, "rle")?.split(',').enumerate() {
        let length = length.trim().parse::<u32>();
        let length = length.map_err(|_| format!("run {index} of its `rle` is no number"))?;
        let end = at + length as usize;
        if end > area {
            return Err(format!("its runs are longer than {across} x {down} pixels"));
        }
        if index % 2 == 1 && length > 0 {
            inside.push(at..end);
        }
        at = end;
    }
    if at < area {
        return Err(format!("its runs are of {at} pixels, but {across} x {down} are {area}"));
    }
    Ok(by_columns(&inside, across, [left, top], (width, height)))
}

#[cfg(test)]
#[path = "cvat_xml_tests.rs"]
mod tests;
