//! `kshot compare` as people run it: results that the real binary made, and results written here.

use super::common::{DONE, Place, Ran, WRONG_USE, mask, picture, save};
use serde_json::{Value, json};

/// Six labelled pictures in the form of the data set `folder`.
#[cfg(feature = "embedded-weights")]
fn data(place: &Place) {
    for index in 0..6 {
        save(&place.at(&format!("data/images/{index}.png")), &picture(index % 3));
        mask(&place.at(&format!("data/masks/{index}.png")), 32, |x, y| {
            super::common::inside(index % 3, x, y)
        });
    }
    place.write("data/classes.txt", "square\n");
    place.write("data/labelled.txt", "0\n1\n2\n");
}

#[cfg(feature = "embedded-weights")]
const DATA: &str = "[data]\ndataset = \"folder\"\nroot = \"data\"\ntest = \"*-labelled\"\ntrain = \"labelled\"\n\
                    [method]\nname = \"prototype\"\n";

#[cfg(feature = "embedded-weights")]
fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ran.stdout, ran.stderr))
}

#[cfg(feature = "embedded-weights")]
#[test]
fn rows_recompute_the_figures_of_every_protocol_of_pixels() {
    let place = Place::new();
    data(&place);
    let protocols = [
        (
            "name = \"few-shot-segmentation\"\nways = 1\nshots = 1\nevaluate = [0]\nfolds = 1\nepisodes = 3\nruns = 2\n\
             counting = \"panet\"\nseed = 1",
            "episodes",
        ),
        ("name = \"segmentation\"\nlabelled = 1\nseeds = [3, 4]", "pictures"),
    ];
    for (protocol, over) in protocols {
        let recipe = format!("[protocol]\n{protocol}\n{DATA}")
            .replace("*-labelled", if over == "episodes" { "*" } else { "*-labelled" });
        place.write("recipe.toml", recipe);
        let ran = place.kshot(&["eval", "recipe.toml", "--quiet", "--out", "a", "--force"]);
        assert_eq!(ran.faults(DONE, &[]), [""; 0]);
        // The first part alone is left of an evaluation that was stopped; it goes on to the very same rows.
        let noted = std::fs::read_to_string(place.at("a/progress.jsonl")).unwrap();
        place.write("a/progress.jsonl", format!("{}\n", noted.lines().next().unwrap()));
        let whole = std::fs::read_to_string(place.at("a/result.json")).unwrap();
        let ran = place.kshot(&["eval", "recipe.toml", "--quiet", "--out", "a"]);
        assert_eq!(ran.faults(DONE, &[]), [""; 0]);
        let again = std::fs::read_to_string(place.at("a/result.json")).unwrap();
        let rows = |text: &str| text.split_once("\"rows\"").unwrap().1.to_owned();
        assert_eq!(rows(&whole), rows(&again), "{over}: a resumed evaluation keeps its rows");

        let ran = place.kshot(&["compare", "a", "a/result.json", "--json"]);
        let of = &json_of(&ran)["comparisons"][0];
        let result: Value = serde_json::from_str(&again).unwrap();
        let metrics =
            of["units"].as_array().unwrap().last().unwrap()["metrics"].as_array().unwrap().clone();
        assert!(metrics.len() > 1, "{of}");
        for metric in metrics {
            let name = metric["metric"].as_str().unwrap();
            let expected = result["metrics"][name]["mean"].as_f64().unwrap();
            let found = metric["first"].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-9, "{over}: {name} is {found}, not {expected}");
            assert_eq!(
                (&metric["difference"], &metric["verdict"]),
                (&json!(0.0), &json!("undecided"))
            );
        }
        let ran = place.kshot(&["compare", "a", "a"]);
        assert!(ran.stdout.contains("A and B are the same"), "{}", ran.stdout);
        assert!(ran.stdout.contains(over), "{}", ran.stdout);
    }
}

/// A result of episodes of 10 queries.
fn write_result(place: &Place, name: &str, seed: u64, right: &[usize]) {
    let rows: Vec<Value> = right
        .iter()
        .enumerate()
        .map(|(episode, right)| json!([5, 1, episode, [0, 1], right, 10, *right as f64 / 10.0]))
        .collect();
    let result = json!({
        "protocol": "few-shot-recognition",
        "version": "1.0.0",
        "recipe": {
            "protocol": { "name": "few-shot-recognition", "seed": seed },
            "method": { "name": "prototypical-networks" },
        },
        "metrics": { "accuracy": { "mean": 0.5, "ci95": 0.1, "n": right.len() }, "ece": { "mean": 0.1, "ci95": 0.1, "n": 1 } },
        "rows": {
            "of": "few-shot-recognition",
            "columns": ["ways", "shots", "episode", "classes", "right", "queries", "accuracy"],
            "classes": ["a", "b"],
            "values": rows,
        },
    });
    place.write(name, result.to_string());
}

#[test]
fn a_table_and_a_verdict_are_told() {
    let place = Place::new();
    write_result(&place, "a.json", 1, &[5, 6, 4, 7, 5, 6, 8, 5]);
    write_result(&place, "run/result.json", 1, &[7, 8, 7, 9, 6, 8, 9, 8]);
    write_result(&place, "c.json", 1, &[5, 6, 4, 7, 5, 6, 8]);
    let ran = place.kshot(&["compare", "a.json", "run", "c.json"]);
    assert_eq!(
        ran.faults(DONE, &["warning: 7 episodes in both A and C; 1 episode only in A"]),
        [""; 0]
    );
    for part in [
        "A  prototypical-networks  a.json",
        "accuracy  57.50 %  77.50 %  +20.00",
        "8 episodes",
        "accuracy: B is better by 20.00 points (1",
        "accuracy: A and C are the same, n = 7 episodes",
        "not compared, since rows do not hold what it takes: ece",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` is not in\n{}", ran.stdout);
    }
    let seeded = |seed| place.kshot(&["compare", "a.json", "run", "--json", "--seed", seed]).stdout;
    assert_eq!(seeded("4"), seeded("4"));
    assert_ne!(seeded("4"), seeded("5"));
    let all: Value = serde_json::from_str(&seeded("4")).unwrap();
    let metric = &all["comparisons"][0]["units"][0]["metrics"][0];
    assert_eq!(
        (&metric["verdict"], &metric["p"], &metric["n"]),
        (&json!("better"), &json!(0.0078125), &json!(8))
    );
}

#[test]
fn what_does_not_pair_is_refused() {
    let place = Place::new();
    write_result(&place, "a.json", 1, &[5, 6, 4]);
    write_result(&place, "b.json", 2, &[5, 6, 4]);
    place.write("c.json", "{\"protocol\": 3}");
    for (arguments, what) in [
        (&["a.json", "b.json"][..], "protocol.seed is 1 in A and 2 in B"),
        (&["a.json", "c.json"], "not a result of `kshot eval`"),
        (&["a.json", "support"], "result.json"),
        (&["a.json", "a.json", "--metric", "acuracy"], "did you mean `accuracy`?"),
        (&["a.json"], "2 values required"),
    ] {
        let ran = place.kshot(&[&["compare"], arguments].concat());
        assert_eq!(ran.faults(WRONG_USE, &[what]), [""; 0], "{arguments:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
}
