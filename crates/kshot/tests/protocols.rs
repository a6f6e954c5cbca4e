//! EpisodeSampler are what their protocol says, and every recipe can be read.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kshot::data::Dataset;
use kshot::data::dataset::pixel_counts;
use kshot::data::episode::{
    ClassFolds, DrawnEpisode, EpisodeSampler, fold_classes, relabel, support_labels,
};
use kshot::data::part::Part;
use kshot::recipe::{Protocol, Recipe};
use kshot_data::mask::{Mask, VOID};
use rayon::prelude::*;

const CLASSES: usize = 20;

/// 300 pictures that hold one to three of 20 classes each.
fn counts() -> Vec<[usize; 256]> {
    (0..300)
        .map(|picture: usize| {
            let mut counts = [0; 256];
            for object in 0..=picture % 3 {
                counts[1 + (picture * 7 + object * 5) % CLASSES] += 10 + object;
            }
            counts
        })
        .collect()
}

fn names() -> Vec<String> {
    (1..=CLASSES).map(|class| format!("class {class}")).collect()
}

fn episodes(fold: usize, shape: (usize, usize), seed: u64) -> EpisodeSampler {
    let classes = fold_classes(ClassFolds::Contiguous, CLASSES, fold, 4);
    EpisodeSampler::new(&counts(), &classes, &names(), shape, seed).unwrap()
}

#[test]
fn folds_share_no_class_and_cover_all() {
    let all: Vec<u8> =
        (0..4).flat_map(|fold| fold_classes(ClassFolds::Contiguous, CLASSES, fold, 4)).collect();
    assert_eq!(all, (1..=20).collect::<Vec<u8>>());
    assert_eq!(fold_classes(ClassFolds::Contiguous, 80, 3, 4)[..2], [61, 62]);
    assert_eq!(fold_classes(ClassFolds::Interleaved, 80, 3, 4)[..3], [4, 8, 12]);
}

#[test]
fn support_and_query_never_overlap_and_hold_their_classes() {
    let counts = counts();
    for shape in [(1, 1), (1, 5), (2, 5)] {
        let source = episodes(2, shape, 1234);
        for index in 0..500 {
            let DrawnEpisode { classes, support, query } = source.get(0, index);
            assert_eq!((classes.len(), support.len()), (shape.0, shape.0 * shape.1));
            assert_eq!(classes.iter().collect::<BTreeSet<_>>().len(), shape.0);
            assert!(classes.iter().all(|class| (11..=15).contains(class)), "{classes:?}");
            let different: BTreeSet<usize> = support.iter().copied().chain([query]).collect();
            assert_eq!(different.len(), support.len() + 1, "all pictures differ");
            for (place, &picture) in support.iter().enumerate() {
                assert!(counts[picture][usize::from(classes[place / shape.1])] > 0);
            }
            assert!(classes.iter().any(|&class| counts[query][usize::from(class)] > 0));
        }
    }
}

#[test]
fn the_list_is_the_same_for_one_and_eight_workers() {
    let list = |threads| {
        let source = episodes(1, (2, 3), 7);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let list: Vec<DrawnEpisode> =
            pool.install(|| (0..400).into_par_iter().map(|index| source.get(3, index)).collect());
        list
    };
    assert_eq!(list(1), list(8));
}

#[test]
fn seed_run_and_index_each_make_another_list() {
    let list = |seed, run| -> Vec<DrawnEpisode> {
        let source = episodes(0, (1, 1), seed);
        (0..50).map(|index| source.get(run, index)).collect()
    };
    let first = list(1234, 0);
    assert_eq!(first, list(1234, 0));
    assert_ne!(first, list(1235, 0));
    assert_ne!(first, list(1234, 1));
    assert!(first.iter().any(|episode| *episode != first[0]));
}

#[test]
fn impossible_episodes_name_the_class_and_what_is_needed() {
    let mut counts = counts();
    counts.iter_mut().skip(40).for_each(|picture| picture[3] = 0);
    let few = counts.iter().filter(|picture| picture[3] > 0).count();
    let error =
        EpisodeSampler::new(&counts, &[1, 2, 3], &names(), (1, few), 0).unwrap_err().to_string();
    assert!(error.contains("class 3") && error.contains(&format!("need {}", few + 1)), "{error}");
    assert!(
        EpisodeSampler::new(&counts, &[1, 2, 3], &names(), (4, 1), 0).is_err(),
        "more ways than classes"
    );
    assert!(EpisodeSampler::new(&counts, &[1], &names(), (1, 0), 0).is_err(), "no shot");
}

#[test]
fn other_objects_are_background_and_void_stays() {
    let mask = Mask::from_pixels(6, 1, vec![0, 1, 3, 7, 254, VOID]).unwrap();
    assert_eq!(relabel(&mask, &[7, 3]).pixels, [0, 0, 2, 1, 254, VOID]);
}

#[test]
fn other_ways_are_neither_class_nor_background_in_a_support() {
    let mask = Mask::from_pixels(6, 1, vec![0, 1, 3, 7, 254, VOID]).unwrap();
    assert_eq!(support_labels(&mask, &[7, 3], 0).pixels, [0, 0, VOID, 1, 254, VOID]);
    assert_eq!(support_labels(&mask, &[7, 3], 1).pixels, [0, 0, 2, VOID, 254, VOID]);
}

fn recipes() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut recipes: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn every_recipe_finds_its_data() {
    let data = std::env::var_os("KSHOT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if !data.is_dir() {
        eprintln!("skipped: {} is absent", data.display());
        return;
    }
    assert!(!recipes().is_empty());
    for path in recipes() {
        let mut recipe = Recipe::read(&path, &[]).unwrap();
        // Those that learn from episodes of whole pictures say what they miss when a smoke run reads their data.
        if matches!(recipe.protocol, Protocol::FewShotRecognition { .. }) {
            continue;
        }
        let below = recipe.data.dataset.root().strip_prefix("../shared/data").unwrap();
        let change = format!("data.root={}", data.join(below).display());
        recipe = Recipe::read(&path, &[change]).unwrap();
        let open = |part: &Part| {
            recipe
                .data
                .dataset
                .open_part(part)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let set = open(recipe.data.test().unwrap());
        let train = recipe.data.parts.train.as_ref().map(open);
        match recipe.protocol {
            Protocol::FewShotSegmentation { ways, shots, evaluate, folds, split, seed, .. } => {
                let counts = pixel_counts(set.as_ref()).unwrap();
                let names = set.classes();
                for fold in evaluate {
                    let classes = fold_classes(split, names.len(), fold, folds);
                    EpisodeSampler::new(&counts, &classes, names, (ways, shots), seed)
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
            }
            Protocol::Presence { shots, .. } => assert!(shots <= train.unwrap().len()),
            Protocol::Segmentation { labelled, .. } => {
                let train = train.unwrap();
                assert!(labelled <= train.len());
                let files = |set: &dyn Dataset| -> BTreeSet<PathBuf> {
                    (0..set.len()).map(|index| set.file(index).to_owned()).collect()
                };
                let (set, train) = (files(set.as_ref()), files(train.as_ref()));
                assert!(set.is_disjoint(&train), "{}", path.display());
            }
            Protocol::FewShotRecognition { .. } => {}
        }
    }
}
