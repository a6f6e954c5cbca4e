//! Damaged files of every format: whatever is in them, there is an answer, without a panic and in bounded memory.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use image::{DynamicImage, ImageFormat};
use kshot_data::check::check;
use kshot_data::image::{ReadLimits, dimensions, read_with};
use kshot_data::labels::{index, instances};
use peak_alloc::PeakAlloc;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiff::encoder::{Compression, TiffEncoder, colortype};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// One test after the other: memory is counted for all together.
static ONE: Mutex<()> = Mutex::new(());

/// Bytes that a damaged file of some kilobytes may take.
const MOST_MEMORY: usize = 256 << 20;
/// Damaged files made of each whole one.
const ROUNDS: u64 = if cfg!(debug_assertions) { 40 } else { 200 };
/// Pictures in these tests are small; larger ones are refused by their headers.
const LIMITS: ReadLimits = ReadLimits { side: 4096, pixels: 1 << 22 };
/// Width and height of the labelled picture.
const SIZE: [u32; 2] = [12, 8];
/// Numbers that headers and lists claim where they lie.
const EXTREMES: [&str; 10] = [
    "0",
    "-1",
    "1e308",
    "0.5",
    "255",
    "65536",
    "14000",
    "2147483648",
    "4294967296",
    "18446744073709551615",
];

/// A file damaged in one to three ways.
fn mutated(whole: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        let length = random.random_range(1..=64.min(bytes.len() - at));
        match random.random_range(0..8) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let again = bytes[at..at + length].repeat(random.random_range(1..200));
                bytes.splice(at..at, again);
            }
            5 => {
                let number = [0, 1, u32::MAX, i32::MAX as u32, 14_000, 65_535, 1 << 30];
                let number = number[random.random_range(0..number.len())];
                let wide =
                    if random.random() { number.to_be_bytes() } else { number.to_le_bytes() };
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&wide[..end - at]);
            }
            _ => extreme(&mut bytes, at, random),
        }
    }
    bytes
}

/// Puts an extreme in the place of the next number in a text.
fn extreme(bytes: &mut Vec<u8>, at: usize, random: &mut ChaCha8Rng) {
    let Some(from) = (at..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let length = bytes[from..].iter().take_while(|byte| number(byte)).count();
    let other = EXTREMES[random.random_range(0..EXTREMES.len())];
    bytes.splice(from..from + length, other.bytes());
}

/// Makes the sums of a PNG's chunks right again, so that what is in them is looked at.
fn mend_sums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let (from, to) = (at + 4, (at + 8).saturating_add(length));
        if to.saturating_add(4) > bytes.len() {
            return;
        }
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[from..to]);
        bytes[to..to + 4].copy_from_slice(&sum.sum().to_be_bytes());
        at = to + 4;
    }
}

/// Damages a file in many ways and looks at each; what goes wrong is told with what it needs to be made again.
fn damage(name: &str, whole: &[u8], file: &Path, look: impl Fn()) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    for seed in 0..ROUNDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = mutated(whole, &mut random);
        if bytes.starts_with(b"\x89PNG") && seed % 4 > 0 {
            mend_sums(&mut bytes);
        }
        std::fs::write(file, &bytes).unwrap();
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&look));
        assert!(looked.is_ok(), "{name}, seed {seed}: a panic");
        let taken = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(taken < MOST_MEMORY, "{name}, seed {seed}: {} MB", taken >> 20);
    }
}

fn encoded(picture: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Numbers 0 to 2 of a picture of [`SIZE`].
fn numbers() -> Vec<u8> {
    (0..SIZE[0] * SIZE[1]).map(|at| (at / 7 % 3) as u8).collect()
}

fn gray() -> DynamicImage {
    image::GrayImage::from_raw(SIZE[0], SIZE[1], numbers()).unwrap().into()
}

/// A PNG of few bits a pixel, in colours of a palette, with text beside.
fn palette(depth: png::BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE[0], SIZE[1]);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(depth);
    encoder.set_palette(vec![0, 0, 0, 200, 0, 0, 0, 0, 200, 9, 9, 9]);
    encoder.add_itxt_chunk("kshot classes".into(), r#"["a", "b"]"#.into()).unwrap();
    let bits = depth as usize * SIZE[0] as usize;
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0x11; bits.div_ceil(8) * SIZE[1] as usize]).unwrap();
    drop(writer);
    bytes
}

fn tiff<C: colortype::ColorType>(packed: Compression, values: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(packed);
    encoder.write_image::<C>(SIZE[0], SIZE[1], values).unwrap();
    bytes.into_inner()
}

fn tiffs() -> Vec<(&'static str, Vec<u8>)> {
    let plain = Compression::Uncompressed;
    let wide: Vec<u16> = numbers().into_iter().map(u16::from).collect();
    let wider: Vec<u32> = numbers().into_iter().map(u32::from).collect();
    let floats: Vec<f32> = numbers().into_iter().map(f32::from).collect();
    vec![
        ("tiff8", tiff::<colortype::Gray8>(plain, &numbers())),
        ("tiff8-lzw", tiff::<colortype::Gray8>(Compression::Lzw, &numbers())),
        ("tiff16", tiff::<colortype::Gray16>(plain, &wide)),
        ("tiff32", tiff::<colortype::Gray32>(Compression::Deflate(Default::default()), &wider)),
        ("tiff-float", tiff::<colortype::Gray32Float>(plain, &floats)),
    ]
}

fn array(kind: &str, values: &[u8]) -> Vec<u8> {
    let head = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}, {}), }}\n",
        SIZE[1], SIZE[0]
    );
    let length = (head.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0".as_slice(), &length, head.as_bytes(), values].concat()
}

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../golden");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn what_is_taken_is_counted() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let much = || drop(std::hint::black_box(vec![1u8; MOST_MEMORY + 1]));
    let damaged = || damage("much", b"0", &folder.path().join("a"), much);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(damaged)).is_err());
}

#[test]
fn damaged_pictures_are_answered() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![
        ("png", encoded(gray(), ImageFormat::Png)),
        ("png-alpha", encoded(gray().into_rgba8().into(), ImageFormat::Png)),
        ("png16", encoded(gray().into_rgb16().into(), ImageFormat::Png)),
        ("png16-alpha", encoded(gray().into_luma_alpha16().into(), ImageFormat::Png)),
        ("png-palette", palette(png::BitDepth::Two)),
        ("jpeg", encoded(gray().into_rgb8().into(), ImageFormat::Jpeg)),
        ("gif", encoded(gray().into_rgb8().into(), ImageFormat::Gif)),
        ("bmp", encoded(gray().into_rgb8().into(), ImageFormat::Bmp)),
        ("webp", encoded(gray().into_rgb8().into(), ImageFormat::WebP)),
    ];
    for name in ["lossless.jxl", "lossy.jxl", "gray16.jxl", "window.dcm", "rle.dcm", "jpeg.dcm"] {
        files.push((name, golden(&format!("rare/{name}"))));
    }
    files.extend(tiffs());
    let file = folder.path().join("picture");
    for (name, whole) in files {
        std::fs::write(&file, &whole).unwrap();
        assert!(read_with(&file, LIMITS, None).is_ok(), "{name}");
        damage(name, &whole, &file, || {
            let _ = (read_with(&file, LIMITS, None), dimensions(&file));
        });
    }
}

#[test]
fn damaged_masks_are_answered() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("images")).unwrap();
    gray().save(at("images/a.png")).unwrap();
    let mut files = vec![
        ("masks/a.png", "gray", encoded(gray(), ImageFormat::Png)),
        ("masks/a.png", "alpha", encoded(gray().into_luma_alpha8().into(), ImageFormat::Png)),
        ("masks/a.png", "colours", encoded(gray().into_rgba8().into(), ImageFormat::Png)),
        ("masks/a.png", "16 bits", encoded(gray().into_luma16().into(), ImageFormat::Png)),
        ("masks/a.png", "1 bit", palette(png::BitDepth::One)),
        ("masks/a.png", "8 bits", palette(png::BitDepth::Eight)),
        ("masks/a.jpg", "jpeg", encoded(gray(), ImageFormat::Jpeg)),
        ("scribbles/a.png", "scribble", encoded(gray(), ImageFormat::Png)),
        ("masks/a_cell.png", "of a class", encoded(gray(), ImageFormat::Png)),
        ("instances/a.npy", "bytes", array("|u1", &numbers())),
        ("instances/a.npy", "floats", array("<f8", &[0; 8 * 12 * 8])),
        ("instances/a.npy", "cellpose", golden("cellpose_seg.npy")),
        ("instances/a.npy", "old cellpose", golden("cellpose_old_seg.npy")),
    ];
    for (name, whole) in tiffs() {
        files.push(("masks/a.tif", name, whole.clone()));
        files.push(("instances/a.tif", name, whole));
    }
    for (place, name, whole) in files {
        let file = at(place);
        damage(&format!("{place} ({name})"), &whole, &file, || {
            let _ = check(folder.path(), None);
            // By itself, where a header says a size that its picture does not have.
            if index::size(&file)
                .is_none_or(|(width, height)| width.saturating_mul(height) < 1 << 22)
            {
                let _ = (index::read_file(&file), instances::read(&file));
            }
        });
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn damaged_labels_are_answered() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("images")).unwrap();
    let small = image::GrayImage::new(6, 4);
    let labelme = r#"{"shapes": [{"label": "a", "points": [[1, 1], [9, 1.5], [3, 7]], "shape_type": "polygon"},
        {"label": "b", "points": [[2, 2], [9, 7]], "shape_type": "rectangle"},
        {"label": "b", "points": [[5, 5], [7, 5]], "shape_type": "circle"},
        {"label": "a", "points": [[0, 0], [2, 2]], "shape_type": "mask", "mask": "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADklEQVR4nGP8z8DEwAAABQ0BA7hKXG8AAAAASUVORK5CYII="}],
        "imagePath": "a.png", "imageWidth": 12, "imageHeight": 8}"#;
    let coco = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 8}],
        "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[1, 1, 9, 1.5, 3, 7]], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": {"size": [8, 12], "counts": [10, 20, 66]}, "iscrowd": 1},
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": {"size": [8, 12], "counts": ":d0R2"}},
        {"id": 4, "image_id": 1, "category_id": 1, "bbox": [1, 2, 5, 3]}]}"#;
    let via = r#"{"a.png12": {"filename": "a.png", "size": 12, "regions": [
        {"shape_attributes": {"name": "polygon", "all_points_x": [0, 4, 4], "all_points_y": [0, 0, 3.5]}, "region_attributes": {"label": "a"}},
        {"shape_attributes": {"name": "ellipse", "cx": 6, "cy": 4, "rx": 3, "ry": 2, "theta": 0.4}, "region_attributes": {"label": "b"}}]}}"#;
    let geojson = r#"{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"classification": {"name": "a"}},
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 7], [0, 7]], [[2, 2], [4, 2], [4, 4]]]}}]}"#;
    let createml = r#"[{"image": "a.png", "annotations": [{"label": "a", "coordinates": {"x": 5, "y": 4, "width": 4, "height": 3}}]}]"#;
    let voc = "<annotation><filename>a.png</filename><size><width>12</width><height>8</height></size><object><name>a</name>\
        <bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>7</ymax></bndbox></object></annotation>";
    let cvat = r#"<annotations><image id="0" name="a.png" width="12" height="8"><polygon label="a" points="1,1;9,1.5;3,7"/>
        <mask label="b" rle="3, 5, 4, 8, 4" left="2" top="1" width="6" height="4"/><ellipse label="a" cx="5" cy="4" rx="3" ry="2" rotation="30"/>
        </image><track id="1" label="a"><box frame="0" outside="0" xtl="1" ytl="1" xbr="5" ybr="6"/></track></annotations>"#;
    let yolo = "0 0.5 0.5 0.4 0.6\n1 0.1 0.1 0.9 0.2 0.4 0.8\n3 0.2 0.3 0.1 0.1 0.9\n";
    let csv = "image,xmin,ymin,xmax,ymax,class\na.png,1,2,9,7,a\na.png,3,1,5,4.5,b\n";
    let files: Vec<(&str, &str, Vec<u8>)> = vec![
        ("images/a.json", "LabelMe", labelme.into()),
        ("annotations/c.json", "COCO", coco.into()),
        ("annotations/v.json", "VIA", via.into()),
        ("images/a.geojson", "GeoJSON", geojson.into()),
        ("annotations/m.json", "CreateML", createml.into()),
        ("annotations/a.json", "Supervisely", golden("formats/supervisely.json")),
        ("annotations/a.json", "Darwin", golden("formats/darwin.json")),
        ("annotations/a.json", "Darwin's masks", golden("formats/darwin_masks.json")),
        ("annotations/a.json", "Datumaro", golden("formats/datumaro.json")),
        ("annotations/a.json", "Label Studio", golden("label_studio.json")),
        ("annotations/a.xml", "CVAT", golden("cvat.xml")),
        ("annotations/x.xml", "CVAT by hand", cvat.into()),
        ("annotations/a.xml", "VOC", voc.into()),
        ("labels/a.txt", "YOLO", yolo.into()),
        ("boxes.csv", "boxes", csv.into()),
        ("classes.txt", "classes", b"a\nb\n\xc3\xa9\nd\n".to_vec()),
        ("colors.csv", "colours", b"name,r,g,b\na,1,2,3\nb,9,9,9\n".to_vec()),
        ("data.yaml", "YOLO's names", b"nc: 4\nnames:\n  0: a\n  1: b\n  2: c\n  3: d\n".to_vec()),
    ];
    for (place, name, whole) in files {
        // What lists alone name is of no use without labels.
        let labelled = ["classes.txt", "colors.csv", "data.yaml"].contains(&place);
        std::fs::create_dir_all(at("labels")).unwrap();
        if labelled {
            std::fs::write(at("labels/a.txt"), yolo).unwrap();
        }
        // What tools wrote is of a picture of 6 x 4, the rest of the usual one.
        let golden = name != "CVAT" && place == "annotations/a.json";
        if golden { small.save(at("images/a.png")) } else { gray().save(at("images/a.png")) }
            .unwrap();
        let file = at(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &whole).unwrap();
        if !golden && name != "CVAT" {
            let report = check(folder.path(), None).unwrap();
            assert!(report.labelled == 1 && !report.has_errors(), "{name}: {report}");
        }
        damage(&format!("{place} ({name})"), &whole, &file, || drop(check(folder.path(), None)));
        std::fs::remove_file(file).unwrap();
        std::fs::remove_dir_all(at("labels")).unwrap();
    }
}
