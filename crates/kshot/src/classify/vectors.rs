//! The vectors of pictures, noted as they are made.
//!
//! Only vectors are kept from run to run (in `OUT/.kshot/vectors.jsonl`): they cost the time, and do not
//! depend on the labelled pictures. So a stopped run goes on where it was, and a folder is labelled
//! anew within seconds after a class was added.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::f16;
use kshot_data::atomic::unwritable;
use kshot_data::class_folder::ClassFolder;
use kshot_data::image;
use kshot_data::journal::{Journal, Record};
use kshot_data::names::listed;
use kshot_data::near_duplicate::difference_hash;
use kshot_data::overlay;
use kshot_data::query::FailedPicture;
use kshot_data::query::{Item, fingerprint};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::classify::copies;
use crate::classify::model_file::{StoredClass, StoredExample};
use crate::error::{Error, Result};
use crate::features::embed::{BATCH, Embedder};
use crate::hash;
use crate::predict::pipeline::overlap;

/// Longer side and bytes at most of a labelled picture's small version.
pub const THUMBNAIL: (u32, usize) = (200, 6_000);
/// How many pictures, and how many kinds of faults, a message shows.
const SHOWN: [usize; 2] = [3, 10];

/// Everything known of one finished picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorRecord {
    /// Its name, unique in the run.
    pub name: String,
    /// Its file relative to the query folder, with `/` between folders.
    pub path: String,
    /// What tells whether the picture has changed.
    pub fingerprint: String,
    /// What tells whether the vector would be the same: encoder, weights, input size, views and
    /// how it multiplies.
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
pub enum EmbeddingEvent<'a> {
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

/// A picture ready for the encoder, its small version, and the seconds that took.
type PreparedInput = (Vec<f32>, SmallVersion, f64);

/// What is kept of a labelled picture besides its vector.
#[derive(Default)]
struct SmallVersion {
    thumbnail: Vec<u8>,
    /// What it shows, coarsely.
    hash: u64,
}

/// A picture that went through the encoder.
struct EmbeddedPicture {
    vector: Vec<f32>,
    small: SmallVersion,
    seconds: f64,
}

/// Runs pictures through the encoder, a few at a time, while the next are decoded; `done` gets them in
/// their order and says whether to go on.
fn embed_all<I: Clone + Send + Sync>(
    embedder: &Embedder,
    inputs: &[I],
    path: impl Fn(&I) -> &Path + Send + Sync,
    thumbnails: bool,
    mut done: impl FnMut(I, Result<EmbeddedPicture>) -> bool + Send,
) {
    let prepare = |input: &I| -> Result<PreparedInput> {
        let started = Instant::now();
        let picture = image::read(path(input))?;
        let prepared = embedder.prepare(&picture)?;
        let small = if thumbnails {
            let text = overlay::thumbnail(&picture, THUMBNAIL.0, THUMBNAIL.1)?;
            let thumbnail = STANDARD.decode(text).unwrap_or_default();
            SmallVersion { thumbnail, hash: difference_hash(&picture) }
        } else {
            SmallVersion::default()
        };
        Ok((prepared, small, started.elapsed().as_secs_f64()))
    };
    overlap(
        inputs.chunks(BATCH),
        |chunk| Ok::<_, ()>(chunk.par_iter().map(prepare).collect::<Vec<_>>()),
        |_, prepared: Vec<Result<PreparedInput>>| {
            let started = Instant::now();
            let mut good = Vec::new();
            let rest: Vec<Result<(SmallVersion, f64)>> = prepared
                .into_iter()
                .map(|one| {
                    one.map(|(prepared, small, seconds)| {
                        good.push(prepared);
                        (small, seconds)
                    })
                })
                .collect();
            let mut vectors = embedder.embed(&good).into_iter();
            let each = started.elapsed().as_secs_f64() / good.len().max(1) as f64;
            Ok(rest
                .into_iter()
                .map(|one| {
                    one.and_then(|(small, seconds)| {
                        let vector = vectors.next().ok_or_else(|| Error::data("no vector"))?;
                        Ok(EmbeddedPicture { vector, small, seconds: seconds + each })
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

/// The labelled pictures as the recogniser keeps them, and what is odd about them, in words. `go_on` is
/// told how many are done, and says whether to go on; `None` where it says no.
///
/// # Errors
/// If any cannot be read: each kind of fault is told once, with the first such pictures.
pub fn examples(
    embedder: &Embedder,
    folder: &ClassFolder,
    mut go_on: impl FnMut(usize) -> bool + Send,
) -> Result<Option<(Vec<StoredClass>, Vec<String>)>> {
    let mut classes: Vec<StoredClass> = folder
        .classes
        .iter()
        .map(|name| StoredClass { name: name.clone(), examples: Vec::new() })
        .collect();
    let mut hashes = vec![Vec::new(); classes.len()];
    let mut wrong = Vec::new();
    let (mut finished, mut whole) = (0, true);
    embed_all(
        embedder,
        &folder.pictures,
        |picture| &picture.path,
        true,
        |picture, seen| {
            let example = seen.and_then(|seen| {
                let example = StoredExample {
                    file: picture.path.display().to_string(),
                    sha256: hash::of_file(&picture.path)?,
                    vector: seen.vector,
                    thumbnail: seen.small.thumbnail,
                };
                Ok((example, seen.small.hash))
            });
            match example {
                Ok((example, hash)) => {
                    classes[picture.class].examples.push(example);
                    hashes[picture.class].push(hash);
                }
                Err(error) => {
                    wrong.push((picture.path.display().to_string(), error.message().to_owned()));
                }
            }
            finished += 1;
            whole = go_on(finished) || finished == folder.pictures.len();
            whole
        },
    );
    if !whole {
        return Ok(None);
    }
    if !wrong.is_empty() {
        return Err(unreadable(&wrong));
    }
    let warnings = copies::told(&classes, &hashes);
    Ok(Some((classes, warnings)))
}

/// The pictures that cannot be read, by what is wrong with them.
fn unreadable(wrong: &[(String, String)]) -> Error {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (file, what) in wrong {
        kinds.entry(what).or_default().push(file);
    }
    let mut lines: Vec<String> = kinds
        .iter()
        .take(SHOWN[1])
        .map(|(what, files)| format!("\n  {}: {what}", listed(files, SHOWN[0])))
        .collect();
    if kinds.len() > SHOWN[1] {
        lines.push(format!("\n  and {} other faults", kinds.len() - SHOWN[1]));
    }
    Error::data(format!(
        "{} of the labelled pictures cannot be read; mend or remove {}:{}",
        wrong.len(),
        if wrong.len() == 1 { "it" } else { "them" },
        lines.concat()
    ))
}

/// Runs `items` through the encoder and notes their vectors in the journal. `on_event` is told of every
/// picture, and says whether to go on.
///
/// # Errors
/// If the output folder cannot be written to (nothing more is tried then).
pub fn embed(
    embedder: &Embedder,
    items: &[Item],
    journal: &mut Journal<VectorRecord>,
    run: &str,
    mut on_event: impl FnMut(EmbeddingEvent<'_>) -> bool + Send,
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
                Ok(EmbeddedPicture { vector, seconds, .. }) => {
                    on_event(EmbeddingEvent::Done { item: &item, vector: &vector, seconds })
                }
                Err(error) => {
                    let picture = FailedPicture { name: item.shown, error: error.to_string() };
                    let go_on = on_event(EmbeddingEvent::Failed(&picture));
                    failed.push(picture);
                    if unwritable(&error) {
                        stopped = Some(error);
                        return false;
                    }
                    go_on
                }
            }
        },
    );
    match stopped {
        Some(error) => Err(error),
        None => Ok(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn pictures_that_cannot_be_read_are_told_by_kind() {
        let mut wrong: Vec<(String, String)> =
            (0..9).map(|index| (format!("a/{index}.png"), "the file is empty".into())).collect();
        assert!(unreadable(&wrong[..1]).to_string().contains("1 of the labelled pictures"));
        wrong.push(("b/text.png".into(), "not a picture".into()));
        let said = unreadable(&wrong).to_string();
        let lines = [
            "10 of the labelled pictures cannot be read; mend or remove them:",
            "  b/text.png: not a picture",
            "  a/0.png, a/1.png, a/2.png and 6 more: the file is empty",
        ];
        for line in lines {
            assert!(said.lines().any(|of| of.ends_with(line)), "{line} in {said}");
        }
        assert_eq!(said.lines().count(), 3);
    }
}
