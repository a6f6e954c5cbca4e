//! Class weights by rule, from the recipe to the run's folder, and what an evaluation says of the trained network.

use super::common::{DONE, Place, WRONG_USE, inside, mask, picture, save};

#[test]
fn weights_by_frequency_are_told_kept_and_the_same_after_a_stop() {
    let place = Place::new();
    for index in 0..6 {
        save(&place.at(&format!("data/images/{index}.png")), &picture(index % 3));
        mask(&place.at(&format!("data/masks/{index}.png")), 32, |x, y| inside(index % 3, x, y));
    }
    place.write("data/classes.txt", "square\n");
    let train = |out: &str, rule: &str, more: &[&str]| {
        let loss = format!(
            "loss.terms=[{{ name = \"cross-entropy\", weights = \"{rule}\" }}, {{ name = \"lovasz\" }}]"
        );
        let arguments = ["train", "--data", "data", "--steps", "2", "--out", out, "--plain"];
        let settings = ["--set", "train.validate_every=1", "--set", "train.monitor=boundary_f"];
        place.kshot(&[&arguments[..], &settings, &["--set", &loss], more].concat())
    };
    // 14 x 14 of 32 x 32 pixels in each picture: frequencies of 0.809 and 0.191, 0.5 in the middle.
    let told = [
        "class weights of cross-entropy by median-frequency: 0.618 (background) to 2.612 (square)",
    ];
    assert_eq!(train("whole", "median-frequency", &[]).faults(DONE, &told), [""; 0]);
    let stopped = train("parts", "median-frequency", &["--validations", "1"]);
    assert_eq!(stopped.faults(DONE, &told), [""; 0]);
    assert_eq!(train("parts", "median-frequency", &[]).faults(DONE, &told), [""; 0]);

    let read = |file: &str| std::fs::read_to_string(place.at(file)).unwrap();
    assert!(read("whole/recipe.toml").contains("median-frequency"), "the recipe stays as written");
    let kept: serde_json::Value = serde_json::from_str(&read("whole/class_weights.json")).unwrap();
    assert_eq!(kept[0]["rule"], "median-frequency");
    assert_eq!(kept[0]["weights"][1]["class"], "square");
    let share = 14.0 * 14.0 / (32.0 * 32.0);
    assert!((kept[0]["weights"][1]["weight"].as_f64().unwrap() - 0.5 / share).abs() < 1e-9);
    assert_eq!(read("parts/class_weights.json"), read("whole/class_weights.json"));
    let points = |run: &str| -> Vec<serde_json::Value> {
        let lines = read(&format!("{run}/metrics.jsonl"));
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        lines.lines().map(line).map(|point| point["validation"].clone()).collect()
    };
    assert_eq!(points("parts"), points("whole"));
    let boundary_f = points("whole")[1]["boundary_f"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&boundary_f));

    let arguments = ["eval", "whole/recipe.toml", "--model", "whole", "--json", "result.json"];
    assert_eq!(place.kshot(&arguments).faults(DONE, &[]), [""; 0]);
    let result: serde_json::Value = serde_json::from_str(&read("result.json")).unwrap();
    for metric in ["mean_iou", "ece", "boundary_f", "precision", "recall"] {
        let mean = result["metrics"][metric]["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean), "{metric}: {mean}");
    }

    let wrong = train("wrong", "median", &[]);
    assert_eq!(wrong.faults(WRONG_USE, &["median-frequency, log-inverse, inverse"]), [""; 0]);
}
