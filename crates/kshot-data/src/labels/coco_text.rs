//! COCO's JSON as it is written.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::annotation::{Object, ObjectShape};
use crate::labels::coco::{MADE_BY, OURS};
use crate::rle::compress;

/// A picture to write.
pub struct CocoPicture {
    /// The picture's path from `images/`.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Its objects and how many pixels each has.
    pub objects: Vec<(Object, u64)>,
}

/// The text of a COCO file. Categories have the ids of the masks' values, from 1, then void and
/// unlabelled under `ours` (name and supercategory [`OURS`]); annotations keep their numbers where
/// these are all there and differ.
pub fn text(classes: &[String], ours: &[String], pictures: &[CocoPicture]) -> String {
    let mut categories: Vec<Value> = Vec::new();
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for (index, name) in classes.iter().chain(ours).enumerate() {
        ids.entry(name).or_insert(index + 1);
        let above = if index < classes.len() { "" } else { OURS };
        categories.push(json!({"id": index + 1, "name": name, "supercategory": above}));
    }
    let all = || pictures.iter().flat_map(|picture| &picture.objects);
    let mut known = std::collections::HashSet::new();
    let keep = all().all(|(object, _)| object.id.is_some_and(|id| id >= 0 && known.insert(id)));
    let mut images = Vec::new();
    let mut annotations = Vec::new();
    for (index, picture) in pictures.iter().enumerate() {
        let (width, height) = (picture.width, picture.height);
        images.push(
            json!({"id": index + 1, "file_name": picture.name, "width": width, "height": height}),
        );
        for (object, area) in &picture.objects {
            let next = annotations.len() as i64 + 1;
            let segmentation = match &object.shape {
                ObjectShape::Polygons(rings) => {
                    json!(rings.iter().map(|ring| ring.as_flattened()).collect::<Vec<_>>())
                }
                ObjectShape::Circle(centre, radius) => {
                    json!([crate::annotation::circle(*centre, *radius).as_flattened()])
                }
                ObjectShape::Runs(counts) => {
                    json!({"size": [height, width], "counts": compress(counts)})
                }
                ObjectShape::Box(_) => json!([]),
            };
            let [left, top, right, bottom] = object.shape.bounds(height).unwrap_or([0.0; 4]);
            let mut annotation = json!({
                "id": if keep { object.id.unwrap_or(next) } else { next },
                "image_id": index + 1,
                "category_id": ids.get(object.class.as_str()).copied().unwrap_or(0),
                "segmentation": segmentation,
                "area": area,
                "bbox": [left, top, crate::labels::tidy(right - left), crate::labels::tidy(bottom - top)],
                "iscrowd": u8::from(object.crowd || ours.contains(&object.class)),
            });
            if object.difficult {
                annotation["difficult"] = json!(1);
            }
            if !keep && let Some(id) = object.id {
                annotation["group_id"] = json!(id);
            }
            annotations.push(annotation);
        }
    }
    // A line an item: such files are looked at, and compared.
    let list = |items: &[Value]| {
        let lines: Vec<String> = items.iter().map(Value::to_string).collect();
        format!("[\n{}\n]", lines.join(",\n"))
    };
    format!(
        "{{\"info\":{{\"description\":\"{MADE_BY} {}\"}},\n\"licenses\":[],\n\
         \"categories\":{},\n\"images\":{},\n\"annotations\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        list(&categories),
        list(&images),
        list(&annotations)
    )
}
