//! A folder of pictures: their vectors, noted as they are made, and what they seem to show.
//!
//! Only vectors are kept from run to run (in `OUT/.kshot/vectors.jsonl`): they cost the time, and do not
//! depend on the labelled pictures. So a stopped run goes on where it was, and a folder is labelled
//! anew within seconds after a class was added.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::embed::{BATCH, Embedder};
use super::judge::{Judged, Truth};
use super::model_file::{Class, Example};
use super::{Recogniser, Recognition};
use crate::data::class_folder::{self, ClassFolder};
use crate::data::image;
use crate::error::{Error, Result};
use crate::hash;
use crate::predict::folder::{Item, fingerprint, unwritable};
use crate::predict::pipeline::overlap;
use crate::report::html::FailedPicture;
use crate::report::journal::{Journal, Record};
use crate::report::overlay;

/// Longer side and bytes at most of a labelled picture's small version.
pub const THUMBNAIL: (u32, usize) = (200, 6_000);
/// How many wrong pictures a message shows.
const SHOWN: usize = 10;

/// Everything known of one finished picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorRecord {
    /// Its name, unique in the run.
    pub name: String,
    /// Its file relative to the query folder, with `/` between folders.
    pub path: String,
    /// What tells whether the picture has changed.
    pub fingerprint: String,
    /// What tells whether the vector would be the same: encoder, weights and looking.
    pub run: String,
    /// The vector in half precision, little-endian, in base64.
    pub vector: String,
    /// Time spent on it.
    pub seconds: f64,
}

impl Record for VectorRecord {
    const FILE: &'static str = "vectors.jsonl";

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn run(&self) -> &str {
        &self.run
    }

    fn files(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl VectorRecord {
    /// The vector, if the record is whole.
    pub fn vector(&self) -> Option<Vec<f32>> {
        let bytes = STANDARD.decode(&self.vector).ok()?;
        let pairs = bytes.chunks_exact(2);
        let values = pairs.map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32());
        Some(values.collect())
    }
}

fn encoded(vector: &[f32]) -> String {
    let bytes: Vec<u8> =
        vector.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// What happened to a picture.
#[derive(Debug)]
pub enum Event<'a> {
    /// Its vector is noted.
    Done {
        /// The picture.
        item: &'a Item,
        /// Its vector.
        vector: &'a [f32],
        /// Time spent on it.
        seconds: f64,
    },
    /// It could not be done; the others go on.
    Failed(&'a FailedPicture),
}

/// A picture ready for the encoder, its thumbnail, and the seconds that took.
type Prepared = (Vec<f32>, Vec<u8>, f64);

/// A picture that went through the encoder.
struct Seen {
    vector: Vec<f32>,
    thumbnail: Vec<u8>,
    seconds: f64,
}

/// Runs pictures through the encoder, a few at a time, while the next are decoded; `done` gets them in
/// their order and says whether to go on.
fn embed_all<I: Clone + Send + Sync>(
    embedder: &Embedder,
    inputs: &[I],
    path: impl Fn(&I) -> &Path + Send + Sync,
    thumbnails: bool,
    mut done: impl FnMut(I, Result<Seen>) -> bool + Send,
) {
    let prepare = |input: &I| -> Result<Prepared> {
        let started = Instant::now();
        let picture = image::read(path(input))?;
        let prepared = embedder.prepare(&picture)?;
        let thumbnail = if thumbnails {
            let text = overlay::thumbnail(&picture, THUMBNAIL.0, THUMBNAIL.1)?;
            STANDARD.decode(text).unwrap_or_default()
        } else {
            Vec::new()
        };
        Ok((prepared, thumbnail, started.elapsed().as_secs_f64()))
    };
    overlap(
        inputs.chunks(BATCH),
        |chunk| Ok::<_, ()>(chunk.par_iter().map(prepare).collect::<Vec<_>>()),
        |_, prepared: Vec<Result<Prepared>>| {
            let started = Instant::now();
            let mut good = Vec::new();
            let rest: Vec<Result<(Vec<u8>, f64)>> = prepared
                .into_iter()
                .map(|one| {
                    one.map(|(prepared, thumbnail, seconds)| {
                        good.push(prepared);
                        (thumbnail, seconds)
                    })
                })
                .collect();
            let mut vectors = embedder.embed(&good).into_iter();
            let each = started.elapsed().as_secs_f64() / good.len().max(1) as f64;
            Ok(rest
                .into_iter()
                .map(|one| {
                    one.and_then(|(thumbnail, seconds)| {
                        let vector = vectors.next().ok_or_else(|| Error::data("no vector"))?;
                        Ok(Seen { vector, thumbnail, seconds: seconds + each })
                    })
                })
                .collect::<Vec<_>>())
        },
        |chunk, seen| {
            let Ok(seen) = seen else { return true };
            chunk.iter().zip(seen).all(|(input, seen)| done(input.clone(), seen))
        },
    );
}

/// The labelled pictures as the recogniser keeps them, and what is odd about them, in words.
///
/// # Errors
/// If any cannot be read: all such are named.
pub fn examples(
    embedder: &Embedder,
    folder: &ClassFolder,
    mut on_progress: impl FnMut(usize) + Send,
) -> Result<(Vec<Class>, Vec<String>)> {
    let mut classes: Vec<Class> = folder
        .classes
        .iter()
        .map(|name| Class { name: name.clone(), examples: Vec::new() })
        .collect();
    let mut wrong = Vec::new();
    let mut finished = 0;
    embed_all(
        embedder,
        &folder.pictures,
        |picture| &picture.path,
        true,
        |picture, seen| {
            let example = seen.and_then(|seen| {
                Ok(Example {
                    file: picture.path.display().to_string(),
                    sha256: hash::of_file(&picture.path)?,
                    vector: seen.vector,
                    thumbnail: seen.thumbnail,
                })
            });
            match example {
                Ok(example) => classes[picture.class].examples.push(example),
                Err(error) => wrong.push(error.to_string()),
            }
            finished += 1;
            on_progress(finished);
            true
        },
    );
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(SHOWN);
        let count = wrong.len();
        wrong.truncate(SHOWN);
        return Err(Error::data(format!(
            "{count} of the labelled pictures cannot be read; mend or remove them:\n  {}{}",
            wrong.join("\n  "),
            if more > 0 { format!("\n  and {more} more") } else { String::new() }
        )));
    }
    let warnings = twins(&classes);
    Ok((classes, warnings))
}

/// Pictures that stand in two classes: one of the labels must be wrong.
fn twins(classes: &[Class]) -> Vec<String> {
    let mut met: HashMap<&str, (&str, &str)> = HashMap::new();
    let mut warnings = Vec::new();
    for class in classes {
        for example in &class.examples {
            match met.get(&*example.sha256) {
                Some((name, file)) if *name != class.name => warnings.push(format!(
                    "{file} and {} are the same picture, labelled {name} and {}; remove one",
                    example.file, class.name
                )),
                _ => {
                    met.insert(&example.sha256, (&class.name, &example.file));
                }
            }
        }
    }
    warnings
}

/// The pictures to label, and for each what the query itself says it shows (a list's column of classes).
///
/// `query` is a folder, a picture, or a list of pictures (`.csv` or `.txt`, see [`class_folder::list`]).
///
/// # Errors
/// If there is no picture.
pub fn items(query: &Path) -> Result<(Vec<Item>, Vec<Option<String>>)> {
    let is_list = query.is_file()
        && query
            .extension()
            .is_some_and(|end| ["csv", "txt"].iter().any(|e| end.eq_ignore_ascii_case(e)));
    if !is_list {
        let items = crate::predict::folder::items(query)?;
        let none = vec![None; items.len()];
        return Ok((items, none));
    }
    let mut items = Vec::new();
    let mut classes = Vec::new();
    let mut met = std::collections::HashSet::new();
    for listed in class_folder::list(query)? {
        if !met.insert(listed.written.clone()) {
            continue;
        }
        let shown = listed.written.replace('\\', "/");
        items.push(Item { file: listed.path, name: shown.clone(), shown });
        classes.push(listed.class);
    }
    if items.is_empty() {
        return Err(Error::data("the list names no picture; a line is a path").in_file(query));
    }
    Ok((items, classes))
}

/// Runs `items` through the encoder and notes their vectors in the journal.
///
/// # Errors
/// If the output folder cannot be written to (nothing more is tried then).
pub fn embed(
    embedder: &Embedder,
    items: &[Item],
    journal: &mut Journal<VectorRecord>,
    run: &str,
    mut on_event: impl FnMut(Event<'_>) + Send,
) -> Result<Vec<FailedPicture>> {
    let mut failed = Vec::new();
    let mut stopped = None;
    embed_all(
        embedder,
        items,
        |item| &item.file,
        false,
        |item: Item, seen| {
            let noted = seen.and_then(|seen| {
                journal.append(&VectorRecord {
                    name: item.name.clone(),
                    path: item.shown.clone(),
                    fingerprint: fingerprint(&item.file)?,
                    run: run.to_owned(),
                    vector: encoded(&seen.vector),
                    seconds: seen.seconds,
                })?;
                Ok(seen)
            });
            match noted {
                Ok(Seen { vector, seconds, .. }) => {
                    on_event(Event::Done { item: &item, vector: &vector, seconds });
                }
                Err(error) => {
                    let picture = FailedPicture { name: item.shown, error: error.to_string() };
                    on_event(Event::Failed(&picture));
                    failed.push(picture);
                    if unwritable(&error) {
                        stopped = Some(error);
                        return false;
                    }
                }
            }
            true
        },
    );
    match stopped {
        Some(error) => Err(error),
        None => Ok(failed),
    }
}

/// A labelled picture of the query.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The picture.
    pub item: Item,
    /// What it seems to show.
    pub found: Recognition,
    /// What it really shows, where that is known.
    pub truth: Option<Truth>,
}

impl Labelled {
    /// The label beside the truth, with the first `top_k` classes listed.
    pub fn judged(&self, top_k: usize) -> Option<Judged> {
        let truth = self.truth?;
        let listed =
            |class| self.found.ranking.iter().take(top_k).any(|(other, _)| *other == class);
        Some(Judged {
            truth,
            class: self.found.class(),
            probability: self.found.probability(),
            listed: matches!(truth, Truth::Class(class) if listed(class)),
            familiarity: self.found.familiarity,
            accepted: self.found.accepted,
        })
    }
}

/// What the noted pictures among `items` seem to show, in their order, with the `top_k` likeliest
/// classes of each.
///
/// # Errors
/// If the journal cannot be read.
pub fn label(
    recogniser: &Recogniser,
    items: &[Item],
    journal: &Journal<VectorRecord>,
    run: &str,
    top_k: usize,
) -> Result<Vec<Labelled>> {
    let mut all = Vec::with_capacity(items.len());
    // By hundreds: few vectors are in memory at a time, and all cores have work.
    for part in items.chunks(256) {
        let mut vectors = Vec::with_capacity(part.len());
        for item in part {
            let known = journal.finished().get(&item.name).is_some_and(|noted| noted.run == run);
            // A picture whose vector is not noted has failed, which was told.
            let Some(record) = known.then(|| journal.read(&item.name)).transpose()? else {
                continue;
            };
            let vector = record.vector().filter(|v| v.len() == recogniser.examples().dimensions());
            let vector = vector.ok_or_else(|| {
                Error::data(format!(
                    "the record of `{}` cannot be understood; run again with --force",
                    item.shown
                ))
                .in_file(journal.out())
            })?;
            vectors.push((item.clone(), vector));
        }
        all.par_extend(vectors.into_par_iter().map(|(item, vector)| {
            let mut found = recogniser.recognise(&vector);
            found.ranking.truncate(top_k.max(1));
            found.ranking.shrink_to_fit();
            Labelled { item, found, truth: None }
        }));
    }
    Ok(all)
}

/// Folder names under which pictures of none of the classes may lie in a query of class folders.
pub const NONE_NAMES: [&str; 6] =
    ["none-of-these", "none_of_these", "none of these", "none", "unknown", "others"];

/// What pictures really show, from where it is known: a list (`--truth`, or the query's own column of
/// classes), or folders named like the classes. Names of a list that are no class mean none of these;
/// they are given back as words for a warning.
///
/// # Errors
/// If the list cannot be read.
pub fn truths(
    items: &[Item],
    listed: &[Option<String>],
    list: Option<&Path>,
    query: &Path,
    classes: &[String],
) -> Result<(Vec<Option<Truth>>, Option<String>)> {
    let of: HashMap<&str, usize> =
        classes.iter().enumerate().map(|(index, name)| (&**name, index)).collect();
    let mut strange: BTreeMap<String, usize> = BTreeMap::new();
    let mut named = |name: &str| match of.get(name) {
        Some(&class) => Truth::Class(class),
        None => {
            if !NONE_NAMES.contains(&&*name.to_lowercase()) {
                *strange.entry(name.to_owned()).or_default() += 1;
            }
            Truth::None
        }
    };
    let truths: Vec<Option<Truth>> = if let Some(list) = list {
        let mut known: HashMap<PathBuf, Option<String>> = HashMap::new();
        for line in class_folder::list(list)? {
            // Paths may count from the list's folder or from the query's.
            for path in [line.path.clone(), query.join(&line.written)] {
                if let Ok(path) = path.canonicalize() {
                    known.insert(path, line.class.clone());
                }
            }
        }
        let truth = |item: &Item| {
            let class = known.get(&item.file.canonicalize().ok()?)?;
            // A picture that is listed without a class shows none.
            Some(class.as_deref().map_or(Truth::None, &mut named))
        };
        items.iter().map(truth).collect()
    } else if listed.iter().any(Option::is_some) {
        listed.iter().map(|class| class.as_deref().map(&mut named)).collect()
    } else {
        let folder = |item: &Item| item.shown.split_once('/').map(|(folder, _)| folder.to_owned());
        let like_classes = items.iter().filter_map(folder).any(|folder| of.contains_key(&*folder));
        let truth = |item: &Item| {
            let folder = folder(item)?;
            let none = NONE_NAMES.contains(&&*folder.to_lowercase());
            match of.get(&*folder) {
                Some(&class) => Some(Truth::Class(class)),
                None => none.then_some(Truth::None),
            }
        };
        if like_classes { items.iter().map(truth).collect() } else { vec![None; items.len()] }
    };
    let warning = (!strange.is_empty()).then(|| {
        let names: Vec<&str> = strange.keys().take(SHOWN).map(|name| &**name).collect();
        let pictures: usize = strange.values().sum();
        format!(
            "{pictures} pictures are said to show what is no class here ({}{}); they count as none of \
             these",
            names.join(", "),
            if strange.len() > SHOWN { ", ..." } else { "" }
        )
    });
    Ok((truths, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(shown: &str) -> Item {
        Item { file: PathBuf::from(shown), shown: shown.into(), name: shown.into() }
    }

    #[test]
    fn vectors_survive_the_journal() {
        let vector: Vec<f32> =
            [0.1f32, -0.25, 1e-6, 0.0].iter().map(|v| f16::from_f32(*v).to_f32()).collect();
        let mut record = VectorRecord {
            name: "a".into(),
            path: "a.png".into(),
            fingerprint: String::new(),
            run: String::new(),
            vector: encoded(&vector),
            seconds: 0.0,
        };
        assert_eq!(record.vector().unwrap(), vector);
        record.vector = "&".into();
        assert_eq!(record.vector(), None);
    }

    #[test]
    fn folders_named_like_classes_tell_the_truth() {
        let items = ["kiwi/1.png", "Unknown/2.png", "misc/3.png", "4.png"].map(item);
        let classes = ["apple".to_owned(), "kiwi".to_owned()];
        let none = vec![None; 4];
        let (truths, warning) = truths(&items, &none, None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [Some(Truth::Class(1)), Some(Truth::None), None, None]);
        assert!(warning.is_none());
        let strangers = ["misc/3.png", "none/4.png"].map(item);
        let (truths, _) =
            super::truths(&strangers, &none[..2], None, Path::new("q"), &classes).unwrap();
        assert_eq!(truths, [None, None], "no folder is named like a class");
    }

    #[test]
    fn a_list_tells_the_truth_and_what_is_no_class() {
        let folder = tempfile::tempdir().unwrap();
        let query = folder.path().join("query");
        std::fs::create_dir(&query).unwrap();
        for name in ["1.png", "2.png", "3.png"] {
            std::fs::write(query.join(name), b"x").unwrap();
        }
        let list = folder.path().join("truth.csv");
        std::fs::write(&list, "path,class\n1.png,kiwi\nquery/2.png,plum\n").unwrap();
        let items =
            ["1.png", "2.png", "3.png"].map(|name| Item { file: query.join(name), ..item(name) });
        let (truths, warning) =
            truths(&items, &[None, None, None], Some(&list), &query, &["kiwi".to_owned()]).unwrap();
        assert_eq!(truths, [Some(Truth::Class(0)), Some(Truth::None), None]);
        assert!(warning.unwrap().contains("plum"));
    }

    #[test]
    fn the_same_picture_in_two_classes_is_told() {
        let example = |file: &str| Example {
            file: file.into(),
            sha256: "same".into(),
            vector: Vec::new(),
            thumbnail: Vec::new(),
        };
        let class =
            |name: &str, file: &str| Class { name: name.into(), examples: vec![example(file)] };
        let warnings = twins(&[class("a", "a/1.png"), class("b", "b/2.png")]);
        assert!(warnings[0].contains("a/1.png and b/2.png are the same picture"), "{warnings:?}");
    }
}
