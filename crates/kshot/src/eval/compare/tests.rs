//! Results written and compared, of all protocols.

use kshot_data::mask::Mask;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::data::episode::DrawnEpisode;
use crate::eval::classes::PictureCounts;
use crate::eval::rows::{EpisodeRow, rounded, whole};
use crate::eval::segmentation::picture_row;
use crate::eval::tally::{RunCounts, count, episode_iou};
use crate::metric::confusion::Confusion;
use crate::recipe::Counting;

/// A folder of results.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn result(&self, name: &str, result: &Value) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, result.to_string()).unwrap();
        path
    }

    /// Compares two, which must be possible.
    fn compare(&self, one: &Value, other: &Value) -> Comparison {
        let files = [self.result("a.json", one), self.result("b.json", other)];
        run(&files, None, 0).unwrap().remove(0)
    }

    /// Why two are refused.
    fn refused(&self, one: &Value, other: &Value) -> String {
        let files = [self.result("a.json", one), self.result("b.json", other)];
        run(&files, None, 0).unwrap_err().to_string()
    }
}

fn result(protocol: Value, metrics: &[&str], rows: Value) -> Value {
    let metric = json!({ "mean": 0.5, "ci95": null, "n": 1 });
    let metrics: serde_json::Map<String, Value> =
        metrics.iter().map(|name| ((*name).to_owned(), metric.clone())).collect();
    json!({
        "protocol": protocol["name"],
        "version": "1.2.3",
        "recipe": {
            "protocol": protocol,
            "data": { "dataset": "folder", "root": "/data", "test": "*" },
            "model": { "encoder": "efficientnet-lite0" },
            "method": { "name": "prototype" },
        },
        "metrics": metrics,
        "rows": rows,
    })
}

/// Accuracies of 5-way 1-shot episodes of 10 queries.
fn recognition(right: &[usize]) -> Value {
    let values: Vec<Value> = right
        .iter()
        .enumerate()
        .map(|(episode, right)| {
            json!([5, 1, episode, [episode % 3, 3], right, 10, *right as f64 / 10.0])
        })
        .collect();
    let protocol = json!({
        "name": "few-shot-recognition", "ways": 5, "shots": 1, "queries": 2, "episodes": right.len(), "seed": 1,
        "part": "test",
    });
    let rows = json!({
        "of": "few-shot-recognition",
        "columns": ["ways", "shots", "episode", "classes", "right", "queries", "accuracy"],
        "classes": ["a", "b", "c", "d"],
        "values": values,
    });
    result(protocol, &["accuracy", "ece"], rows)
}

/// Two runs of episodes of one class; `hits` of 10 pixels of each query are found, and 10 more are background.
fn episodes(hits: &[u64]) -> Value {
    let values: Vec<Value> = hits
        .iter()
        .enumerate()
        .map(|(index, &hits)| {
            let counts = [[10, 10 - hits, 0], [hits, 0, 10 - hits]];
            json!([
                0,
                index % 2,
                index / 2,
                [1 + index % 3],
                [index % 4],
                4,
                hits as f64 / 10.0,
                counts
            ])
        })
        .collect();
    let protocol = json!({
        "name": "few-shot-segmentation", "ways": 1, "shots": 1, "evaluate": [0], "folds": 2, "split": "contiguous",
        "episodes": hits.len() / 2, "runs": 2, "counting": "panet", "seed": 1234,
    });
    let rows = json!({
        "of": "few-shot-segmentation",
        "columns": ["fold", "run", "episode", "classes", "support", "query", "iou", "counts"],
        "classes": ["background", "a", "b", "c"],
        "pictures": ["1.png", "2.png", "3.png", "4.png", "5.png"],
        "values": values,
    });
    result(protocol, &["mean_iou", "binary_iou", "ece"], rows)
}

/// Pictures by seeds, one after the other; of each 10 pixels of a class `hits` are found.
fn pictures(seeds: u64, hits: &[u64]) -> Value {
    let mut values = Vec::new();
    for seed in 0..seeds {
        for (picture, &hits) in hits.iter().enumerate() {
            let hits = (hits + seed % 2).min(10);
            let iou = hits as f64 / 10.0;
            values.push(json!([
                seed,
                picture,
                iou,
                [0, 1],
                [0.5, iou],
                [[10, 10 - hits, 0], [hits, 0, 10 - hits]]
            ]));
        }
    }
    let names: Vec<String> = (0..hits.len()).map(|picture| format!("{picture}.png")).collect();
    let protocol = json!({
        "name": "segmentation", "labelled": 5, "seeds": (0..seeds).collect::<Vec<_>>(), "labels": "mask",
    });
    let rows = json!({
        "of": "segmentation",
        "columns": ["seed", "picture", "mean_iou", "classes", "iou", "counts"],
        "classes": ["background", "cell"],
        "pictures": names,
        "values": values,
    });
    result(protocol, &["mean_iou", "dice", "pixel_accuracy", "ece"], rows)
}

/// Queries of two runs and one class; of `missed` of four pictures with it nothing is found.
fn presence(missed: usize) -> Value {
    let values: Vec<Value> = (0..16)
        .map(|index| {
            let (run, place, present) = (index / 8, index % 4, index % 8 < 4);
            let empty = if present { place < missed } else { place > 0 };
            json!([run, 1, index % 8, present, empty, if empty { 0.1 } else { 0.9 }])
        })
        .collect();
    let names: Vec<String> = (0..8).map(|picture| format!("{picture}.png")).collect();
    let protocol = json!({ "name": "presence", "shots": 1, "queries": 4, "runs": 2, "seed": 0 });
    let rows = json!({
        "of": "presence",
        "columns": ["run", "class", "picture", "present", "empty", "presence"],
        "classes": ["background", "cell"],
        "pictures": names,
        "values": values,
    });
    result(protocol, &["absent_empty", "present_missed", "auroc", "auroc_by_class", "ece"], rows)
}

#[test]
fn episodes_of_pictures_are_compared_by_their_accuracy() {
    let place = Place::new();
    let (few, many) = ([5, 6, 4, 7, 5, 6, 8, 5], [7, 8, 7, 9, 6, 8, 9, 8]);
    let of = place.compare(&recognition(&few), &recognition(&many));
    assert_eq!((of.paired, of.unpaired, of.warnings.len()), (8, [0, 0], 0));
    assert_eq!((of.rows_are, of.not_compared), ("episodes", vec!["ece".to_owned()]));
    assert_eq!(of.first.method, "prototype with efficientnet-lite0");
    let metric = &of.units[0].metrics[0];
    assert!(of.units[0].main && of.units[0].over == "episodes" && metric.metric == "accuracy");
    assert!((metric.difference.difference - 0.2).abs() < 1e-12);
    // All differences have one sign: of 256 changes of sides two are as large.
    assert_eq!(metric.difference.p, Some(2.0 / 256.0));
    assert_eq!(metric.verdict, Verdict::Better);
    assert!(metric.words.starts_with("B is better by 20.00 points (1"), "{}", metric.words);
    assert!(metric.words.ends_with("), n = 8 episodes"), "{}", metric.words);

    let worse =
        place.compare(&recognition(&many), &recognition(&few)).units.remove(0).metrics.remove(0);
    assert_eq!(worse.verdict, Verdict::Worse);
    assert!(worse.words.starts_with("B is worse by 20.00 points (1"), "{}", worse.words);
    let same =
        place.compare(&recognition(&few), &recognition(&few)).units.remove(0).metrics.remove(0);
    assert_eq!(same.words, "A and B are the same, n = 8 episodes");
    let near = place.compare(&recognition(&few), &recognition(&[6, 5, 5, 6, 6, 5, 8, 6]));
    let near = &near.units[0].metrics[0];
    assert_eq!(near.verdict, Verdict::Undecided);
    assert!(
        near.words.starts_with("no difference can be told between A and B: +1.25 points (-"),
        "{}",
        near.words
    );
}

#[test]
fn differences_have_a_sign_unless_there_is_none() {
    assert_eq!([0.1234, -0.1, -0.000_01, 0.0].map(points), ["+12.34", "-10.00", "0.00", "0.00"]);
}

#[test]
fn each_setting_of_recognition_is_compared_by_itself() {
    let place = Place::new();
    let mut two = recognition(&[5, 6, 7]);
    let mut rows = two["rows"]["values"].as_array().unwrap().clone();
    rows.extend(two["rows"]["values"].as_array().unwrap().iter().map(|row| {
        let mut row = row.clone();
        row[1] = json!(5);
        row
    }));
    two["rows"]["values"] = Value::Array(rows);
    for name in ["accuracy_5way_1shot", "accuracy_5way_5shot"] {
        two["metrics"][name] = two["metrics"]["accuracy"].clone();
    }
    let of = place.compare(&two, &two);
    let names: Vec<&str> = of.units.iter().map(|units| units.metrics[0].metric.as_str()).collect();
    assert_eq!(names, ["accuracy_5way_1shot", "accuracy_5way_5shot"]);
    assert_eq!(of.not_compared, ["ece"], "accuracy is that of the first setting");
    let file = place.result("two.json", &two);
    let both = [file.clone(), file];
    assert_eq!(run(&both, Some("accuracy"), 0).unwrap()[0].units.len(), 2);
    assert_eq!(run(&both, Some("accuracy_5way_5shot"), 0).unwrap()[0].units.len(), 1);
    assert!(of.units.iter().all(|units| units.main && units.metrics[0].difference.n == 3));
}

#[test]
fn episodes_of_pixels_are_added_up_by_class_run_and_fold() {
    let place = Place::new();
    let of =
        place.compare(&episodes(&[2, 4, 6, 8, 1, 3, 5, 7]), &episodes(&[5, 6, 7, 9, 4, 6, 7, 8]));
    assert_eq!((of.paired, of.units.len()), (8, 1));
    let mean_iou = of.units[0].metrics.iter().find(|of| of.metric == "mean_iou").unwrap();
    // By class: run 0 has episodes of classes 1, 3, 2, 1 and run 1 of 2, 1, 3, 2.
    let run_0 = ((2.0 + 5.0) / 20.0 + 1.0 / 10.0 + 6.0 / 10.0) / 3.0;
    let run_1 = (8.0 / 10.0 + (4.0 + 7.0) / 20.0 + 3.0 / 10.0) / 3.0;
    assert!((mean_iou.difference.first - (run_0 + run_1) / 2.0).abs() < 1e-12, "{mean_iou:?}");
    assert_eq!((mean_iou.difference.n, of.units[0].over), (8, "episodes"));
}

#[test]
fn pictures_are_compared_over_seeds_and_over_pictures() {
    let place = Place::new();
    let (low, high) = ([2, 3, 4, 5, 6, 3, 4], [4, 5, 7, 7, 7, 5, 6]);
    let few = place.compare(&pictures(3, &low), &pictures(3, &high));
    let units: Vec<(&str, bool, usize)> = few
        .units
        .iter()
        .map(|units| (units.over, units.main, units.metrics[0].difference.n))
        .collect();
    assert_eq!(units, [("seeds", false, 3), ("pictures", true, 7)], "three seeds are too few");
    let names: Vec<&str> = few.units[0].metrics.iter().map(|of| of.metric.as_str()).collect();
    assert_eq!(names, ["mean_iou", "dice", "pixel_accuracy"]);
    let figures = |units: &ComparedUnits| units.metrics[0].difference.second;
    // (41 + 48 + 41) / 70 / 3, the second seed having found one pixel more in each.
    assert!((figures(&few.units[0]) - 130.0 / 210.0).abs() < 1e-12);
    assert!((figures(&few.units[1]) - figures(&few.units[0])).abs() < 1e-12);
    assert_eq!(few.units[1].metrics[0].verdict, Verdict::Better);

    let many = place.compare(&pictures(6, &low), &pictures(6, &high));
    assert!(many.units[0].main && !many.units[1].main);
    let one = place.compare(&pictures(1, &low), &pictures(1, &high));
    assert_eq!((one.units.len(), one.units[0].over, one.units[0].main), (1, "pictures", true));
}

#[test]
fn less_that_is_missed_is_better() {
    let place = Place::new();
    let of = place.compare(&presence(3), &presence(1));
    assert_eq!(of.units.iter().map(|units| units.over).collect::<Vec<_>>(), ["runs", "queries"]);
    let find = |name: &str| of.units[1].metrics.iter().find(|of| of.metric == name).unwrap();
    let missed = find("present_missed");
    assert_eq!((missed.difference.first, missed.difference.second), (0.75, 0.25));
    assert!(!missed.higher_is_better && missed.difference.difference < 0.0);
    assert_eq!(find("absent_empty").difference.second, 0.75);
    let worse = place.compare(&presence(0), &presence(4)).units.remove(1).metrics;
    let worse = worse.iter().find(|of| of.metric == "present_missed").unwrap();
    assert!(
        worse.words.starts_with("B is worse by 100.00 points (100.00 to 100.00)"),
        "{}",
        worse.words
    );
}

#[test]
fn what_is_of_other_episodes_is_refused() {
    let place = Place::new();
    let base = episodes(&[2, 4, 6, 8]);
    let changed = |pointer: &str, value: Value| {
        let mut other = base.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        place.refused(&base, &other)
    };
    for (pointer, value, what) in [
        ("/recipe/protocol/seed", json!(5), "protocol.seed is 1234 in A and 5 in B"),
        (
            "/recipe/protocol/counting",
            json!("dataset"),
            "protocol.counting is panet in A and dataset in B",
        ),
        ("/recipe/data/dataset", json!("voc"), "data.dataset is folder in A and voc in B"),
        ("/rows/classes/3", json!("d"), "only in the first: c; only in the second: d"),
        (
            "/rows/pictures/4",
            json!("9.png"),
            "4 differ in their pictures, classes or labels, such as fold 0",
        ),
        ("/rows/values/1/3/0", json!(3), "of 4 episodes in both, 1 differ"),
        ("/rows/values/1/7/1/0", json!(9), "of 4 episodes in both, 1 differ"),
        ("/rows/values/0/5", json!(17), "row 1 of 4 is damaged"),
        ("/rows/values/0/0", json!("x"), "its rows cannot be read"),
        ("/rows", Value::Null, "its rows cannot be read"),
    ] {
        let said = changed(pointer, value);
        assert!(said.contains(what), "{pointer}: {said}");
    }
    let said = place.refused(&base, &recognition(&[1, 2]));
    assert!(
        said.contains("protocol.name is few-shot-segmentation in A and few-shot-recognition in B"),
        "{said}"
    );
    let mut shifted = pictures(1, &[1, 2]);
    shifted["rows"]["values"][0][0] = json!(7);
    shifted["rows"]["values"][1][0] = json!(7);
    let said = place.refused(&pictures(1, &[1, 2]), &shifted);
    assert!(
        said.contains("no picture is in both (the first are seed 0: 0.png and seed 7: 0.png)"),
        "{said}"
    );
}

#[test]
fn what_only_one_has_is_told_and_the_rest_is_compared() {
    let place = Place::new();
    let of = place.compare(&recognition(&[5, 6, 7, 8]), &recognition(&[6, 7, 8]));
    assert_eq!((of.paired, of.unpaired), (3, [1, 0]));
    assert_eq!(
        of.warnings,
        [
            "3 episodes in both A and B; 1 episode only in A (5-way 1-shot episode 3): the figures are of those in both"
        ]
    );
    let mut labelled = pictures(2, &[5, 6]);
    labelled["recipe"]["protocol"]["labelled"] = json!(10);
    labelled["smoke"] = json!(true);
    let warnings = place.compare(&pictures(2, &[5, 6]), &labelled).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("B is of a smoke run"), "{warnings:?}");
    assert!(warnings[1].contains("protocol.labelled is 5 in A and 10 in B"), "{warnings:?}");
}

#[test]
fn wrong_use_is_told() {
    let place = Place::new();
    let good = place.result("a.json", &recognition(&[5, 6]));
    let said = |files: &[PathBuf], metric| run(files, metric, 0).unwrap_err().to_string();
    assert!(said(std::slice::from_ref(&good), None).contains("1 result given; give 2 to 26"));
    let both = [good.clone(), good.clone()];
    assert!(said(&both, Some("acuracy")).contains("did you mean `accuracy`"));
    assert!(said(&both, Some("ece")).contains("rows do not hold what `ece` is made of"));
    assert!(said(&[good.clone(), place.0.path().join("no.json")], None).contains("no.json"));
    let empty = said(&[good.clone(), place.0.path().to_owned()], None);
    assert!(empty.contains("result.json") && empty.contains("--out"), "{empty}");
    let other = place.result("b.json", &json!({ "images": [] }));
    assert!(said(&[good.clone(), other], None).contains("not a result of `kshot eval`"));
    let mut old = recognition(&[5, 6]);
    old.as_object_mut().unwrap().remove("rows");
    let said = said(&[good, place.result("old.json", &old)], None);
    assert!(said.contains("no rows to pair") && said.contains("kshot 1.2.3"), "{said}");
}

#[test]
fn more_than_two_are_each_compared_with_the_first() {
    let place = Place::new();
    let files = [[5, 6], [6, 7], [7, 7]].map(|right| recognition(&right));
    let files: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .map(|(place_of, file)| place.result(&format!("{place_of}.json"), file))
        .collect();
    let all = run(&files, Some("accuracy"), 3).unwrap();
    let letters: Vec<[char; 2]> =
        all.iter().map(|of| [of.first.letter, of.second.letter]).collect();
    assert_eq!(letters, [['A', 'B'], ['A', 'C']]);
    assert!(all.iter().all(|of| of.seed == 3 && of.first.file.ends_with("0.json")));
}

/// A small generator, for what need not be random but different.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn mask(&mut self, values: u64) -> Mask {
        Mask::from_pixels(6, 4, (0..24).map(|_| self.below(values) as u8).collect()).unwrap()
    }
}

#[test]
fn rows_of_episodes_recompute_what_their_runs_were_summed_up_to() {
    let place = Place::new();
    for (counting, name) in [(Counting::Panet, "panet"), (Counting::Dataset, "dataset")] {
        let mut numbers = Numbers(3);
        let mut tallies = [RunCounts::new(3), RunCounts::new(3)];
        let mut written = episodes(&[1; 8]);
        written["recipe"]["protocol"]["counting"] = json!(name);
        let mut values = Vec::new();
        for index in 0..8usize {
            // Two of three classes; the second of them is not in every query.
            let class = (index % 3) as u8;
            let classes = vec![1 + class, 1 + (class + 1) % 3];
            let truth = numbers.mask(2 + index as u64 % 2);
            let counts = count(&truth, &numbers.mask(3), 3).unwrap();
            let episode = DrawnEpisode { classes, support: vec![0], query: 1 };
            tallies[index % 2].add(&episode, &counts, &truth.counts(), counting);
            let row = EpisodeRow {
                fold: 0,
                run: index % 2,
                episode: index / 2,
                classes: episode.classes.into_iter().map(usize::from).collect(),
                support: vec![0],
                query: 1,
                iou: rounded(episode_iou(&counts, &truth.counts())),
                counts: counts.iter().map(whole).collect(),
            };
            values.push(serde_json::to_value(row).unwrap());
        }
        written["rows"]["values"] = Value::Array(values);
        let units = place.compare(&written, &written).units.remove(0);
        let mean = |of: fn(&RunCounts) -> f64| tallies.iter().map(of).sum::<f64>() / 2.0;
        for (metric, expected) in
            [("mean_iou", mean(RunCounts::mean_iou)), ("binary_iou", mean(RunCounts::binary_iou))]
        {
            let found =
                units.metrics.iter().find(|of| of.metric == metric).unwrap().difference.first;
            assert!((found - expected).abs() < 1e-12, "{name} {metric}: {found}, not {expected}");
        }
    }
}

#[test]
fn rows_of_pictures_recompute_what_their_seeds_were_summed_up_to() {
    let place = Place::new();
    let mut numbers = Numbers(5);
    let mut sums = [Confusion::new(4), Confusion::new(4)];
    let mut values = Vec::new();
    let truths: Vec<Mask> = (0..5).map(|picture| numbers.mask(2 + picture % 3)).collect();
    for (seed, sum) in sums.iter_mut().enumerate() {
        for (picture, truth) in truths.iter().enumerate() {
            let mut confusion = Confusion::new(4);
            confusion.add(truth, &numbers.mask(4)).unwrap();
            sum.merge(&confusion);
            let counts = PictureCounts::of(&confusion);
            values.push(serde_json::to_value(picture_row(seed as u64, picture, &counts)).unwrap());
        }
    }
    let mut written = pictures(2, &[0; 5]);
    written["rows"]["values"] = Value::Array(values);
    written["rows"]["classes"] = json!(["background", "a", "b", "c"]);
    for name in ["binary_iou", "fw_iou", "mean_pixel_accuracy"] {
        written["metrics"][name] = written["metrics"]["mean_iou"].clone();
    }
    let of = place.compare(&written, &written);
    let mean = |of: &dyn Fn(&Confusion) -> f64| sums.iter().map(of).sum::<f64>() / 2.0;
    let expected = [
        ("mean_iou", mean(&|of| of.mean_iou(1..4))),
        ("binary_iou", mean(&|of| of.mean_iou(0..4))),
        ("dice", mean(&|of| of.mean_dice(1..4))),
        ("fw_iou", mean(&Confusion::fw_iou)),
        ("mean_pixel_accuracy", mean(&Confusion::mean_pixel_accuracy)),
        ("pixel_accuracy", mean(&Confusion::pixel_accuracy)),
    ];
    for units in &of.units {
        for (metric, (name, expected)) in units.metrics.iter().zip(expected) {
            assert_eq!(metric.metric, name);
            assert!(
                (metric.difference.first - expected).abs() < 1e-12,
                "{name} over {}",
                units.over
            );
        }
    }
}
