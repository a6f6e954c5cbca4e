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
test = "*"

[method]
name = "prototype"
"#;

fn command(folder: &Path, recipe: &str, arguments: &[&str]) -> Command {
    data(&folder.join("data"));
    std::fs::write(folder.join("recipe.toml"), recipe).unwrap();
    let mut command = Command::new(super::common::binary());
    command.current_dir(folder).args(["eval", "recipe.toml", "--quiet"]).args(arguments);
    command
}

fn eval(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, RECIPE, arguments).output().unwrap()
}

/// Runs it, which must succeed, and gives the result but for the time it took.
#[cfg(feature = "embedded-weights")]
fn result(folder: &Path, recipe: &str, arguments: &[&str]) -> serde_json::Value {
    let output = command(folder, recipe, arguments)
        .args(["--set", "data.root=data", "--json", "r.json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    let mut result = json(&folder.join("r.json"));
    result.as_object_mut().unwrap().remove("seconds");
    result
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
                "interval_over",
                "per_class",
                "per_fold",
                "seconds",
                "rows"
            ]
        );
        // Two folds of two runs of six episodes.
        assert_eq!(result["rows"]["values"].as_array().unwrap().len(), 24);
        assert_eq!(result["rows"]["columns"][6], "iou");
        let pictures = result["rows"]["pictures"].as_array().unwrap();
        assert!(pictures.iter().all(|name| name.as_str().unwrap().starts_with("images/")));
        let text = std::fs::read_to_string(folder.path().join("r.json")).unwrap();
        assert!(text.contains("\n      [0,0,0,["), "a line for each row");
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
        assert!(kshot_data::image::read(out.join("worst/01.png")).unwrap().width() > 4 * 72);
        assert_eq!(json(&out.join("result.json"))["metrics"], results[0]["metrics"]);
        assert!(out.join("recipe.toml").is_file());
    }
    assert_eq!(results[0], results[1], "one and four threads agree");
    let worst = |threads: &str| {
        std::fs::read(folder.path().join(format!("out{threads}/worst/01.png"))).unwrap()
    };
    assert_eq!(worst("1"), worst("4"));
}

#[cfg(feature = "embedded-weights")]
#[test]
fn an_evaluation_that_was_killed_goes_on_to_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let runs = ["--set", "data.root=data", "--set", "protocol.runs=30"];
    let mut child =
        command(folder.path(), RECIPE, &[&runs[..], &["--out", "out"]].concat()).spawn().unwrap();
    let progress = folder.path().join("out/progress.jsonl");
    let noted = || std::fs::read_to_string(&progress).unwrap_or_default();
    while noted().lines().count() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = noted();
    let whole = before.rfind('\n').map_or("", |end| &before[..=end]);
    assert!((2..60).contains(&whole.lines().count()), "{} parts", whole.lines().count());

    let resumed = result(folder.path(), RECIPE, &[&runs[..], &["--out", "out"]].concat());
    assert!(noted().starts_with(whole), "finished parts stay");
    assert_eq!(noted().lines().count(), 60);
    assert_eq!(resumed, result(folder.path(), RECIPE, &runs));

    let changed = [&runs[..], &["--out", "out", "--set", "protocol.seed=5"]].concat();
    let output = eval(folder.path(), &changed);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another recipe") && said.contains("--force"), "{said}");
    assert_eq!(noted().lines().count(), 60, "a refusal loses nothing");
    let anew = ["--out", "out", "--set", "protocol.runs=2", "--force"];
    result(folder.path(), RECIPE, &anew);
    assert_eq!(noted().lines().count(), 4);
}

#[cfg(feature = "embedded-weights")]
#[test]
fn every_method_plays_episodes_of_one_and_two_ways() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["self-support", "prototype", "probe", "forest", "auto"] {
        let name = format!("method.name={method}");
        let mut arguments = vec!["--smoke", "--set", name.as_str()];
        arguments.extend(["--set", "protocol.ways=2", "--set", "protocol.folds=1"]);
        arguments.extend(["--set", "protocol.evaluate=[0]", "--set", "protocol.episodes=2"]);
        let both = |threads| {
            result(folder.path(), RECIPE, &[&arguments[..], &["--threads", threads]].concat())
        };
        let one = both("1");
        let other = both("3");
        if matches!(method, "self-support" | "prototype") {
            assert_eq!(one, other, "{method}: threads change nothing");
        }
        // Sums of fits are rounded otherwise by other numbers of threads: the list is the same.
        let of =
            |result: &serde_json::Value| result["metrics"]["mean_iou"]["mean"].as_f64().unwrap();
        assert!((of(&one) - of(&other)).abs() < 0.05, "{method}: threads change little");
        assert_eq!(one["smoke"], true);
        for metric in ["mean_iou", "binary_iou", "ece"] {
            let mean = one["metrics"][metric]["mean"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&mean), "{method}: {metric} {mean}");
        }
        // Discs and squares differ in colour: whoever learns anything finds them. A prototype's deepest cells are as
        // large as these objects.
        let least = if method == "prototype" { 0.1 } else { 0.3 };
        let iou = one["metrics"]["mean_iou"]["mean"].as_f64().unwrap();
        assert!(iou > least, "{method}: {iou}");
        let once = ["--smoke", "--set", &name, "--set", "protocol.episodes=1"];
        assert_eq!(result(folder.path(), RECIPE, &once)["metrics"]["mean_iou"]["n"], 2);
    }
}

#[cfg(feature = "embedded-weights")]
#[test]
fn pictures_are_segmented_from_masks_and_from_scribbles() {
    let recipe = r#"
        [protocol]
        name = "segmentation"
        labelled = 2
        seeds = [3, 4]
        [data]
        dataset = "folder"
        root = "nowhere"
        train = "labelled"
        test = "*-labelled"
        [method]
        name = "probe"
    "#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/labelled.txt"), "0\n1\n").unwrap();
    let scribbles = "protocol.labels={ scribble = { share = 0.2 } }";
    for labels in ["protocol.labels=mask", scribbles] {
        let result = result(folder.path(), recipe, &["--set", labels, "--out", "out", "--force"]);
        let names: Vec<&String> = result["metrics"].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "boundary_f",
                "dice",
                "ece",
                "fw_iou",
                "mean_iou",
                "mean_pixel_accuracy",
                "pixel_accuracy",
                "precision",
                "recall"
            ]
        );
        let metric = |name: &str| result["metrics"][name]["mean"].as_f64().unwrap();
        assert!(metric("mean_iou") > 0.3, "{labels}: {}", metric("mean_iou"));
        assert!(metric("dice") >= metric("mean_iou") && metric("ece") <= 1.0);
        assert!(result.get("smoke").is_none());
        let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
        assert!(page.contains("The worst pictures"));
        // Four pictures for each of two seeds.
        assert_eq!(std::fs::read_dir(folder.path().join("out/worst")).unwrap().count(), 8);
    }
    let smoke = result(folder.path(), recipe, &["--smoke", "--out", "smoke"]);
    assert_eq!(smoke["smoke"], true);
    assert_eq!(smoke["metrics"]["mean_iou"]["n"], 1);
    let page = std::fs::read_to_string(folder.path().join("smoke/report.html")).unwrap();
    assert!(page.contains("smoke run"));
}

#[test]
fn wrong_use_says_what_is_wrong_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, what) in [
        (&["--set", "protocol.episode=3"][..], "did you mean `episodes`"),
        (&["--set", "protocol.evaluate=[]"], "an empty list"),
        (&["--set", "protocol.evaluate=[1, 1]"], "named once"),
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

#[test]
fn presence_says_how_often_an_absent_class_is_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = "[protocol]\nname = \"presence\"\nshots = 1\nqueries = 2\nruns = 1\nseed = 0\n[data]\n\
                  dataset = \"folder\"\nroot = \"data\"\ntest = \"*\"\ntrain = \"*\"\n[method]\n\
                  name = \"prototype\"\n";
    let output = command(folder.path(), recipe, &["--json", "r.json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.path().join("r.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&text).unwrap();
    // One picture with the class and one without it, at least, of each of two classes.
    let rows = result["rows"]["values"].as_array().unwrap();
    assert!(rows.len() >= 4 && rows.iter().all(|row| row[3].is_boolean() && row[5].is_number()));
    for name in ["absent_empty", "present_missed", "auroc", "ece"] {
        let mean = result["metrics"][name]["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean), "{name}: {mean}");
    }
}

#[test]
fn parts_of_other_data_are_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--out", "out", "--set", "data.root=data"];
    assert!(command(folder.path(), RECIPE, &arguments).status().unwrap().success());
    let mut again = command(folder.path(), RECIPE, &arguments);
    let picture = folder.path().join("data/images/3.png");
    RgbImage::from_pixel(72, 64, Rgb([1, 2, 3])).save(picture).unwrap();
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("of other data"), "{words}");
}
