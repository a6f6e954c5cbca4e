//! What the contract promises of every transform of the table.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use std::borrow::Cow;

use image::{Rgb, RgbImage};
use kshot::data::transforms::affine::Affine;
use kshot::data::transforms::crop::Crop;
use kshot::data::transforms::flip::Flip;
use kshot::data::transforms::{
    OutputSize, Pair, Transform, apply, apply_all, apply_image, apply_to, check_all, rows,
};
use kshot_data::mask::{Mask, VOID};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Data {
    transforms: Vec<Transform>,
}

fn parse(text: &str) -> Vec<Transform> {
    toml::from_str::<Data>(&format!("transforms = [{text}]")).unwrap().transforms
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A red and a blue half, and a mask that says which is which.
fn halves(width: usize, height: usize) -> (RgbImage, Mask) {
    let left = |x: usize, y: usize| 3 * x + y < 2 * width;
    let picture = RgbImage::from_fn(width as u32, height as u32, |x, y| {
        Rgb(if left(x as usize, y as usize) { [200, 30, 30] } else { [30, 30, 200] })
    });
    let mut mask = Mask::filled(width, height, 2);
    for (at, pixel) in mask.pixels.iter_mut().enumerate() {
        if left(at % width, at / width) {
            *pixel = 1;
        }
    }
    (picture, mask)
}

/// Every transform with its defaults, small enough for small pictures.
fn all() -> Vec<Transform> {
    Transform::all()
        .into_iter()
        .map(|transform| match transform {
            Transform::Crop(_) => Transform::Crop(Crop { size: OutputSize::Rectangle([24, 40]) }),
            Transform::Affine(affine) => {
                Transform::Affine(Affine { size: OutputSize::Rectangle([24, 40]), ..affine })
            }
            other => other,
        })
        .collect()
}

#[test]
fn labels_follow_their_pixels() {
    for transform in all().into_iter().filter(Transform::is_geometric) {
        let name = transform.name();
        let (mut right, mut wrong, mut void) = (0, 0, 0);
        for seed in 0..30 {
            let (picture, mask) = halves(60, 36);
            let one = std::slice::from_ref(&transform);
            let (picture, mask) = apply_all(one, picture, mask, &mut random(seed)).unwrap();
            assert_eq!(
                [picture.width() as usize, picture.height() as usize],
                [mask.width, mask.height]
            );
            assert_eq!(mask.pixels.len(), mask.width * mask.height, "{name}");
            for (pixel, label) in picture.pixels().zip(&mask.pixels) {
                let red = pixel.0[0] > pixel.0[2];
                match *label {
                    1 if red => right += 1,
                    2 if !red => right += 1,
                    VOID => void += 1,
                    1 | 2 => wrong += 1,
                    other => panic!("{name} made a label {other}"),
                }
            }
        }
        // Only along the line between the halves, where interpolation blends.
        assert!(wrong * 50 < right, "{name}: {wrong} of {right}");
        assert!(void * 2 < right, "{name}: {void} void");
    }
}

#[test]
fn what_moves_whole_pixels_keeps_them_exactly() {
    let picture = RgbImage::from_fn(9, 7, |x, y| Rgb([(x + 10 * y) as u8; 3]));
    let pixels = (0..63).map(|at| (at % 9 + 10 * (at / 9)) as u8).collect();
    let mask = Mask { width: 9, height: 7, pixels };
    let text = "{ name = 'flip', vertical = 0.5 }, { name = 'shift', pixels = 3 }, \
                { name = 'crop', size = [5, 12] }";
    let transforms = parse(text);
    let (mut seen, mut outside) = (0, 0);
    for seed in 0..40 {
        let (picture, mask) =
            apply_all(&transforms, picture.clone(), mask.clone(), &mut random(seed)).unwrap();
        assert_eq!([mask.width, mask.height], [12, 5]);
        for (pixel, label) in picture.pixels().zip(&mask.pixels) {
            assert!(*label == VOID || pixel.0[0] == *label);
            if *label == VOID { outside += 1 } else { seen += 1 }
        }
    }
    assert!(seen > 500 && outside > 100, "{seen} {outside}");
}

#[test]
fn the_same_state_gives_the_same_result_with_a_mask_or_without() {
    for transform in all() {
        let (name, one) = (transform.name(), [transform]);
        let (picture, mask) = halves(50, 31);
        let mut states = [random(7), random(7), random(7)];
        let [first, second, third] = &mut states;
        let result = apply_all(&one, picture.clone(), mask.clone(), first).unwrap();
        assert_eq!(result, apply_all(&one, picture.clone(), mask.clone(), second).unwrap());
        assert_eq!(result.0, apply_image(&one, picture.clone(), third).unwrap(), "{name}");
        let next = states.map(|mut state| state.next_u64());
        assert!(next[0] == next[1] && next[1] == next[2], "{name}");
        // Other states give other results.
        let differs = (0..20).any(|seed| {
            apply_all(&one, picture.clone(), mask.clone(), &mut random(seed)).unwrap() != result
        });
        // Gamma moves neither of a picture's two levels.
        assert!(differs || name == "resize" || name == "gamma", "{name}");
    }
}

#[test]
fn nothing_changes_at_no_strength() {
    let text = "{ name = 'flip', horizontal = 0.0 }, { name = 'scale', range = [1.0, 1.0] }, \
                { name = 'crop', size = [31, 50] }, { name = 'rotate', degrees = [0.0, 0.0] }, \
                { name = 'resize', size = [31, 50] }, { name = 'shift', pixels = 0 }, \
                { name = 'colour', brightness = 0.0, contrast = 0.0, saturation = 0.0, hue = 0.0 }, \
                { name = 'blur', probability = 0.0 }, { name = 'noise', std = [0.0, 0.0] }, \
                { name = 'cutout', holes = 0 }, \
                { name = 'affine', size = [31, 50], rotate = 0.0, scale = [1.0, 1.0] }, \
                { name = 'brightness', range = [1.0, 1.0] }, { name = 'contrast', range = [1.0, 1.0] }, \
                { name = 'gamma', range = [1.0, 1.0] }, { name = 'low-resolution', zoom = [1.0, 1.0] }";
    let transforms = parse(text);
    let names = |of: &[Transform]| of.iter().map(Transform::name).collect::<Vec<_>>();
    assert_eq!(names(&transforms), names(&Transform::all()), "one line here for every row");
    check_all(&transforms).unwrap();
    let (picture, mask) = halves(50, 31);
    for transform in transforms {
        let name = transform.name();
        let pair = Pair::new(Cow::Borrowed(&picture), Some(Cow::Borrowed(&mask))).unwrap();
        let pair = pair.with_focus(Some([7.5, 8.5]));
        let changed = apply(&[transform], pair.clone(), &mut random(1)).unwrap();
        assert!(changed == pair, "{name}");
        let (image, labels) = changed.into_parts().unwrap();
        assert!(*image == picture && *labels.as_deref().unwrap() == mask, "{name}");
        let borrowed = matches!((image, labels), (Cow::Borrowed(_), Some(Cow::Borrowed(_))));
        assert!(borrowed, "{name} copies what it leaves");
    }
}

#[test]
fn every_transform_survives_a_recipe_and_pictures_of_any_size() {
    assert_eq!(rows().len(), Transform::all().len());
    for (transform, row) in Transform::all().into_iter().zip(rows()) {
        assert_eq!(transform.name(), row.name);
        assert!(!row.summary.is_empty());
        transform.check().unwrap();
        let one = [transform];
        let text = toml::to_string(&Data { transforms: one.to_vec() }).unwrap();
        assert_eq!(toml::from_str::<Data>(&text).unwrap().transforms, one);
        assert_eq!(parse(&format!("{{ name = '{}' }}", row.name)), one);
        let unknown = format!("transforms = [{{ name = '{}', strenght = 1 }}]", row.name);
        assert!(toml::from_str::<Data>(&unknown).is_err(), "{}", row.name);
        for (width, height) in [(1, 1), (1, 40), (33, 2)] {
            let (picture, mask) = halves(width, height);
            for seed in 0..5 {
                apply_all(&one, picture.clone(), mask.clone(), &mut random(seed)).unwrap();
            }
        }
    }
}

/// A point goes where its pixel goes, and parts are cut out around it.
#[test]
fn the_focus_follows_its_pixel() {
    let mut picture = RgbImage::new(60, 40);
    let mut mask = Mask::filled(60, 40, 0);
    // A square of 5 pixels, so that no nearest neighbour misses it.
    for (x, y) in (0..25).map(|at| (40 + at % 5, 10 + at / 5)) {
        picture.put_pixel(x, y, Rgb([255; 3]));
        mask.pixels[(y * 60 + x) as usize] = 1;
    }
    let focus = [42.5, 12.5];
    for transform in all().into_iter().filter(Transform::is_geometric) {
        let name = transform.name();
        for seed in 0..20 {
            let pair = Pair::new(Cow::Borrowed(&picture), Some(Cow::Borrowed(&mask))).unwrap();
            let one = std::slice::from_ref(&transform);
            let changed = apply(one, pair.with_focus(Some(focus)), &mut random(seed)).unwrap();
            let [x, y] = changed.focus().unwrap();
            let [width, height] = changed.size();
            let (image, mask) = changed.into_parts().unwrap();
            let inside = (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y);
            assert!(inside || name == "rotate" || name == "shift", "{name}: {x} {y}");
            if inside {
                let label = mask.unwrap().at(x as usize, y as usize);
                assert!(label == 1 || name == "cutout" && label == VOID, "{name}: {label}");
                let level = image.get_pixel(x as u32, y as u32).0[0];
                assert!(level > 200 || name == "cutout", "{name}: {level}");
            }
        }
    }
    // In the middle, as far as the picture reaches.
    let crop = parse("{ name = 'crop', size = [11, 21] }");
    let (_, part) = apply_to(&crop, &picture, &mask, Some(focus), &mut random(0)).unwrap();
    assert_eq!((part.at(10, 5), part.counts()[1]), (1, 25));
    let crop = parse("{ name = 'crop', size = [30, 50] }");
    let (_, part) = apply_to(&crop, &picture, &mask, Some(focus), &mut random(0)).unwrap();
    assert_eq!((part.at(32, 12), part.counts()[1], part.counts()[255]), (1, 25, 0));
}

#[test]
fn probabilities_are_shares_of_the_pictures() {
    let (picture, mask) = halves(20, 12);
    for text in [
        "{ name = 'rotate', degrees = [30.0, 40.0], probability = 0.25 }",
        "{ name = 'noise', std = [20.0, 20.0], probability = 0.25 }",
        "{ name = 'colour', brightness = 1.0, probability = 0.25 }",
        "{ name = 'gamma', range = [0.5, 0.6], keep_statistics = false, probability = 0.25 }",
        "{ name = 'affine', size = [12, 20], scale_probability = 0.25, rotate_probability = 0.0 }",
    ] {
        let one =
            parse(&text.replace("gamma'", "brightness'").replace(", keep_statistics = false", ""));
        let changed = (0..400).filter(|seed| {
            let changed = apply_all(&one, picture.clone(), mask.clone(), &mut random(*seed));
            changed.unwrap().0 != picture
        });
        let count = changed.count();
        assert!((70..130).contains(&count), "{text}: {count} of 400");
    }
}

/// Turned and scaled about the middle, a part is what the whole picture gives that is turned and scaled.
#[test]
fn affine_is_rotation_scale_and_crop_in_one() {
    let picture = RgbImage::from_fn(81, 81, |x, y| {
        let wave = |at: u32, step: f64| (127.0 + 100.0 * (f64::from(at) / step).sin()) as u8;
        Rgb([wave(x, 9.0), wave(y, 7.0), wave(x + y, 11.0)])
    });
    let mask = Mask::filled(81, 81, 1);
    let focus = Some([40.5, 40.5]);
    let affine = "{ name = 'affine', size = 41, rotate = 30.0, scale = [1.5, 1.5] }";
    let (ours, labels) = apply_to(&parse(affine), &picture, &mask, focus, &mut random(5)).unwrap();
    assert_eq!(labels.counts()[1], 41 * 41);
    // The angle that was drawn, from where a point went.
    let pair = Pair::new(Cow::Borrowed(&picture), None).unwrap().with_focus(focus);
    let turned = apply(&parse(affine), pair, &mut random(5)).unwrap();
    assert!(turned.focus().unwrap().iter().all(|at| (at - 20.5).abs() < 1e-9));
    let apart = |degrees: f64| {
        let three = format!(
            "{{ name = 'rotate', degrees = [{degrees:?}, {degrees:?}] }}, {{ name = 'scale', range = [1.5, 1.5] }}, \
             {{ name = 'crop', size = 41 }}"
        );
        let (theirs, _) = apply_to(&parse(&three), &picture, &mask, focus, &mut random(0)).unwrap();
        let differences = ours.iter().zip(theirs.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)));
        differences.sum::<f64>() / ours.len() as f64
    };
    let best = (-60..=60).map(|half| apart(f64::from(half) / 2.0)).fold(f64::MAX, f64::min);
    assert!(best < 3.0, "{best}");
}

/// Changes that move pixels are sampled once; what that gives is what each gives on the result of the one before.
#[test]
fn one_sampling_is_all_of_them_one_after_the_other() {
    let wave = |at: u32, step: f64| 127.0 + 100.0 * (f64::from(at) / step).sin();
    let picture = RgbImage::from_fn(90, 70, |x, y| {
        Rgb([wave(x, 9.0) as u8, wave(y, 7.0) as u8, wave(x + y, 11.0) as u8])
    });
    let mut mask = Mask::filled(90, 70, 0);
    for (at, label) in mask.pixels.iter_mut().enumerate() {
        *label = (at % 90 / 30 + at / 90 / 35 * 3) as u8;
    }
    for (text, levels, labels) in [
        (
            "{ name = 'flip', vertical = 0.5 }, { name = 'shift', pixels = 9 }, { name = 'crop', size = 80 }",
            0.0,
            0.0,
        ),
        (
            "{ name = 'scale', range = [0.6, 1.8] }, { name = 'crop', size = [50, 60] }, { name = 'flip' }",
            0.5,
            0.0,
        ),
        (
            "{ name = 'crop', size = 60 }, { name = 'resize', size = [40, 90] }, { name = 'shift', pixels = 9 }",
            0.8,
            0.0,
        ),
        (
            "{ name = 'crop', size = 60 }, { name = 'rotate', degrees = [-90.0, 90.0] }, { name = 'flip' }",
            0.8,
            0.01,
        ),
        (
            "{ name = 'rotate', degrees = [20.0, 40.0] }, { name = 'shift', pixels = 20 }, { name = 'rotate' }",
            2.0,
            0.03,
        ),
        (
            "{ name = 'affine', size = 50 }, { name = 'flip' }, { name = 'scale', range = [1.0, 1.5] }",
            2.0,
            0.03,
        ),
    ] {
        let transforms = parse(text);
        for seed in 0..30 {
            let (mut one, mut other) = (random(seed), random(seed));
            let (ours, ours_mask) =
                apply_all(&transforms, picture.clone(), mask.clone(), &mut one).unwrap();
            let (mut theirs, mut theirs_mask) = (picture.clone(), mask.clone());
            for transform in &transforms {
                let each = std::slice::from_ref(transform);
                (theirs, theirs_mask) = apply_all(each, theirs, theirs_mask, &mut other).unwrap();
            }
            assert_eq!(ours.dimensions(), theirs.dimensions());
            assert_eq!(one.next_u64(), other.next_u64());
            let apart = ours.iter().zip(theirs.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)));
            let apart = apart.sum::<f64>() / ours.len() as f64;
            let differ = ours_mask.pixels.iter().zip(&theirs_mask.pixels).filter(|(a, b)| a != b);
            let differ = differ.count() as f64 / theirs_mask.pixels.len() as f64;
            assert!(
                apart <= levels && differ <= labels,
                "{text}: {apart} levels, {differ} of the labels"
            );
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_by_key() {
    for (text, says) in [
        ("{ name = 'flip', horizontal = 1.5 }", "horizontal"),
        ("{ name = 'scale', range = [2.0, 0.5] }", "range"),
        ("{ name = 'scale', range = [0.0, 1.0] }", "0.05 to 8"),
        ("{ name = 'crop', size = 0 }", "size"),
        ("{ name = 'rotate', degrees = [-700.0, 0.0] }", "degrees"),
        ("{ name = 'resize', size = [20, 99999] }", "99999 x 20"),
        ("{ name = 'shift', pixels = 99999 }", "pixels"),
        ("{ name = 'colour', hue = 200.0 }", "hue"),
        ("{ name = 'blur', sigma = [0.0, nan] }", "sigma"),
        ("{ name = 'noise', std = [-1.0, 2.0] }", "std"),
        ("{ name = 'cutout', size = [0.1, 1.1] }", "size"),
        ("{ name = 'noise', probability = 1.5 }", "probability"),
        ("{ name = 'gamma', probability = nan }", "probability"),
        ("{ name = 'gamma', range = [0.0, 1.0] }", "range"),
        ("{ name = 'affine', scale = [0.0, 1.0] }", "scale"),
        ("{ name = 'affine', rotate_probability = -1.0 }", "rotate_probability"),
        ("{ name = 'brightness', range = [-1.0, 1.0] }", "range"),
        ("{ name = 'contrast', range = [1.0, 11.0] }", "range"),
        ("{ name = 'low-resolution', zoom = [0.5, 2.0] }", "zoom"),
    ] {
        let error = check_all(&parse(text)).unwrap_err().to_string();
        assert!(error.contains("data.transforms") && error.contains(says), "{error}");
    }
    let (picture, _) = halves(8, 8);
    let flip = [Transform::Flip(Flip::default())];
    assert!(apply_all(&flip, picture, Mask::filled(9, 8, 0), &mut random(0)).is_err());
    assert!(apply_image(&flip, RgbImage::new(0, 5), &mut random(0)).is_err());
}

#[test]
fn a_positive_angle_turns_counter_clockwise() {
    // A white dot to the right of the centre is above it after a quarter turn.
    let mut picture = RgbImage::new(9, 9);
    picture.put_pixel(7, 4, Rgb([255; 3]));
    let mut mask = Mask::filled(9, 9, 0);
    mask.pixels[4 * 9 + 7] = 1;
    let turn = parse("{ name = 'rotate', degrees = [90.0, 90.0] }");
    let (picture, mask) = apply_all(&turn, picture, mask, &mut random(0)).unwrap();
    assert!(picture.get_pixel(4, 1).0[0] > 250);
    assert_eq!(mask.at(4, 1), 1);
    assert_eq!(mask.counts()[1], 1);
}

#[test]
fn noise_and_blur_have_the_strength_asked_for() {
    let grey = RgbImage::from_pixel(200, 200, Rgb([128; 3]));
    let noise = parse("{ name = 'noise', std = [12.0, 12.0] }");
    let noisy = apply_image(&noise, grey, &mut random(3)).unwrap();
    let apart: Vec<f64> = noisy.iter().map(|value| f64::from(*value) - 128.0).collect();
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    let std = (apart.iter().map(|v| v * v).sum::<f64>() / apart.len() as f64).sqrt();
    assert!(mean.abs() < 0.2 && (std - 12.0).abs() < 0.2, "{mean} {std}");
    // A white line blurred by a Gaussian of 2 pixels is 255 / (2 sqrt(2 pi)) high.
    let line = RgbImage::from_fn(41, 41, |x, _| Rgb([if x == 20 { 255 } else { 0 }; 3]));
    let blur = parse("{ name = 'blur', sigma = [2.0, 2.0], probability = 1.0 }");
    let blurred = apply_image(&blur, line, &mut random(3)).unwrap();
    let height = f64::from(blurred.get_pixel(20, 20).0[0]);
    assert!((height - 255.0 / 5.013).abs() < 2.0, "{height}");
}

/// A picture to look at, in the folder `KSHOT_LOOK` names: each transform three times.
#[test]
fn a_contact_sheet_can_be_drawn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/pictures/astronaut.png");
    let picture = kshot_data::resize::resize(&kshot_data::image::read(path).unwrap(), 120, 120);
    let picture = picture.unwrap();
    let mut mask = Mask::filled(120, 120, 0);
    for (at, pixel) in mask.pixels.iter_mut().enumerate() {
        let (x, y) = (at as i64 % 120, at as i64 / 120);
        if (x - 55).pow(2) + (y - 40).pow(2) < 700 {
            *pixel = 1;
        } else if y > 90 {
            *pixel = 2;
        }
    }
    let rows = all();
    let mut sheet = RgbImage::from_pixel(8 * 130, rows.len() as u32 * 130, Rgb([255; 3]));
    for (row, transform) in rows.iter().enumerate() {
        for column in 0..4u32 {
            let one = std::slice::from_ref(transform);
            let used = if column == 0 { &[][..] } else { one };
            let mut random = random(u64::from(column));
            let (picture, mask) =
                apply_all(used, picture.clone(), mask.clone(), &mut random).unwrap();
            let labels = RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
                let shade = picture.get_pixel(x, y).0.map(|value| value / 2);
                Rgb(match mask.at(x as usize, y as usize) {
                    1 => [shade[0] + 120, shade[1], shade[2]],
                    2 => [shade[0], shade[1], shade[2] + 120],
                    VOID => [255, 255, 0],
                    _ => shade,
                })
            });
            for (index, part) in [picture, labels].into_iter().enumerate() {
                let part = image::imageops::crop_imm(&part, 0, 0, 125, 125).to_image();
                let x = i64::from(column * 2 + index as u32) * 130;
                image::imageops::replace(&mut sheet, &part, x, row as i64 * 130);
            }
        }
    }
    if let Some(folder) = std::env::var_os("KSHOT_LOOK") {
        sheet.save(Path::new(&folder).join("transforms.png")).unwrap();
    }
}
