//! A trained few-shot method on a person's folder: `kshot demo` and `kshot classify --run`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn kshot(arguments: &[&str]) -> Output {
    Command::new(super::common::binary()).current_dir(root()).args(arguments).output().unwrap()
}

/// The last JSON line.
fn last(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn the_demo_sorts_the_drawings_and_leaves_a_run_that_labels_other_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let demo = kshot(&["demo", "omniglot", "--out", &at("demo"), "--json"]);
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let done = last(&demo);
    assert_eq!(done["done"], 32);
    assert!(done["accuracy"].as_f64().unwrap() > 0.9, "{done}");
    let table = fs::read_to_string(at("demo/labels.csv")).unwrap();
    assert_eq!(table.lines().count(), 33);
    assert!(table.starts_with("file,class,probability,class_2,probability_2"), "{table}");
    let page = fs::read_to_string(at("demo/report.html")).unwrap();
    assert!(page.contains("prototypical-networks (not transductive)"));

    // The run it left, on four classes whose number of pictures differs, one query damaged.
    for (class, pictures) in [("gate", 3), ("hook", 2), ("tree", 2)] {
        for number in 1..=5 {
            let part = if number == 1 { "support" } else { "query" };
            let from = root().join(format!("examples/drawings/{part}/{class}/{number}.png"));
            let to =
                if number <= pictures { format!("support/{class}") } else { "query".to_owned() };
            fs::create_dir_all(at(&to)).unwrap();
            fs::copy(from, at(&format!("{to}/{class}-{number}.png"))).unwrap();
        }
    }
    fs::write(at("query/broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let (run, support, query) = (at("demo/run"), at("support"), at("query"));
    let arguments = ["classify", "--run", &run, "--support", &support, "--query", &query, "--out"];
    let labelled = kshot(&[&arguments[..], &[&at("labels.csv"), "--json"]].concat());
    assert_eq!(labelled.status.code(), Some(3), "{}", String::from_utf8_lossy(&labelled.stderr));
    assert!(String::from_utf8_lossy(&labelled.stderr).contains("broken.png"));
    assert!(String::from_utf8_lossy(&labelled.stdout).contains("as many of each as the smallest"));
    let table = fs::read_to_string(at("labels.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 2 + 3 + 3);
    for line in table.lines().skip(1) {
        let mut columns = line.split(',');
        let (file, class) = (columns.next().unwrap(), columns.next().unwrap());
        assert!(file.starts_with(class), "{line}");
    }
}

/// The shipped head behind the frozen encoder, on groceries that it never saw.
#[test]
fn the_shipped_feature_head_sorts_other_pictures() {
    let data = std::env::var_os("KSHOT_DATA")
        .map_or_else(|| root().join("../shared/data"), std::path::PathBuf::from);
    if !data.join("grocery").is_dir() {
        println!("skipped: {} is absent", data.join("grocery").display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let classes = ["Anjou", "Avocado", "Banana", "Carrots", "Lemon"];
    for (part, to) in [("train", "support"), ("test", "query")] {
        for class in classes {
            fs::create_dir_all(at(&format!("{to}/{class}"))).unwrap();
            for entry in fs::read_dir(data.join("grocery").join(part).join(class)).unwrap() {
                let from = entry.unwrap().path();
                let name = from.file_name().unwrap().to_string_lossy().into_owned();
                fs::copy(&from, at(&format!("{to}/{class}/{name}"))).unwrap();
            }
        }
    }
    let (support, query) = (at("support"), at("query"));
    let run = "assets/mini-imagenet-feature-head";
    let arguments = ["classify", "--run", run, "--support", &support, "--query", &query, "--out"];
    let output = kshot(&[&arguments[..], &[&at("labels.csv"), "--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = fs::read_to_string(at("labels.csv")).unwrap();
    let right = |line: &&str| {
        let mut columns = line.split(',');
        let (file, class) = (columns.next().unwrap(), columns.next().unwrap());
        file.starts_with(class)
    };
    let (all, right) = (table.lines().count() - 1, table.lines().skip(1).filter(right).count());
    assert!(all == 50 && right >= 40, "{right} of {all}");
}

#[test]
fn wrong_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let told = |arguments: &[&str]| {
        let output = kshot(arguments);
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let elsewhere = told(&["demo", "omniglot", "--drawings", &at("nowhere"), "--out", &at("o")]);
    assert!(elsewhere.contains("--drawings DIR"), "{elsewhere}");
    let support = "examples/drawings/support";
    let common = ["classify", "--support", support, "--query", "examples/drawings/query", "--out"];
    let run = told(&[&common[..], &[&at("a.csv"), "--run", &at("norun")]].concat());
    assert!(run.contains("norun"), "{run}");
    let both = told(&[&common[..], &[&at("a.csv"), "--run", "x", "--method", "ridge"]].concat());
    assert!(both.contains("--method"), "{both}");
    // A method with an inner loop is made for a number of classes.
    let maml = folder.path().join("maml");
    fs::create_dir_all(&maml).unwrap();
    let recipe = fs::read_to_string(root().join("recipes/omniglot/maml-5way-1shot.toml")).unwrap();
    fs::write(maml.join("recipe.toml"), recipe).unwrap();
    fs::copy(
        root().join("assets/omniglot-prototypical-networks/model.bpk"),
        maml.join("model.bpk"),
    )
    .unwrap();
    let maml = maml.display().to_string();
    let ways = told(&[&common[..], &[&at("a.csv"), "--run", &maml]].concat());
    assert!(ways.contains("was trained for 5 classes"), "{ways}");
}
