//! `report.html` at the end of a training of supervised segmentation, and the same parts on the page of an evaluation.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kshot::eval::Evaluation;
use kshot::job::{EvalOptions, Event, TrainOptions, Watch, eval, plan, train};
use kshot::plan::{PLAN, PlanOptions};
use kshot::recipe::Recipe;
use kshot::report::page::percent;

use super::support::{LISTED, Place, SCRATCH, SUPERVISED, alone, tiny};

/// The names of the classes: one that would be markup, one with a quote, and one that no picture holds.
const CLASSES: [&str; 3] = ["<b>red</b>", "\"green\" & co", "nowhere"];

/// Six pictures of coloured squares with masks, two of them for validation.
struct Pages(Place);

impl Pages {
    fn new() -> Self {
        let place =
            Self(Place::with_squares(6, [40, 32], &[[220, 40, 30], [30, 200, 60]], &CLASSES));
        place.write("data/train.txt", "0\n1\n2\n3\n");
        place.write("data/validation.txt", "4\n5\n");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.at(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
    }

    fn recipe(&self) -> Recipe {
        let train = r#"
            steps = 8
            validate_every = 2
            seed = 0
            batch = 2
            learning_rate = 1e-2
            optimizer = "adam"
        "#;
        tiny(&self.0.written("data"), [LISTED, SCRATCH, SUPERVISED, train], &[]).unwrap()
    }

    fn train(&self, at_most: Option<usize>) {
        let options = TrainOptions { at_most, ..TrainOptions::new(self.recipe(), self.at("run")) };
        train(&options, &Watch::silent()).unwrap();
    }

    fn page(&self, folder: &str) -> String {
        std::fs::read_to_string(self.at(folder).join("report.html")).unwrap()
    }

    /// What `kshot eval` finds on the validation pictures, with its page in `evaluated`.
    fn eval(&self) -> Evaluation {
        let mut options = EvalOptions::new(self.recipe());
        options.model = Some(self.at("run"));
        options.out = Some(self.at("evaluated"));
        options.force = true;
        eval(&options, &Watch::silent()).unwrap()
    }
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The cells of the row of a class.
fn cells(page: &str, class: &str) -> Vec<String> {
    let section = page.split("id=\"classes\"").nth(1).unwrap().split("</section>").next().unwrap();
    let row =
        section.split("<tr>").find(|row| row.contains(&format!("</i>{}", escaped(class)))).unwrap();
    let cells = row.split("<td class=\"number").skip(1);
    cells
        .map(|cell| cell.split_once('>').unwrap().1.split('<').next().unwrap().to_owned())
        .collect()
}

/// What is not as every page has to be.
fn faults(page: &str) -> Vec<&'static str> {
    // Pictures in base64 hold any letters.
    let parts = page.split("data:image/jpeg;base64,").enumerate();
    let plain = parts.map(|(at, part)| match part.split_once('"') {
        Some((_, rest)) if at > 0 => rest,
        _ => part,
    });
    let words: String = plain.collect();
    let mut faults = Vec::new();
    let mut check = |wrong: bool, what| {
        if wrong {
            faults.push(what);
        }
    };
    check(page.contains("http:") || page.contains("https:"), "an address outside the page");
    let mut sources = page.split("src=\"").skip(1);
    check(
        sources.any(|source| !source.starts_with("data:image/jpeg;base64,")),
        "a picture elsewhere",
    );
    check(
        page.contains("<link") || page.contains("@import") || page.contains("url("),
        "a style elsewhere",
    );
    check(page.len() > 5_000_000, "too large");
    check(page.contains("<b>red") || page.contains("\"green\""), "a name as markup");
    check(words.contains("NaN") || words.contains("inf %"), "no number");
    check(
        page.matches("<img").count()
            != page.matches("<img alt=").count() + page.matches("\" alt=\"").count(),
        "a picture without words",
    );
    check(page.matches("<h1").count() != 1, "not one title");
    let ids = page.split("href=\"#").skip(1).map(|id| id.split('"').next().unwrap());
    let broken = ids.map(|id| format!("id=\"{id}\"")).any(|id| !page.contains(&id));
    check(broken, "a link to no part");
    faults
}

#[test]
fn the_page_has_every_part_with_the_numbers_of_eval() {
    let _alone = alone();
    let place = Pages::new();
    place.train(None);
    let (page, result) = (place.page("run"), place.eval());
    assert_eq!(faults(&page), [""; 0]);
    for part in
        ["curves", "measured", "classes", "confusion", "calibration", "worst", "recipe", "use"]
    {
        assert!(page.contains(&format!("id=\"{part}\"")), "{part}");
    }
    assert!(!page.contains("id=\"chosen\""), "the recipe was written by a person");
    for words in [
        "resnet-tiny with unet",
        "mean_iou at step",
        ", 2 pictures",
        " trainable</small>",
        "flex",
        "model.bpk",
        "kshot eval",
        "kshot segment --model",
        "kshot export",
        "validate_every = 2",
        "step 2 · training",
        "alt=\"errors, images/4.png\"",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // The headline, and a row for each class.
    let mean = result.metrics["mean_iou"].mean;
    assert!(mean > 0.0, "a network that finds something");
    assert!(page.contains(&format!("<dt>mean_iou</dt><dd>{}", percent(mean as f32))), "{mean}");
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| percent(value as f32));
    for of in result.classes.iter().filter(|of| of.iou.is_some()) {
        let expected = [of.iou, of.dice, of.precision, of.recall, of.boundary_f].map(shown);
        let found = cells(&page, &of.name);
        assert_eq!(found[..5], expected, "{}", of.name);
        assert_eq!(found[6], of.pictures.to_string(), "{}", of.name);
    }
    let ece = result.metrics["ece"].mean as f32;
    assert!(page.contains(&format!("off by <b>{}</b> on average", percent(ece))));
    let confused = &result.confused[0];
    let share = percent(confused.count as f32 / confused.opportunities as f32);
    let words = format!("{share} of <b>{}</b> is taken for", escaped(&confused.actual));
    assert!(page.contains(&words), "{words}");

    // The evaluation's own page has the same parts.
    let own = place.page("evaluated");
    assert_eq!(faults(&own), [""; 0]);
    for part in ["classes", "confusion", "calibration", "worst"] {
        let of = |page: &str| {
            let from = page.split(&format!("<section id=\"{part}\"")).nth(1).unwrap().to_owned();
            from.split("</section>").next().unwrap().to_owned()
        };
        assert_eq!(of(&own), of(&page), "{part}");
    }
    let json = std::fs::read_to_string(place.at("evaluated/result.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let pixels: u64 = result.classes.iter().map(|of| of.pixels).sum();
    let counts = json["confusion"]["counts"].as_array().unwrap();
    let sum = counts.iter().flat_map(|row| row.as_array().unwrap()).map(|n| n.as_u64().unwrap());
    assert_eq!((pixels, sum.sum::<u64>()), (2 * 40 * 32, 2 * 40 * 32));
    assert_eq!(json["classes"][1]["name"], CLASSES[0]);
}

#[test]
fn a_stopped_training_has_its_curve_and_a_finished_one_the_same_page_again() {
    let _alone = alone();
    let place = Pages::new();
    place.train(Some(2));
    let page = place.page("run");
    assert_eq!(faults(&page), [""; 0]);
    assert!(page.contains("Stopped at step 4 of 8") && page.contains("step 4 · training"));
    assert!(page.contains("is measured when it is done") && !page.contains("id=\"classes\""));
    assert!(page.contains("To go on after a stop:") && !page.contains("are in <code>model.bpk"));
    place.train(None);
    let whole = place.page("run");
    assert!(whole.contains("id=\"classes\"") && !whole.contains("Stopped at"));
    std::fs::remove_file(place.at("run/report.html")).unwrap();
    place.train(None);
    // But for the time that stands in the footer.
    let body = |page: &str| page.split("<footer>").next().unwrap().to_owned();
    assert_eq!(body(&place.page("run")), body(&whole));
}

#[test]
fn a_measurement_that_is_stopped_or_fails_leaves_the_rest() {
    let _alone = alone();
    let place = Pages::new();
    let options = TrainOptions::new(place.recipe(), place.at("run"));
    let stop = AtomicBool::new(false);
    let told = Mutex::new(Vec::new());
    let tell = |event: &Event<'_>| {
        if matches!(event, Event::Measuring { .. }) {
            stop.store(true, Ordering::Relaxed);
        }
        if !event.is_momentary() {
            told.lock().unwrap().push((event.to_string(), serde_json::to_value(event).unwrap()));
        }
    };
    let trained = train(&options, &Watch::new(&tell).cancelled_by(&stop)).unwrap();
    assert!(!trained.interrupted && place.at("run/model.bpk").is_file());
    let page = place.page("run");
    assert_eq!(faults(&page), [""; 0]);
    assert!(
        page.contains("stopped before all validation pictures") && !page.contains("id=\"worst\"")
    );
    {
        let told = told.lock().unwrap();
        let (words, done) = told.last().unwrap();
        assert!(
            words.contains("s of it for the report); look at") && words.contains("report.html")
        );
        assert!(done["report"].as_str().unwrap().ends_with("report.html"), "{done}");
        assert!(done["report_seconds"].as_f64().unwrap() < done["seconds"].as_f64().unwrap());
        let words = "measuring the best parameters on 2 validation pictures for report.html";
        assert!(told.iter().any(|(told, _)| told == words));
    }

    // A picture that is there no more.
    std::fs::rename(place.at("data/images"), place.at("data/gone")).unwrap();
    std::fs::create_dir(place.at("data/images")).unwrap();
    for number in 0..6 {
        std::fs::write(place.at(&format!("data/images/{number}.png")), b"no picture").unwrap();
    }
    told.lock().unwrap().clear();
    train(&options, &Watch::new(&tell)).unwrap();
    let page = place.page("run");
    assert!(page.contains("could not be measured") && page.contains("4.png"), "{page}");
    assert!(
        told.lock()
            .unwrap()
            .iter()
            .any(|(words, _)| words.starts_with("warning: report.html lacks"))
    );
}

#[test]
fn a_training_without_validation_pictures_is_refused_before_it_begins() {
    let _alone = alone();
    let place = Pages::new();
    for list in ["train", "validation"] {
        std::fs::remove_file(place.at(&format!("data/{list}.txt"))).unwrap();
    }
    let mut recipe = place.recipe().to_toml().unwrap();
    recipe.push_str("[data.split]\nvalidation = 0.0\n");
    let recipe = Recipe::parse(&recipe, Path::new("test.toml"), &[]).unwrap();
    let options = TrainOptions::new(recipe, place.at("run"));
    let error = train(&options, &Watch::silent()).unwrap_err().to_string();
    assert!(error.contains("the part `validation` has no labelled picture"), "{error}");
    assert!(!place.at("run/report.html").exists());
}

#[test]
fn a_recipe_that_kshot_chose_tells_its_rules() {
    let _alone = alone();
    let place = Pages::new();
    let changes =
        ["model.encoder=resnet-tiny", "model.weights=none", "data.transforms=[]", "train.batch=1"];
    let wanted = PlanOptions {
        data: place.at("data"),
        steps: Some(2),
        minutes: None,
        seed: 0,
        changes: changes.map(str::to_owned).to_vec(),
    };
    let chosen = plan(&wanted, None, "flex").unwrap();
    let mut options = TrainOptions::new(chosen.recipe.clone(), place.at("run"));
    options.notes.push((PLAN.to_owned(), serde_json::to_string_pretty(&chosen).unwrap()));
    train(&options, &Watch::silent()).unwrap();
    let page = place.page("run");
    assert_eq!(faults(&page), [""; 0]);
    let section = page.split("id=\"chosen\"").nth(1).unwrap();
    assert!(section.contains("From 6 labelled pictures, typically 40 x 32 pixels, and 3 classes"));
    for choice in chosen.choices.iter().filter(|choice| !choice.reason.is_empty()) {
        assert!(section.contains(&format!("<code>{}</code>", choice.key)), "{}", choice.key);
        assert!(section.contains(&escaped(&choice.reason)), "{}", choice.reason);
    }
    assert!(section.contains("set by you"));
    // By the recipe that the run left, as the page's own command has it, the plan is still there.
    options.recipe = Recipe::read(&place.at("run/recipe.toml"), &[]).unwrap();
    options.notes.clear();
    train(&options, &Watch::silent()).unwrap();
    assert!(place.page("run").contains("id=\"chosen\""));
    // Another recipe in its place was not chosen by it.
    options.recipe.train.as_mut().unwrap().learning_rate *= 2.0;
    options.force = true;
    train(&options, &Watch::silent()).unwrap();
    assert!(!place.page("run").contains("id=\"chosen\""));
}

#[test]
fn a_single_labelled_picture_is_enough() {
    let _alone = alone();
    let place = Place::with_squares(1, [40, 32], &[[220, 40, 30]], &["square"]);
    let changes =
        ["model.encoder=resnet-tiny", "model.weights=none", "data.transforms=[]", "train.batch=1"];
    let wanted = PlanOptions {
        data: place.at("data"),
        steps: Some(2),
        minutes: None,
        seed: 0,
        changes: changes.map(str::to_owned).to_vec(),
    };
    let chosen = plan(&wanted, None, "flex").unwrap();
    let told = chosen.told().join("\n");
    assert!(told.contains("1 labelled picture is too little to keep some back"), "{told}");
    train(&TrainOptions::new(chosen.recipe, place.at("run")), &Watch::silent()).unwrap();
    let split = std::fs::read_to_string(place.at("run/split.json")).unwrap();
    let split: serde_json::Value = serde_json::from_str(&split).unwrap();
    assert_eq!(split["train"], split["validation"]);
    assert!(place.at("run/report.html").exists());
}

#[test]
fn a_budget_decides_the_steps_and_leaves_what_is_set() {
    let _alone = alone();
    let place = Pages::new();
    let planned = |minutes: f64, more: &[&str]| {
        let changes = ["model.encoder=resnet-tiny", "model.weights=none", "data.transforms=[]"];
        let changes = changes.iter().chain(more).map(|&change| change.to_owned()).collect();
        let (data, minutes) = (place.at("data"), Some(minutes));
        plan(&PlanOptions { data, steps: None, minutes, seed: 0, changes }, None, "flex")
    };
    let told = |chosen: &kshot::plan::Plan, key: &str| {
        chosen.choices.iter().find(|choice| choice.key == key).unwrap().clone()
    };
    let [short, long] = [0.1, 0.4].map(|minutes| planned(minutes, &[]).unwrap());
    let steps = |chosen: &kshot::plan::Plan| chosen.recipe.train.as_ref().unwrap().steps;
    assert!(steps(&long) > 2 * steps(&short), "{} and {}", steps(&long), steps(&short));
    assert!(told(&short, "train.steps").reason.contains("what 0.1 minutes would hold"));
    let often = planned(0.4, &["train.validate_every=2"]).unwrap();
    assert_eq!(often.recipe.train.as_ref().unwrap().validate_every, 2);
    let of = told(&often, "train.validate_every");
    assert_eq!((of.value.as_integer(), of.reason.as_str()), (Some(2), "set by you"));
    // Validations count: more of them leave time for fewer steps.
    assert!(steps(&often) < steps(&long), "{} and {}", steps(&often), steps(&long));
    for (minutes, more, says) in [
        (0.1, &["train.steps=5"][..], "give one of them"),
        (1e-6, &[], "not enough"),
        (f64::NAN, &[], "give a number above 0"),
    ] {
        let error = planned(minutes, more).unwrap_err().to_string();
        assert!(error.contains(says), "{minutes} {more:?}: {error}");
    }
}
