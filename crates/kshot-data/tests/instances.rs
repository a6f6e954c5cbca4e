//! Object numbers and outlines of other tools, read as objects.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::Path;

use image::{ImageBuffer, Luma, RgbImage};
use kshot_data::objects::ObjectMap;
use kshot_data::support::Support;

const WIDTH: u32 = 6;
const HEIGHT: u32 = 2;
/// Two objects that touch, and one apart.
const NUMBERS: [u16; 12] = [5, 5, 9, 9, 0, 2, 5, 5, 9, 9, 0, 2];
/// The same in reading order.
const IDS: [u32; 12] = [1, 1, 2, 2, 0, 3, 1, 1, 2, 2, 0, 3];

fn picture(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(WIDTH, HEIGHT, image::Rgb([90; 3])).save(path).unwrap();
}

fn numbers(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let numbers = ImageBuffer::<Luma<u16>, _>::from_raw(WIDTH, HEIGHT, NUMBERS.to_vec()).unwrap();
    numbers.save(path).unwrap();
}

fn classes(path: &Path, values: [u8; 12]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_raw(WIDTH, HEIGHT, values.to_vec()).unwrap().save(path).unwrap();
}

fn only(support: &Support) -> &ObjectMap {
    assert_eq!(support.pictures.len(), 1);
    &support.pictures[0].objects.as_ref().expect("objects are told").map
}

#[test]
fn numbers_are_found_wherever_tools_leave_them() {
    for (picture_file, file) in [
        ("images/a.png", "instances/a.png"),
        ("images/a.jpg", "instances/a.tif"),
        // StarDist's folders.
        ("images/a.tif", "masks/a.tif"),
        ("images/a.png", "masks/a.png"),
        ("images/a.png", "labels/a.tiff"),
        // Cellpose's files.
        ("a.png", "a_cp_masks.png"),
        ("images/a.png", "images/a_masks.tif"),
        ("a_img.tif", "a_masks.tif"),
        ("images/sub/a.png", "instances/sub/a_cp_masks.png"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        picture(&folder.path().join(picture_file));
        numbers(&folder.path().join(file));
        let support =
            Support::load(folder.path()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(support.classes, ["object"], "{file}");
        assert_eq!(only(&support).ids, IDS, "{file}");
        assert_eq!(support.pictures[0].mask.pixels, IDS.map(|id| u8::from(id > 0)), "{file}");
        let among_masks = file.starts_with("masks") || file.starts_with("labels");
        assert_eq!(support.warnings.len(), usize::from(among_masks), "{:?}", support.warnings);
    }
}

#[test]
fn what_cellpose_saves_and_arrays_of_numpy() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden");
    for file in ["cellpose_seg.npy", "cellpose_old_seg.npy"] {
        for to in ["images/a_seg.npy", "instances/a.npy", "instances/a_seg.npy"] {
            let folder = tempfile::tempdir().unwrap();
            picture(&folder.path().join("images/a.png"));
            let to = folder.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(golden.join(file), &to).unwrap();
            assert_eq!(only(&Support::load(folder.path()).unwrap()).ids, IDS, "{}", to.display());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    picture(&folder.path().join("images/a.png"));
    fs::write(folder.path().join("images/a_seg.npy"), "no array").unwrap();
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("a_seg.npy") && error.contains("_seg.npy"), "{error}");
    // Other arrays beside pictures (features, say) are no labels.
    fs::rename(folder.path().join("images/a_seg.npy"), folder.path().join("images/a.npy")).unwrap();
    numbers(&folder.path().join("instances/a.png"));
    assert_eq!(only(&Support::load(folder.path()).unwrap()).ids, IDS);
}

#[test]
fn masks_beside_them_tell_the_classes() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"));
    numbers(&at("instances/a.png"));
    classes(&at("masks/a.png"), [1, 1, 2, 2, 0, 1, 1, 1, 2, 1, 0, 255]);
    fs::write(at("classes.txt"), "round\nlong\n").unwrap();
    let support = Support::load(folder.path()).unwrap();
    assert_eq!(only(&support).classes, [1, 2, 1]);
    assert_eq!(only(&support).ids, IDS);
    assert_eq!(support.classes, ["round", "long"]);
}

#[test]
fn one_name_is_the_class_and_several_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"));
    numbers(&at("instances/a.png"));
    fs::write(at("classes.txt"), "nucleus\n").unwrap();
    assert_eq!(Support::load(folder.path()).unwrap().classes, ["nucleus"]);
    fs::write(at("classes.txt"), "nucleus\ncell\n").unwrap();
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("2 classes") && error.contains("masks/"), "{error}");
    fs::write(at("classes.txt"), "nucleus\n").unwrap();
    image::GrayImage::new(3, 3).save(at("instances/a.png")).unwrap();
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("3 x 3") && error.contains("6 x 2"), "{error}");
}

#[test]
fn outlines_of_coco_and_labelme_are_objects() {
    let square = |left: u32, right: u32| format!("[{left},0],[{right},0],[{right},2],[{left},2]");
    let shape = |left, right, group: &str| {
        let points = square(left, right);
        format!(
            r#"{{"label":"cell","points":[{points}],"group_id":{group},"shape_type":"polygon"}}"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"));
    let shapes = [shape(0, 2, "null"), shape(2, 4, "7"), shape(5, 6, "7")].join(",");
    fs::write(at("images/a.json"), format!(r#"{{"imagePath":"a.png","shapes":[{shapes}]}}"#))
        .unwrap();
    let support = Support::load(folder.path()).unwrap();
    assert_eq!(only(&support).ids, [1, 1, 2, 2, 0, 2, 1, 1, 2, 2, 0, 2], "a group is one object");

    let annotation = |id: u32, left: u32, width: u32| {
        let right = left + width;
        format!(
            r#"{{"id":{id},"image_id":1,"category_id":1,"iscrowd":0,"bbox":[{left},0,{width},2],
            "segmentation":[[{left},0,{right},0,{right},2,{left},2]]}}"#
        )
    };
    let coco = |annotations: &[String]| {
        let annotations = annotations.join(",");
        format!(
            r#"{{"images":[{{"id":1,"file_name":"a.png","width":6,"height":2}}],
            "categories":[{{"id":1,"name":"cell"}}],"annotations":[{annotations}]}}"#
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"));
    let all = [annotation(1, 0, 2), annotation(2, 2, 2), annotation(3, 5, 1)];
    fs::write(at("annotations.json"), coco(&all)).unwrap();
    assert_eq!(only(&Support::load(folder.path()).unwrap()).ids, IDS);
    // All of a class in one annotation, as kshot writes masks: nothing is told apart.
    fs::write(at("annotations.json"), coco(&all[..1])).unwrap();
    assert!(Support::load(folder.path()).unwrap().pictures[0].objects.is_none());
}
