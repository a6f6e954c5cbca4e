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

/// What is said of a text with some of it replaced.
fn said(right: &str, wrong: &str) -> String {
    assert!(TEXT.contains(right), "{right}");
    read(&TEXT.replace(right, wrong), &[]).map(|_| wrong.to_owned()).unwrap_err().to_string()
}

#[test]
fn whatever_does_not_fit_is_told_with_its_line_and_key() {
    for (right, wrong, line, says) in [
        (
            "labelled = 5",
            "labelled = \"5\"",
            4,
            &["`protocol.labelled`", "write it without quotes"][..],
        ),
        ("labelled = 5", "labelled = 5.5", 4, &["`protocol.labelled`", "5.5", "a whole number"]),
        ("labelled = 5", "labelled = -1", 4, &["`protocol.labelled`", "-1 is out of range"]),
        ("labelled = 5", "labelled = [5]", 4, &["`protocol.labelled`", "a list where it takes"]),
        ("seeds = [0, 1]", "seeds = [0, 1.5]", 5, &["`protocol.seeds[1]`"]),
        ("seeds = [0, 1]", "seeds = []", 5, &["`protocol.seeds`", "an empty list"]),
        ("seeds = [0, 1]", "seeds = [\n0,\n-4]", 7, &["`protocol.seeds[1]`", "-4"]),
        (
            "seeds = [0, 1]",
            "runs = 3",
            5,
            &["`protocol.runs`", "keys of segmentation", "few-shot-segmentation"],
        ),
        ("seeds = [0, 1]", "steps = 3", 5, &["`steps` belongs to", "[train]"]),
        (
            "\"segmentation\"",
            "\"presence\"",
            4,
            &["`protocol.labelled`", "shots, queries, runs, seed"],
        ),
        ("root = \"x\"", "", 6, &["`data.root`", "missing in [data]", "root = \"path/to/data\""]),
        ("root = \"x\"", "root = \" \"", 8, &["`data.root`", "an empty text"]),
        ("name = \"probe\"", "hidden = 1", 11, &["`method.name`", "missing", "panet"]),
        ("name = \"probe\"", "name = \"prob\"", 12, &["`method.name`", "did you mean `probe`?"]),
        ("name = \"probe\"", "name = 3", 12, &["`method.name`", "the number 3"]),
        ("name = \"probe\"", "name = \"probe\"\nname = \"auto\"", 13, &["`name` is given twice"]),
        (
            "name = \"probe\"",
            "name = \"probe\"\nlambda = 1",
            13,
            &["`method.lambda`", "key of ridge-head"],
        ),
        (
            "[predict]",
            "[model]\nencoder = { name = \"conv4\", wdth = 3 }\n[predict]",
            14,
            &["`width`"],
        ),
        (
            "[predict]",
            "[model]\nencoder = \"resnet\"\n[predict]",
            14,
            &["unknown encoder `resnet`"],
        ),
        (
            "[predict]",
            "[loss]\nterms = [\n{ name = \"dice\" },\n{ name = \"dice\", smoth = 1 }]\n[predict]",
            16,
            &["`loss.terms[1].smoth`", "did you mean `smooth`?"],
        ),
        (
            "[predict]",
            "[[loss.terms]]\nname = \"dice\"\n[[loss.terms]]\nname = \"dise\"\n[predict]",
            16,
            &["`loss.terms[1].name`", "did you mean `dice`?"],
        ),
        (
            "\"none\"",
            "{ guided = { radius = 2 } }",
            14,
            &["`predict.refinement.guided.epsilon`", "missing"],
        ),
        (
            "\"none\"",
            "{ guided = { radius = 2, epsilon = 0.1 }, local = {} }",
            14,
            &["exactly one"],
        ),
        ("[predict]", "[train]\nsteps = 1\n[predict]", 13, &["missing in [train]"]),
        ("seeds = [0, 1]", "seeds = [0, 1", 6, &["not TOML"]),
        ("labelled = 5", "labelled = 99999999999999999999", 4, &[]),
    ] {
        let error = said(right, wrong);
        assert!(error.contains(&format!("r.toml:{line}: ")), "{wrong}: {error}");
        for part in says {
            assert!(error.contains(part), "{wrong}: `{part}` is not in: {error}");
        }
    }
    let error = said("[method]\n    name = \"probe\"", "");
    assert!(error.contains("[method] is missing") && error.contains("name = "), "{error}");
}

#[test]
fn what_the_sections_disagree_on_has_its_line_too() {
    let error = said(
        "[predict]",
        "[train]\nsteps = 1\nvalidate_every = 1\nseed = 1\nlearning_rate = 1\n[predict]",
    );
    assert!(error.contains("r.toml:13: key `train`: `probe` is not trained"), "{error}");
    let error = read(TEXT, &["method={ name = \"panet\" }"]).unwrap_err().to_string();
    assert!(error.contains("key `protocol.name`") && error.contains("r.toml:3"), "{error}");
}

#[test]
fn a_wrong_change_is_named() {
    for (change, says) in [
        (
            "protocol.labelled=many",
            &["key `protocol.labelled`", "changed by `protocol.labelled=many`"][..],
        ),
        ("protocol.labelled=1e300", &["1e300", "changed by"]),
        ("protocol.seeds=[1, -2]", &["protocol.seeds[1]", "changed by"]),
        ("labelled=3", &["unknown section `labelled`", "belongs to [protocol]"]),
        ("method.name.x=3", &["the change `method.name.x=3`", "`name` is a value"]),
        ("=3", &["the change `=3`", "a key is missing"]),
        ("data..root=3", &["a key is missing"]),
        ("nonsense", &["`nonsense` is no change"]),
    ] {
        let error = read(TEXT, &[change]).map(|_| change.to_owned()).unwrap_err().to_string();
        for part in says {
            assert!(error.contains(part), "{change}: `{part}` is not in: {error}");
        }
    }
    let deep = format!("{}=1", vec!["a"; 100_000].join("."));
    let error = read(TEXT, &[&deep]).unwrap_err().to_string();
    assert!(error.contains("100000 parts") && error.len() < 300, "{error}");
}

#[test]
fn files_that_are_no_recipes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    let error = |path: &Path| Recipe::read(path, &[]).unwrap_err().to_string();
    assert!(error(&path).contains("could not read the recipe"), "{}", error(&path));
    std::fs::create_dir(folder.path().join("run")).unwrap();
    assert!(error(&folder.path().join("run")).contains("a folder"));
    std::fs::write(folder.path().join("run/recipe.toml"), TEXT).unwrap();
    assert!(
        error(&folder.path().join("run")).contains("such as ")
            && error(&folder.path().join("run")).contains("recipe.toml")
    );
    for (bytes, says) in [
        (Vec::new(), "an empty file"),
        (b"\xef\xbb\xbf \r\n".to_vec(), "an empty file"),
        (b"# only a comment".to_vec(), "the section [protocol] is missing"),
        (b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "r.toml"),
        (b"{\"protocol\": 1}".to_vec(), "not TOML"),
        (format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000)).into_bytes(), "not TOML"),
        (format!("{} = 1", vec!["a"; 5000].join(".")).into_bytes(), "not TOML"),
        (format!("{}\n# {}", TEXT, "x".repeat(1 << 20)).into_bytes(), "at most 1048576"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        assert!(error(&path).contains(says), "{says}: {}", error(&path));
    }
    // Files of other editors are read.
    for text in [
        format!("\u{feff}{TEXT}"),
        TEXT.replace('\n', "\r\n"),
        format!("\u{feff}{}", TEXT.replace('\n', "\r\n")),
    ] {
        std::fs::write(&path, &text).unwrap();
        Recipe::read(&path, &[]).unwrap();
        std::fs::write(&path, text.replace("labelled = 5", "labelled = -5")).unwrap();
        assert!(error(&path).contains("r.toml:4: "), "{}", error(&path));
    }
}
