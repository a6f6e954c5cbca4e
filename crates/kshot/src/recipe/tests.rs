//! Recipes as people write them: typed changes, what is refused and how it is told.

use std::path::Path;

use super::*;
use crate::data::DatasetConfig;

const TEXT: &str = r#"
    [protocol]
    name = "segmentation"
    labelled = 5
    seeds = [0, 1]
    [data]
    dataset = "camvid"
    root = "x"
    test = "val"
    train = "train"
    [method]
    name = "probe"
    [predict]
    refinement = "none"
"#;

fn read(text: &str, changes: &[&str]) -> Result<Recipe> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, text).unwrap();
    Recipe::read(&path, &changes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
}

#[test]
fn changes_are_typed_and_round_trip() {
    let recipe = read(TEXT, &["protocol.labelled=3", "data.root=/some where/else"]).unwrap();
    assert!(matches!(recipe.protocol, Protocol::Segmentation { labelled: 3, .. }));
    let DatasetConfig::Camvid(ref set) = recipe.data.dataset else { panic!("{recipe:?}") };
    assert_eq!(set.root, Path::new("/some where/else"));
    let again: Recipe = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
    assert_eq!(again, recipe);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let error = read(TEXT, &["predict.refinment=none"]).unwrap_err().to_string();
    assert!(error.contains("refinment") && error.contains("`refinement`"), "{error}");
    assert!(error.contains("key `predict.refinment`"), "{error}");
    assert!(read(TEXT, &["nonsense"]).is_err());
}

#[test]
fn an_unknown_key_or_value_of_the_file_is_told_with_its_line() {
    for (right, wrong, line, near) in [
        ("labelled = 5", "labeled = 5", 4, "`labelled`"),
        ("test = \"val\"", "tst = \"val\"", 9, "`test`"),
        ("name = \"probe\"", "name = \"probe\"\nhiden = 1", 13, "`hidden`"),
        ("\"camvid\"", "\"camvit\"", 7, "`camvid`"),
        ("\"none\"", "{ guidd = { radius = 2 } }", 14, "`guided`"),
        ("[method]", "[methd]", 11, "`method`"),
    ] {
        let error = read(&TEXT.replace(right, wrong), &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("r.toml:{line}")), "{wrong}: {error}");
        assert!(error.contains(near), "{wrong}: {error}");
    }
}

#[test]
fn keys_of_older_recipes_are_refused_with_their_new_names() {
    for (right, wrong, new) in [
        ("test = \"val\"", "list = \"val\"", "data.test"),
        ("[predict]", "[network]\nname = \"conv4\"\n[predict]", "[model] encoder"),
        ("name = \"probe\"", "name = \"probe\"\nrefinement = \"none\"", "[predict] refinement"),
        ("[predict]", "[train]\nrate = 0.1\n[predict]", "train.learning_rate"),
        ("[predict]", "[train]\nepoch = 100\n[predict]", "train.validate_every"),
    ] {
        let error = read(&TEXT.replace(right, wrong), &[]).unwrap_err().to_string();
        assert!(error.contains(new), "{wrong}: {error}");
    }
}

#[test]
fn every_recipe_that_ships_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = 0;
    for folder in ["recipes", "assets"] {
        for group in std::fs::read_dir(root.join(folder)).unwrap() {
            let group = group.unwrap().path();
            let Ok(files) = std::fs::read_dir(&group) else { continue };
            for file in files {
                let file = file.unwrap().path();
                if file.extension().is_some_and(|extension| extension == "toml") {
                    let recipe = Recipe::read(&file, &[]).unwrap();
                    let again: Recipe = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
                    assert_eq!(again, recipe, "{}", file.display());
                    found += 1;
                }
            }
        }
    }
    assert!(found > 20, "{found}");
}
