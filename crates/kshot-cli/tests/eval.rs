//! `kshot eval` as people run it: the real binary on a small data set made here.

use std::path::Path;
use std::process::{Command, Output};

use image::{GrayImage, Luma, Rgb, RgbImage};

/// Six pictures: discs in odd ones, squares in even ones, each in its colour.
fn data(root: &Path) {
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("classes.txt"), "disc\nsquare\n").unwrap();
    for number in 0..6u32 {
        let class = 2 - (number % 2) as u8;
        let inside = |x: u32, y: u32| {
            let (x, y) = (x.abs_diff(30 + number), y.abs_diff(34 - number));
            if class == 1 { x * x + y * y < 300 } else { x.max(y) < 15 }
        };
        let colour = if class == 1 { [220, 60, 40] } else { [40, 90, 220] };
        RgbImage::from_fn(72, 64, |x, y| {
            Rgb(if inside(x, y) { colour } else { [90 + (x % 7) as u8, 120, 90 + (y % 5) as u8] })
        })
        .save(root.join(format!("images/{number}.png")))
        .unwrap();
        GrayImage::from_fn(72, 64, |x, y| Luma([if inside(x, y) { class } else { 0 }]))
            .save(root.join(format!("masks/{number}.png")))
            .unwrap();
    }
}

const RECIPE: &str = r#"
[protocol]
name = "few-shot-segmentation"
ways = 1
shots = 1
evaluate = [0, 1]
folds = 2
episodes = 6
runs = 2
counting = "panet"
seed = 1234

[data]
dataset = "folder"
root = "nowhere"
list = "*"

[method]
name = "prototype"
refinement = "none"
"#;

fn eval(folder: &Path, arguments: &[&str]) -> Output {
    data(&folder.join("data"));
    std::fs::write(folder.join("recipe.toml"), RECIPE).unwrap();
    Command::new(env!("CARGO_BIN_EXE_kshot"))
        .current_dir(folder)
        .args(["eval", "recipe.toml", "--quiet"])
        .args(arguments)
        .output()
        .unwrap()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[cfg(feature = "embedded-weights")]
#[test]
fn the_result_has_the_promised_form_and_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for threads in ["1", "4"] {
        let out = format!("out{threads}");
        let output = eval(
            folder.path(),
            &["--set", "data.root=data", "--threads", threads, "--json", "r.json", "--out", &out],
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let mut result = json(&folder.path().join("r.json"));
        let keys: Vec<&String> = result.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "protocol",
                "transductive",
                "seed",
                "version",
                "recipe",
                "metrics",
                "per_class",
                "per_fold",
                "seconds"
            ]
        );
        for name in ["mean_iou", "binary_iou"] {
            let metric = &result["metrics"][name];
            let mean = metric["mean"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&mean), "{name} {mean}");
            assert!(metric["ci95"].is_number());
            assert_eq!(metric["n"], 2);
        }
        assert_eq!(result["per_class"].as_object().unwrap().len(), 2);
        assert!(result["per_fold"]["1"]["binary_iou"].is_number());
        result.as_object_mut().unwrap().remove("seconds");
        results.push(result);

        let out = folder.path().join(out);
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        assert!(page.contains("The worst episodes") && page.contains("1-way 1-shot"));
        assert_eq!(std::fs::read_dir(out.join("worst")).unwrap().count(), 10);
        assert!(image::open(out.join("worst/01.png")).unwrap().width() > 4 * 72);
        assert_eq!(json(&out.join("result.json"))["metrics"], results[0]["metrics"]);
        assert!(out.join("recipe.toml").is_file());
    }
    assert_eq!(results[0], results[1], "one and four threads agree");
    let worst = |threads: &str| {
        std::fs::read(folder.path().join(format!("out{threads}/worst/01.png"))).unwrap()
    };
    assert_eq!(worst("1"), worst("4"));
}

#[test]
fn wrong_use_says_what_is_wrong_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, what) in [
        (&["--set", "protocol.episode=3"][..], "episode"),
        (&["--set", "protocol.counting=mine"], "panet"),
        (&["--set", "data.dataset=vok"], "voc"),
        (&["--set", "data.root"], "key.path=value"),
        (&[], "nowhere"),
        (&["--set", "data.root=data", "--set", "method.name=prototyp"], "prototype"),
        (&["--set", "data.root=data", "--set", "protocol.shots=3"], "need 4"),
    ] {
        let output = eval(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(what), "{arguments:?}: {said}");
    }
}
