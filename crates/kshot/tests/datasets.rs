//! Readers of published data sets, each on a small folder in its official layout, and what they say where it is not.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, RgbImage};
use kshot::data::DatasetConfig;
use kshot_data::mask::VOID;
use tempfile::TempDir;

/// A folder in which a data set is laid out.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.at(name), bytes).unwrap();
    }

    fn picture(&self, name: &str) {
        RgbImage::new(4, 2).save(self.at(name)).unwrap();
    }

    /// A gray PNG of one row.
    fn mask(&self, name: &str, values: &[u8]) {
        let row = |x, _| Luma([values[x as usize]]);
        GrayImage::from_fn(values.len() as u32, 1, row).save(self.at(name)).unwrap();
    }

    fn config(&self, dataset: &str, more: &str) -> DatasetConfig {
        config(dataset, self.0.path(), more)
    }

    /// Each picture's file name and mask of a part.
    fn read(&self, config: &DatasetConfig, part: &str) -> Vec<(String, Vec<u8>)> {
        let set = config.open(part).unwrap_or_else(|error| panic!("{part}: {error}"));
        assert_eq!(set.has_background(), config.has_background());
        (0..set.len())
            .map(|index| {
                assert!(set.file(index).starts_with(self.0.path()));
                assert!(set.file(index).is_file(), "{}", set.file(index).display());
                assert!(set.label_files(index).iter().all(|file| file.is_file()));
                let name = set.file(index).file_stem().unwrap().to_string_lossy().into_owned();
                (name, set.mask(index).unwrap().pixels)
            })
            .collect()
    }
}

fn config(dataset: &str, root: &Path, more: &str) -> DatasetConfig {
    toml::from_str(&format!("dataset = \"{dataset}\"\nroot = {root:?}\n{more}")).unwrap()
}

fn row(name: &str, values: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), values.to_vec())
}

/// What is said where opening a part, or reading its first mask, fails.
fn refused(config: &DatasetConfig, part: &str) -> String {
    match config.open(part) {
        Ok(set) => set.mask(0).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn cityscapes_ids_become_training_ids() {
    let tree = Tree::new();
    for (part, city, name, values) in [
        ("train", "zurich", "zurich_000001_000019", &[7, 8, 33, 0][..]),
        ("train", "aachen", "aachen_000000_000019", &[11, 1, 9, 255]),
        ("val", "ulm", "ulm_000000_000019", &[19, 24, 16, 29]),
        ("test", "berlin", "berlin_000000_000019", &[1, 2, 3, 4]),
    ] {
        tree.picture(&format!("leftImg8bit/{part}/{city}/{name}_leftImg8bit.png"));
        let masks = format!("gtFine/{part}/{city}/{name}_gtFine");
        tree.mask(&format!("{masks}_labelIds.png"), values);
        tree.mask(&format!("{masks}_color.png"), &[0; 4]);
        tree.mask(&format!("{masks}_instanceIds.png"), &[0; 4]);
    }
    let config = tree.config("cityscapes", "");
    assert!(!config.has_background());
    assert_eq!(config.open("train").unwrap().classes().len(), 19);
    assert_eq!(
        tree.read(&config, "train"),
        [
            row("aachen_000000_000019_leftImg8bit", &[3, VOID, VOID, VOID]),
            row("zurich_000001_000019_leftImg8bit", &[1, 2, 19, VOID])
        ]
    );
    for part in ["val", "validation"] {
        let right = row("ulm_000000_000019_leftImg8bit", &[7, 12, VOID, VOID]);
        assert_eq!(tree.read(&config, part), [right]);
    }
    assert_eq!(tree.read(&config, "test")[0].1, [VOID; 4]);
    assert!(refused(&config, "vall").contains("did you mean `val`?"));
    // Training ids, where they are.
    tree.mask("gtFine/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png", &[0, 18, 255, 5]);
    assert_eq!(tree.read(&config, "val")[0].1, [1, 19, VOID, 6]);
    tree.mask("gtFine/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png", &[19, 0, 0, 0]);
    assert!(refused(&config, "val").contains("the value 19; its masks hold training ids 0 to 18"));
    fs::remove_file(tree.at("gtFine/test/berlin/berlin_000000_000019_gtFine_labelIds.png"))
        .unwrap();
    assert!(refused(&config, "test").contains("a picture without a mask"));
}

#[test]
fn ade20k_has_150_classes_and_0_is_void() {
    let tree = Tree::new();
    for (part, name, values) in [
        ("training", "ADE_train_00000002", &[0, 1, 150, 13][..]),
        ("training", "ADE_train_00000001", &[5, 5, 5, 5]),
        ("validation", "ADE_val_00000001", &[151, 0, 0, 0]),
    ] {
        tree.picture(&format!("images/{part}/{name}.jpg"));
        tree.mask(&format!("annotations/{part}/{name}.png"), values);
    }
    let config = tree.config("ade20k", "");
    assert!(!config.has_background());
    let classes = config.open("train").unwrap().classes().to_vec();
    assert_eq!((classes.len(), &*classes[0], &*classes[12]), (150, "wall", "person"));
    assert_eq!(
        tree.read(&config, "train"),
        [row("ADE_train_00000001", &[5; 4]), row("ADE_train_00000002", &[VOID, 1, 150, 13])]
    );
    assert!(refused(&config, "validation").contains("the value 151"));
    assert!(refused(&config, "test").contains("Valid are: train"));
}

#[test]
fn coco_stuff_has_171_of_182_ids() {
    for (pictures, masks) in [
        ("train2017", "stuffthingmaps_trainval2017/train2017"),
        ("images/train2017", "annotations/train2017"),
    ] {
        let tree = Tree::new();
        tree.picture(&format!("{pictures}/000000000009.jpg"));
        // person, traffic light, fire hydrant (id 11), stop sign (id 13), wood.
        tree.mask(&format!("{masks}/000000000009.png"), &[0, 9, 10, 12, 181, 255]);
        let config = tree.config("coco-stuff", "");
        assert!(!config.has_background());
        let set = config.open("train").unwrap();
        let name = |value: u8| set.classes()[usize::from(value) - 1].as_str();
        assert_eq!(set.classes().len(), 171);
        let right = [1, 10, 11, 12, 171, VOID];
        assert_eq!(tree.read(&config, "train"), [row("000000000009", &right)]);
        let names = right[..5].iter().map(|value| name(*value));
        let known = ["person", "traffic light", "fire hydrant", "stop sign", "wood"];
        assert_eq!(names.collect::<Vec<_>>(), known);
        // Street sign.
        tree.mask(&format!("{masks}/000000000009.png"), &[11]);
        assert!(refused(&config, "train2017").contains("the value 11"));
        assert!(refused(&config, "val").contains("stuffthingmaps_trainval2017"));
    }
}

#[test]
fn coco_paints_outlines_runs_and_crowds() {
    let tree = Tree::new();
    for name in ["000000000001", "000000000002", "000000000003"] {
        tree.picture(&format!("val2017/{name}.jpg"));
    }
    let image = |id| {
        serde_json::json!({"id": id, "file_name": format!("00000000000{id}.jpg"),
        "width": 4, "height": 2, "license": 1, "coco_url": "http://a/b"})
    };
    let category =
        |id, name: &str| serde_json::json!({"id": id, "name": name, "supercategory": "x"});
    let annotation = |image, category, crowd, segmentation: serde_json::Value| {
        serde_json::json!({"id": 7, "image_id": image, "category_id": category, "iscrowd": crowd,
            "area": 3.5, "bbox": [0, 0, 1, 1], "segmentation": segmentation})
    };
    let file = serde_json::json!({
        "info": {"year": 2017}, "licenses": [],
        "images": [image(3), image(1), image(2)],
        "annotations": [
            // The left half, then a toothbrush over its second column, in two pieces with the last.
            annotation(1, 1, 0, serde_json::json!([[0, 0, 2, 0, 2, 2, 0, 2]])),
            annotation(1, 90, 0, serde_json::json!([
                [1.0, 0.0, 2.0, 0.0, 2.0, 2.0, 1.0, 2.0],
                [3, 0, 4, 0, 4, 2, 3, 2],
                [1, 1, 2, 2]
            ])),
            // All but the first column, a crowd, and a stop sign in the last pixel.
            annotation(2, 1, 1, serde_json::json!({"size": [2, 4], "counts": [2, 6]})),
            annotation(2, 13, 0, serde_json::json!({"size": [2, 4], "counts": "71"})),
        ],
        "categories": [category(1, "person"), category(13, "stop sign"), category(90, "toothbrush")]
    });
    tree.write("annotations/instances_val2017.json", file.to_string());
    tree.write("annotations/captions_val2017.json", "{}");
    let config = tree.config("coco", "");
    assert!(config.has_background());
    let right = [
        row("000000000003", &[0; 8]),
        row("000000000001", &[1, 80, 0, 80, 1, 80, 0, 80]),
        row("000000000002", &[0, VOID, VOID, VOID, 0, VOID, VOID, 12]),
    ];
    for part in ["val", "validation", "val2017"] {
        assert_eq!(tree.read(&config, part), right);
    }
    assert_eq!(config.open("val").unwrap().classes().len(), 80);
    assert!(refused(&config, "train").contains("instances_train2017.json"));
    assert!(refused(&config, "captions_val2017").contains("Valid are: train, val"));
    for (right, wrong, says) in [
        ("\"name\":\"stop sign\"", "\"name\":\"street sign\"", "is none of COCO's 80"),
        ("\"category_id\":90", "\"category_id\":91", "of which one is not there"),
        ("\"image_id\":2", "\"image_id\":9", "the image 9"),
        ("[2,6]", "[2,7]", "run lengths of 9 pixels"),
        ("[0,0,2,0,2,2,0,2]", "[0,0,2,0,2,2,0]", "an outline of 7 numbers"),
        ("\"width\":4", "\"width\":4000000000", "limit"),
        ("\"images\":", "\"pictures\":", "missing field `images`"),
    ] {
        let text = file.to_string();
        assert!(text.contains(right), "{right}");
        tree.write("annotations/instances_val2017.json", text.replace(right, wrong));
        let said = match config.open("val") {
            Ok(set) => {
                let masks = (0..set.len()).map(|index| set.mask(index));
                masks.collect::<Result<Vec<_>, _>>().unwrap_err().to_string()
            }
            Err(error) => error.to_string(),
        };
        assert!(said.contains(says), "{wrong}: {said}");
    }
}

#[test]
fn oxford_pets_are_pets_species_or_breeds() {
    let tree = Tree::new();
    for name in ["Abyssinian_100", "yorkshire_terrier_9", "Abyssinian_2"] {
        tree.picture(&format!("images/{name}.jpg"));
        tree.mask(&format!("annotations/trimaps/{name}.png"), &[1, 2, 3, 1]);
        tree.mask(&format!("annotations/trimaps/._{name}.png"), &[0]);
    }
    let list =
        "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\nyorkshire_terrier_9 37 2 25\n";
    tree.write("annotations/trainval.txt", list);
    tree.write("annotations/test.txt", "Abyssinian_2 1 1 1\n");
    for (more, count, cat, dog) in
        [("", 1, 1, 1), ("classes = \"species\"", 2, 1, 2), ("classes = \"breed\"", 37, 1, 37)]
    {
        let config = tree.config("oxford-pets", more);
        assert!(config.has_background());
        assert_eq!(config.open("trainval").unwrap().classes().len(), count);
        let right = [
            row("Abyssinian_100", &[cat, 0, VOID, cat]),
            row("yorkshire_terrier_9", &[dog, 0, VOID, dog]),
        ];
        assert_eq!(tree.read(&config, "trainval"), right);
        assert_eq!(tree.read(&config, "test").len(), 1);
    }
    let config = tree.config("oxford-pets", "");
    assert!(refused(&config, "trainvl").contains("did you mean `trainval`?"));
    tree.write("annotations/test.txt", "Abyssinian_2 2 1 1\n");
    assert!(refused(&config, "test").contains("test.txt:1"));
}

/// SBD's own masks are MATLAB files: golden/make_sbd.py.
#[test]
fn sbd_and_voc_make_trainaug() {
    let tree = Tree::new();
    let mat = include_bytes!("../../../golden/sbd_packed.mat");
    for id in ["2008_000001", "2008_000002", "2008_000003", "2008_000004"] {
        tree.write(&format!("sbd/cls/{id}.mat"), mat);
        tree.picture(&format!("sbd/img/{id}.jpg"));
    }
    tree.write("sbd/train.txt", "2008_000001\n2008_000002\n");
    tree.write("sbd/val.txt", "2008_000003\n2008_000004\n");
    for id in ["2007_000032", "2008_000002", "2008_000003"] {
        tree.picture(&format!("voc/JPEGImages/{id}.jpg"));
        tree.mask(&format!("voc/SegmentationClass/{id}.png"), &[0, 20, 255, 1]);
    }
    tree.write("voc/ImageSets/Segmentation/train.txt", "2007_000032\n2008_000002\n");
    tree.write("voc/ImageSets/Segmentation/val.txt", "2008_000003\n");
    let names = |config: &DatasetConfig, part: &str| -> Vec<String> {
        tree.read(config, part).into_iter().map(|(name, _)| name).collect()
    };
    let own = config("sbd", &tree.at("sbd"), "");
    assert!(own.has_background());
    assert_eq!(names(&own, "train"), ["2008_000001", "2008_000002"]);
    assert_eq!(names(&own, "validation"), ["2008_000003", "2008_000004"]);
    let mask = own.open("train").unwrap().mask(0).unwrap();
    assert_eq!((mask.width, mask.height, mask.at(1, 2)), (7, 5, 13));
    assert!(refused(&own, "trainaug").contains("data.voc"));
    let both = config("sbd", &tree.at("sbd"), &format!("voc = {:?}", tree.at("voc")));
    let augmented = ["2007_000032", "2008_000002", "2008_000001", "2008_000004"];
    assert_eq!(names(&both, "trainaug"), augmented);
    assert_eq!(tree.read(&both, "trainaug")[1].1, [0, 20, VOID, 1], "VOC's own mask");
    assert_eq!(names(&both, "val"), ["2008_000003"]);
    assert!(refused(&both, "trainval").contains("Valid are: train, trainaug"));
    // The devkit with PNGs: with a list as DeepLab has it, and without.
    for id in ["2007_000032", "2008_000001", "2008_000003"] {
        tree.mask(&format!("voc/SegmentationClassAug/{id}.png"), &[3, 3, 3, 255]);
        tree.picture(&format!("voc/JPEGImages/{id}.jpg"));
    }
    let devkit = config("sbd", &tree.at("voc"), "");
    assert_eq!(names(&devkit, "trainaug"), ["2007_000032", "2008_000001"]);
    let line = "/JPEGImages/2008_000001.jpg /SegmentationClassAug/2008_000001.png\n";
    tree.write("voc/ImageSets/Segmentation/train_aug.txt", line);
    assert_eq!(tree.read(&devkit, "trainaug"), [row("2008_000001", &[3, 3, 3, VOID])]);
    assert_eq!(tree.read(&devkit, "train")[1], row("2008_000002", &[0, 20, VOID, 1]));
    assert!(refused(&devkit, "trainag").contains("did you mean `trainaug`?"));
}

#[test]
fn camvid_reads_segnets_own_lists() {
    let tree = Tree::new();
    tree.picture("train/a.png");
    tree.mask("trainannot/a.png", &[0, 10, 11, 3]);
    for line in [
        "train/a.png trainannot/a.png",
        "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png",
    ] {
        tree.write("train.txt", line);
        let right = [row("a", &[1, 11, VOID, 4])];
        assert_eq!(tree.read(&tree.config("camvid", ""), "train"), right);
    }
}

#[test]
fn folders_that_are_not_there_are_answered_with_the_layout() {
    let tree = Tree::new();
    for (dataset, part, drawn) in [
        ("cityscapes", "train", "gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png"),
        ("ade20k", "train", "annotations/{training,validation}/NAME.png"),
        ("coco", "val", "annotations/instances_{train2017,val2017}.json"),
        ("coco-stuff", "val", "stuffthingmaps_trainval2017/{train2017,val2017}/NAME.png"),
        ("oxford-pets", "trainval", "annotations/trimaps/NAME.png"),
        ("sbd", "train", "img/ID.jpg, cls/ID.mat"),
        ("sbd", "train", "SegmentationClassAug/ID.png"),
    ] {
        let said = refused(&tree.config(dataset, ""), part);
        assert!(said.contains(drawn) && said.contains("data.root is"), "{dataset}: {said}");
    }
}
