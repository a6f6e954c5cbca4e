//! The page of a training's curve, as `kshot train` leaves it.

use super::common::{DONE, Place, WRONG_USE, inside, mask, picture, save};

#[test]
fn a_training_leaves_its_curve_as_a_page() {
    let place = Place::new();
    for index in 0..6 {
        save(&place.at(&format!("data/images/{index}.png")), &picture(index % 3));
        mask(&place.at(&format!("data/masks/{index}.png")), 32, |x, y| inside(index % 3, x, y));
    }
    place.write("data/classes.txt", "square\n");
    let train = |more: &[&str]| {
        let arguments =
            ["train", "--data", "data", "--steps", "2", "--out", "run", "--quiet", "--set"];
        place.kshot(&[&arguments[..], &["train.validate_every=1"], more].concat())
    };
    let page = || std::fs::read_to_string(place.at("run/curve.html")).unwrap();
    assert_eq!(train(&["--validations", "1"]).faults(DONE, &[]), [""; 0]);
    assert!(
        page().contains("Stopped at step 1 of 2") && !page().contains("http-equiv=\"refresh\"")
    );
    // By the command that the page names.
    assert!(page().contains("kshot train run/recipe.toml --out run"));
    let ran = place.kshot(&["train", "run/recipe.toml", "--out", "run"]);
    // Six pictures are too few to keep some back, which is said.
    let words = ["for the report); look at run/report.html", "all that validate are learnt from"];
    assert_eq!(ran.faults(DONE, &words), [""; 0]);
    let report = std::fs::read_to_string(place.at("run/report.html")).unwrap();
    assert!(report.contains("They are learnt from") && report.contains("too few to keep"));
    assert!(
        page().contains("kshot eval run/recipe.toml --model run")
            && page().contains("step 2 · training")
    );
    let before = page();
    let ran = train(&["--set", "train.batch=1"]);
    assert_eq!(ran.faults(WRONG_USE, &["another recipe"]), [""; 0]);
    assert_eq!(page(), before, "a refused training leaves the page alone");
}

#[test]
fn a_training_starts_from_another() {
    let place = Place::new();
    for index in 0..4 {
        save(&place.at(&format!("data/images/{index}.png")), &picture(index % 3));
        mask(&place.at(&format!("data/masks/{index}.png")), 32, |x, y| inside(index % 3, x, y));
    }
    place.write("data/classes.txt", "square\n");
    let train = |more: &[&str]| {
        let arguments = ["train", "--data", "data", "--steps", "1", "--set"];
        place.kshot(&[&arguments[..], &["model.decoder=linear"], more].concat())
    };
    assert_eq!(train(&["--out", "first", "--quiet"]).faults(DONE, &[]), [""; 0]);
    // The network is the run's, and the recipe says where its weights are from.
    let arguments =
        ["train", "--data", "data", "--steps", "1", "--from", "first", "--out", "second"];
    let ran = place.kshot(&arguments);
    assert_eq!(ran.faults(DONE, &["encoder, decoder and all classes"]), [""; 0]);
    let recipe = std::fs::read_to_string(place.at("second/recipe.toml")).unwrap();
    assert!(recipe.contains("first\"") && recipe.contains("linear"), "{recipe}");
    let ran = train(&["--from", "nowhere", "--out", "third"]);
    assert_eq!(ran.faults(WRONG_USE, &["no recipe.toml"]), [""; 0]);
}
