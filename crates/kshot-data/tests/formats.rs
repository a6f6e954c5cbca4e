//! Label formats: every pair that can hold the same labels goes there and back without losing a
//! pixel, for random masks of our own and for files of three labelling tools.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::{Path, PathBuf};

use image::RgbImage;
use kshot_data::annotation::{Object, ObjectShape};
use kshot_data::check::{Findings, Severity, check};
use kshot_data::convert::{ConvertOptions, LabelFormat, Summary, convert};
use kshot_data::label_folder::LabelFolder;
use kshot_data::labels::names::reserved;
use kshot_data::mask::{Mask, UNLABELLED, VOID};
use kshot_data::support::{LabelKind, Support};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn options(to: LabelFormat) -> ConvertOptions {
    ConvertOptions::new(to)
}

fn to(from: &Path, out: &Path, format: LabelFormat) -> Summary {
    let summary = convert(from, out, &options(format))
        .unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), format.name()));
    assert_eq!(summary.verified, summary.pictures);
    summary
}

/// A picture's name, objects and mask.
type Labelled = (PathBuf, Vec<Object>, Mask);

/// The classes, and the name, objects and mask of every labelled picture.
fn read(folder: &Path) -> (Vec<String>, Vec<Labelled>) {
    let open = LabelFolder::open(folder).unwrap();
    open.findings.refuse_errors(folder).unwrap();
    let mut all = Vec::new();
    for (index, picture) in open.pictures.iter().enumerate() {
        let (width, height) = image::image_dimensions(&picture.file).unwrap();
        let mut findings = Findings::default();
        let read = open.read(index, width as usize, height as usize, &mut findings);
        findings.refuse_errors(folder).unwrap();
        if let Some(read) = read {
            let name = PathBuf::from(picture.name.file_name().unwrap());
            all.push((name, read.annotation.objects().to_vec(), read.mask));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    (open.classes.names().to_vec(), all)
}

fn masks(folder: &Path) -> (Vec<String>, Vec<Mask>) {
    let (classes, all) = read(folder);
    (classes, all.into_iter().map(|(_, _, mask)| mask).collect())
}

fn save(path: &Path, mask: &Mask) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (width, height) = (mask.width as u32, mask.height as u32);
    image::GrayImage::from_raw(width, height, mask.pixels.clone()).unwrap().save(path).unwrap();
}

fn picture(path: &Path, width: usize, height: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::new(width as u32, height as u32).save(path).unwrap();
}

fn file(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A folder of random masks of 3 classes; `values` are drawn from.
fn random_masks(folder: &Path, seed: u64, values: &[u8]) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for index in 0..4 {
        let (width, height) = (random.random_range(1..40), random.random_range(1..30));
        let grain = [1, 3][index % 2];
        let coarse: Vec<u8> =
            (0..1200).map(|_| values[random.random_range(0..values.len())]).collect();
        let pixels = (0..width * height)
            .map(|at| coarse[at / width / grain * 40 + at % width / grain])
            .collect();
        let mask = Mask::from_pixels(width, height, pixels).unwrap();
        picture(&folder.join(format!("images/sub/p{index}.png")), width, height);
        save(&folder.join(format!("masks/sub/p{index}.png")), &mask);
    }
    file(&folder.join("classes.txt"), "a cat\ntv/monitor\nit's: \"x\", #1\n");
}

#[test]
fn random_masks_survive_every_chain_of_formats() {
    let exact = [
        LabelFormat::Mask,
        LabelFormat::ClassMasks,
        LabelFormat::ColorMasks,
        LabelFormat::Labelme,
        LabelFormat::Coco,
    ];
    let with_yolo: Vec<LabelFormat> = exact.into_iter().chain([LabelFormat::YoloSeg]).collect();
    let cases: [(&[u8], &[LabelFormat]); 2] =
        [(&[0, 0, 1, 2, 3, UNLABELLED, VOID], &exact), (&[0, 0, 1, 2, 3], &with_yolo)];
    for (seed, (values, formats)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let start = folder.path().join("start");
        random_masks(&start, seed as u64, values);
        let expected = masks(&start);
        for &first in formats {
            let there = folder.path().join(first.name());
            to(&start, &there, first);
            assert_eq!(masks(&there), expected, "{}", first.name());
            for &second in formats {
                let back = folder.path().join(format!("{}-{}", first.name(), second.name()));
                to(&there, &back, second);
                assert_eq!(masks(&back), expected, "{} {}", first.name(), second.name());
            }
        }
    }
}

#[test]
fn void_stays_void_in_a_folder_of_one_class() {
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start");
    picture(&start.join("images/a.png"), 3, 1);
    picture(&start.join("images/b.png"), 3, 1);
    save(&start.join("masks/a.png"), &Mask::from_pixels(3, 1, vec![0, 255, 255]).unwrap());
    file(
        &start.join("images/b.json"),
        r#"{"shapes": [{"label": "__ignore__", "points": [[0,0],[2,0],[2,1],[0,1]]}]}"#,
    );
    file(&start.join("classes.txt"), "thing\n");
    let out = folder.path().join("mask");
    to(&start, &out, LabelFormat::Mask);
    let (_, all) = masks(&out);
    // 255 alone with one class is the class in somebody's mask; in ours it is void.
    assert_eq!(all[0].pixels, [0, 1, 1]);
    assert_eq!(all[1].pixels, [VOID, VOID, 0]);
}

#[test]
fn boxes_go_between_their_formats_and_are_not_filled_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start");
    for name in ["a", "b"] {
        picture(&start.join(format!("images/{name}.png")), 30, 20);
    }
    file(
        &start.join("boxes.csv"),
        "image,xmin,ymin,xmax,ymax,class\na.png,1,2,30,20,dog\na.png,3.5,4,7,9,cat\nb.png,0,0,9,9,dog\n",
    );
    let (_, expected) = read(&start);
    for first in [
        LabelFormat::BoxesCsv,
        LabelFormat::VocXml,
        LabelFormat::YoloSeg,
        LabelFormat::Coco,
        LabelFormat::Labelme,
    ] {
        let there = folder.path().join(first.name());
        to(&start, &there, first);
        for second in [LabelFormat::BoxesCsv, LabelFormat::VocXml, LabelFormat::Coco] {
            let back = folder.path().join(format!("{}-{}", first.name(), second.name()));
            to(&there, &back, second);
            for ((name, objects, mask), (_, was, before)) in read(&back).1.iter().zip(&expected) {
                let shapes = |objects: &[Object]| -> Vec<ObjectShape> {
                    objects.iter().map(|object| object.shape.clone()).collect()
                };
                assert_eq!((shapes(objects), mask), (shapes(was), before), "{}", name.display());
            }
        }
    }
    let out = folder.path().join("filled");
    let error = convert(&start, &out, &options(LabelFormat::Mask)).unwrap_err().to_string();
    assert!(error.contains("3 boxes would be filled") && error.contains("--lossy"), "{error}");
    assert!(!out.exists());
    let lossy = ConvertOptions { lossy: true, ..options(LabelFormat::Mask) };
    assert_eq!(convert(&start, &out, &lossy).unwrap().lost.len(), 1);
    let error = convert(&start, &out, &lossy).unwrap_err().to_string();
    assert!(error.contains("not empty") && error.contains("--force"), "{error}");
    let forced = ConvertOptions { force: true, link: true, ..lossy.clone() };
    assert_eq!(convert(&start, &out, &forced).unwrap().pictures, 2);
}

#[test]
fn scribbles_stay_scribbles() {
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start");
    picture(&start.join("images/a.png"), 4, 1);
    save(&start.join("scribbles/a.png"), &Mask::from_pixels(4, 1, vec![255, 1, 0, 255]).unwrap());
    for format in [LabelFormat::Mask, LabelFormat::Coco, LabelFormat::Labelme] {
        let out = folder.path().join(format.name());
        to(&start, &out, format);
        let support = Support::load(&out).unwrap();
        assert_eq!(support.pictures[0].kind, LabelKind::Scribble, "{}", format.name());
        assert_eq!(support.pictures[0].mask.pixels, [UNLABELLED, 1, 0, UNLABELLED]);
    }
    let error =
        convert(&start, &folder.path().join("yolo"), &options(LabelFormat::YoloSeg)).unwrap_err();
    assert!(error.to_string().contains("2 unlabelled pixels"), "{error}");
}

/// The folder of real data, or `None` with a line that says so.
fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KSHOT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join("formats").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent (set KSHOT_DATA)", folder.display());
    None
}

#[test]
fn files_of_three_tools_survive_every_pair_of_formats() {
    for tool in ["labelme", "coco", "yolo_seg"] {
        let Some(start) = real(tool) else { continue };
        let (classes, expected) = read(&start);
        let folder = tempfile::tempdir().unwrap();
        for first in [
            LabelFormat::Labelme,
            LabelFormat::Coco,
            LabelFormat::YoloSeg,
            LabelFormat::Mask,
            LabelFormat::ClassMasks,
            LabelFormat::ColorMasks,
        ] {
            let there = folder.path().join(first.name());
            if first == LabelFormat::YoloSeg && tool == "labelme" {
                let error = convert(&start, &there, &options(first)).unwrap_err().to_string();
                assert!(error.contains("void pixels"), "{error}");
                continue;
            }
            to(&start, &there, first);
            let keeps_outlines = !matches!(
                first,
                LabelFormat::Mask | LabelFormat::ClassMasks | LabelFormat::ColorMasks
            );
            for second in [
                LabelFormat::Labelme,
                LabelFormat::Coco,
                LabelFormat::Mask,
                LabelFormat::ColorMasks,
            ] {
                let back = folder.path().join(format!("{}-{}", first.name(), second.name()));
                to(&there, &back, second);
                let (names, all) = read(&back);
                assert_eq!((&names, all.len()), (&classes, expected.len()));
                for ((name, objects, mask), (was, before, same)) in all.iter().zip(&expected) {
                    assert_eq!(name, was);
                    assert!(mask == same, "{tool} {} {} {name:?}", first.name(), second.name());
                    if keeps_outlines && matches!(second, LabelFormat::Labelme | LabelFormat::Coco)
                    {
                        same_objects(objects, before, first == LabelFormat::YoloSeg);
                    }
                }
            }
        }
    }
}

/// Objects with the same classes and corners (to a billionth of a pixel: JSON's numbers are read to
/// the last digit but one).
fn same_objects(a: &[Object], b: &[Object], one_outline: bool) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        // Void has a name of its own in each format.
        let meaning = |object: &Object| reserved(&object.class).ok_or(object.class.clone());
        assert_eq!((meaning(a), a.crowd), (meaning(b), b.crowd));
        match (&a.shape, &b.shape) {
            // Parts are joined, and where an edge passes through a pixel's centre the last digit
            // decides, so that such an outline is drawn along the pixels' borders.
            (ObjectShape::Polygons(a), ObjectShape::Polygons(b))
                if one_outline && (b.len() > 1 || a[0].len() != b[0].len()) =>
            {
                assert_eq!(a.len(), 1);
            }
            (ObjectShape::Polygons(a), ObjectShape::Polygons(b)) => {
                assert_eq!(a.len(), b.len());
                for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
                    assert!((a[0] - b[0]).abs() < 2e-9 && (a[1] - b[1]).abs() < 2e-9);
                }
            }
            (a, b) => assert_eq!(a, b),
        }
    }
}

#[test]
fn supports_of_three_tools_simply_load() {
    for (tool, pictures, class) in
        [("labelme", 3, "person"), ("coco", 3, "person"), ("yolo_seg", 8, "class 45")]
    {
        let Some(folder) = real(tool) else { continue };
        let support = Support::load(&folder).unwrap();
        assert_eq!(support.pictures.len(), pictures);
        assert!(support.classes.contains(&class.to_owned()), "{:?}", support.classes);
        assert!(!check(&folder, None).unwrap().has_errors());
    }
}

#[test]
fn every_kind_of_label_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["mask", "colour", "classed", "labelme", "coco", "yolo", "voc", "csv"] {
        picture(&at(&format!("images/{name}.png")), 4, 2);
    }
    file(&at("classes.txt"), "cat\ndog\n");
    file(&at("colors.csv"), "cat,200,0,0\ndog,0,200,0\nvoid,9,9,9\n");
    save(&at("masks/mask.png"), &Mask::from_pixels(4, 2, vec![0, 1, 2, 255, 0, 0, 0, 0]).unwrap());
    let mut coloured = RgbImage::new(4, 2);
    coloured.put_pixel(0, 0, image::Rgb([0, 200, 0]));
    coloured.put_pixel(1, 0, image::Rgb([9, 9, 9]));
    coloured.save(at("masks/colour.png")).unwrap();
    save(
        &at("masks/dog/classed.png"),
        &Mask::from_pixels(4, 2, vec![7, 0, 0, 0, 0, 0, 0, 0]).unwrap(),
    );
    save(
        &at("masks/classed_cat.png"),
        &Mask::from_pixels(4, 2, vec![0, 255, 0, 0, 0, 0, 0, 0]).unwrap(),
    );
    let square = "[[0,0],[1,0],[1,1],[0,1]]";
    file(
        &at("images/labelme.json"),
        &format!(r#"{{"shapes": [{{"label": "dog", "points": {square}}}]}}"#),
    );
    file(
        &at("annotations/instances.json"),
        r#"{"images": [{"id": 3, "file_name": "images/coco.png", "width": 4, "height": 2}],
            "categories": [{"id": 44, "name": "dog"}, {"id": 9, "name": "cat"}],
            "annotations": [
                {"id": 1, "image_id": 3, "category_id": 44, "segmentation": {"size": [2, 4], "counts": [0, 1, 7]}},
                {"id": 2, "image_id": 3, "category_id": 9, "iscrowd": 1, "segmentation": {"size": [2, 4], "counts": [0, 3, 5]}}]}"#,
    );
    file(&at("labels/yolo.txt"), "1 0 0 0.25 0 0.25 0.5 0 0.5\n0 0.375 0.25 0.25 0.5\n");
    file(
        &at("annotations/voc.xml"),
        "<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></object></annotation>",
    );
    file(&at("boxes.csv"), "image,xmin,ymin,xmax,ymax,class\ncsv.png,0,0,1,1,dog\n");
    let support = Support::load(folder.path()).unwrap();
    assert_eq!(support.warnings.len(), 1, "{:?}", support.warnings);
    assert!(support.warnings[0].contains("1 line of 4 numbers among outlines"));
    for picture in &support.pictures {
        let name = picture.path.file_stem().unwrap().to_str().unwrap();
        let (kind, expected) = match name {
            "mask" => (LabelKind::Mask, [0, 1, 2, VOID, 0, 0, 0, 0]),
            "colour" => (LabelKind::Mask, [2, VOID, 0, 0, 0, 0, 0, 0]),
            "classed" => (LabelKind::Mask, [2, 1, 0, 0, 0, 0, 0, 0]),
            "coco" => (LabelKind::Mask, [2, VOID, 0, 0, VOID, 0, 0, 0]),
            "labelme" => (LabelKind::Polygons, [2, 0, 0, 0, 0, 0, 0, 0]),
            "yolo" => (LabelKind::Polygons, [2, 1, 0, 0, 0, 0, 0, 0]),
            _ => (LabelKind::Boxes, [2, 0, 0, 0, 0, 0, 0, 0]),
        };
        assert_eq!((picture.kind, &picture.mask.pixels[..]), (kind, &expected[..]), "{name}");
    }
    assert_eq!(support.pictures.len(), 8);
}

#[test]
fn wrong_labels_of_every_format_are_named() {
    let base = |folder: &Path| {
        picture(&folder.join("images/a.png"), 4, 2);
        file(&folder.join("classes.txt"), "cat\ndog\n");
    };
    let coco = |body: &str| {
        format!(
            r#"{{"images": [{{"id": 1, "file_name": "a.png", "width": 9, "height": 2}}], "categories": [{{"id": 1, "name": "cat"}}], "annotations": [{body}]}}"#
        )
    };
    let lone = r#"{"id": 1, "image_id": 1, "category_id": 255, "bbox": [0, 0, 1, 1]}"#;
    let cases: [(&str, String, &str); 8] = [
        ("c.json", coco(lone), "255 (1 annotation)"),
        (
            "c.json",
            coco(r#"{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}"#),
            "9 x 2",
        ),
        ("labels/a.txt", "7 0.5 0.5 1 1".into(), "7 (1 line)"),
        ("labels/a.txt", "0 3 3 4 4 5 5".into(), "not pixels"),
        (
            "Annotations/a.xml",
            "<annotation><object></object></annotation>".into(),
            "without a name",
        ),
        (
            "images/a.json",
            r#"{"shapes": [{"label": "cow", "points": [[0,0],[1,0],[1,1]]}]}"#.into(),
            "`cow`",
        ),
        ("images/a.json", r#"{"imageWidth": 2, "imageHeight": 4, "shapes": []}"#.into(), "turned"),
        ("boxes.csv", "image,xmin,ymin,xmax,ymax,class\na.png,0,0,1,1,cow\n".into(), "`cow`"),
    ];
    for (name, text, word) in cases {
        let folder = tempfile::tempdir().unwrap();
        base(folder.path());
        file(&folder.path().join(name), &text);
        let error = Support::load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains(name.rsplit('/').next().unwrap()),
            "{error}"
        );
        let report = check(folder.path(), None).unwrap();
        let found = report.findings.iter().find(|finding| finding.what.contains(word));
        assert_eq!(found.map(|finding| finding.severity), Some(Severity::Error), "{report:#?}");
    }
}

#[test]
fn one_label_never_serves_two_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"), 2, 1);
    picture(&at("images/a.bmp"), 2, 1);
    save(&at("masks/a.png"), &Mask::from_pixels(2, 1, vec![0, 1]).unwrap());
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("same name as a.bmp"), "{error}");
    // Labels that name the picture with its ending are for one each.
    std::fs::remove_dir_all(at("masks")).unwrap();
    file(&at("boxes.csv"), "image,xmin,ymin,xmax,ymax,class\na.png,0,0,1,1,x\na.bmp,1,0,2,1,x\n");
    assert_eq!(Support::load(folder.path()).unwrap().pictures.len(), 2);
    let out = at("out");
    assert_eq!(to(folder.path(), &out, LabelFormat::Coco).objects, 2);
    let error =
        convert(folder.path(), &at("voc"), &options(LabelFormat::VocXml)).unwrap_err().to_string();
    assert!(error.contains("share one label"), "{error}");
}

#[test]
fn what_255_means_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("images/a.png"), 2, 1);
    save(&at("masks/a.png"), &Mask::from_pixels(2, 1, vec![0, 255]).unwrap());
    picture(&at("images/b.png"), 2, 1);
    save(&at("scribbles/b.png"), &Mask::from_pixels(2, 1, vec![255, 255]).unwrap());
    file(&at("classes.txt"), "cat\ndog\n");
    let report = check(folder.path(), None).unwrap();
    let said = |severity, file: &str, word: &str| {
        report.findings.iter().any(|finding| {
            finding.severity == severity
                && finding.file.ends_with(file)
                && finding.what.contains(word)
        })
    };
    assert!(said(Severity::Warning, "masks/a.png", "the object or void?"), "{report:#?}");
    assert!(said(Severity::Error, "scribbles/b.png", "every pixel is unlabelled"), "{report:#?}");
    let error = Support::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("b.png") && error.contains("every pixel is unlabelled"), "{error}");
}
