//! The output folder of `kshot segment` as labelled pictures: its masks, and the pictures that `run.toml` says they are
//! of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::finding::{Findings, Severity};
use crate::journal::{Journal, LABELLED, PictureRecord};
use crate::label_folder::{FolderPicture, LabelFolder, LabelSource};
use crate::labels::names::Classes;
use crate::query;

/// How the run is described, below the folder.
const RUN: &str = "run.toml";
/// Masks of classes, and pictures of object numbers of the same names.
const MASKS: &str = "masks";
const OBJECTS: &str = "objects";

/// What of `run.toml` tells where the pictures are and what the masks mean.
#[derive(Debug, Deserialize)]
struct RunHead {
    query: PathBuf,
    #[serde(default)]
    working_directory: PathBuf,
    #[serde(default)]
    fingerprint: String,
    #[serde(default)]
    label_next: Vec<String>,
    classes: Vec<String>,
}

/// A result with the pictures it is of.
#[derive(Debug)]
pub struct ResultFolder {
    /// The masks as labels of the pictures.
    pub folder: LabelFolder,
    /// By picture of `folder`, whether its mask is a prediction that the user has not labelled.
    pub predicted: Vec<bool>,
    /// The pictures to label next, by their paths, best first.
    label_next: Vec<String>,
}

/// Whether a folder is what `kshot segment` leaves.
pub fn is_result(folder: &Path) -> bool {
    folder.join(RUN).is_file() && folder.join(MASKS).is_dir()
}

impl ResultFolder {
    /// Opens a result. Pictures are looked for where the run found them (`query` of `run.toml`; a relative path counts
    /// from where the run was started, then from the current folder), or below `images`, by their paths below the query
    /// folder. A picture whose mask was deleted has no label.
    ///
    /// # Errors
    /// If `run.toml` or the journal cannot be understood, or a picture is not where it was: what was looked for is said.
    pub fn open(root: &Path, images: Option<&Path>) -> Result<Self> {
        let head = head(root)?;
        let pictures = finished(root, &head, images)?;
        let base = base(&head, images);
        let mut missing = Vec::new();
        let mut found = Vec::new();
        let mut predicted = Vec::new();
        for Finished { path, mask, labelled } in pictures {
            let file = base.join(&path);
            if !file.is_file() {
                missing.push(path);
                continue;
            }
            // Of a run that told objects apart.
            let objects = root
                .join(OBJECTS)
                .join(Path::new(&mask).strip_prefix(MASKS).unwrap_or(Path::new(&mask)));
            let instances = objects.is_file().then_some(objects);
            let mask = root.join(&mask);
            let labels = mask.is_file().then_some(LabelSource::Mask(mask));
            found.push(FolderPicture { file, name: PathBuf::from(path), labels, instances });
            predicted.push(!labelled);
        }
        if !missing.is_empty() {
            return Err(lost(&head, &base, images, &missing, found.len()).in_file(root.join(RUN)));
        }
        let mut findings = Findings::default();
        if found.iter().all(|picture| picture.labels.is_none()) {
            let todo = "run kshot segment again";
            findings.add(Severity::Error, root, "there is no mask in masks/", todo);
        }
        let folder = LabelFolder::of_masks(
            root,
            found,
            Classes::new(head.classes),
            root.join(RUN),
            findings,
        );
        Ok(Self { folder, predicted, label_next: head.label_next })
    }

    /// The pictures to label next, best first and at most so many, as the result's page lists them.
    pub fn next(&self, most: usize) -> Vec<usize> {
        let place = |path: &String| {
            self.folder.pictures.iter().position(|picture| picture.name == Path::new(path))
        };
        self.label_next.iter().take(most).filter_map(place).collect()
    }
}

/// A finished picture: its path below the query folder, its mask below the result.
struct Finished {
    path: String,
    mask: String,
    labelled: bool,
}

fn head(root: &Path) -> Result<RunHead> {
    let path = root.join(RUN);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::io("read the run file", &path, error))?;
    toml::from_str(&text).map_err(|error| {
        Error::data(format!("this is not a run file of kshot: {error}"))
            .in_file(&path)
            .caused_by(error)
    })
}

/// The folder that the pictures' paths count from.
fn base(head: &RunHead, images: Option<&Path>) -> PathBuf {
    let folder = |path: &Path| {
        // One picture was asked about.
        let parent = || path.parent().unwrap_or(Path::new("")).to_owned();
        if path.is_file() { parent() } else { path.to_owned() }
    };
    match images {
        Some(images) => folder(images),
        None => {
            // Joining an absolute path gives that path.
            let started = head.working_directory.join(&head.query);
            folder(if started.exists() { &started } else { &head.query })
        }
    }
}

/// The pictures that the run finished: by its journal, or, where that was left behind (a copy without hidden files), by
/// the names that the pictures of the query get.
fn finished(root: &Path, head: &RunHead, images: Option<&Path>) -> Result<Vec<Finished>> {
    if root.join(".kshot/records.jsonl").is_file() {
        let mut journal = Journal::<PictureRecord>::read_only(root)?;
        if !head.fingerprint.is_empty() {
            journal.retain(|_, finished| finished.run == head.fingerprint);
        }
        let of = |record: PictureRecord| {
            let labelled = record.flags.iter().any(|flag| flag == LABELLED);
            Finished { path: record.path, mask: record.mask, labelled }
        };
        return journal.records().map(|record| record.map(of)).collect();
    }
    let base = base(head, images);
    if !base.is_dir() {
        return Err(lost(head, &base, images, &[], 0).in_file(root.join(RUN)));
    }
    let masked = |item: query::Item| {
        let mask = format!("masks/{}.png", item.name);
        root.join(&mask).is_file().then_some(Finished { path: item.shown, mask, labelled: false })
    };
    let all: Vec<Finished> = query::items(&base)?.into_iter().filter_map(masked).collect();
    if all.is_empty() {
        return Err(lost(head, &base, images, &[], 0).in_file(root.join(RUN)));
    }
    Ok(all)
}

/// Pictures that are not where they were.
fn lost(
    head: &RunHead,
    base: &Path,
    images: Option<&Path>,
    missing: &[String],
    there: usize,
) -> Error {
    let whose = if images.is_some() { "--images" } else { "the run's query" };
    let shown: Vec<&str> = missing.iter().take(3).map(String::as_str).collect();
    let what = match (missing.len(), there) {
        (0, _) => format!("the masks' pictures are not in {} ({whose})", base.display()),
        (count, 0) => format!(
            "none of the {count} pictures is in {} ({whose}), such as {}",
            base.display(),
            shown.join(", ")
        ),
        (count, there) => format!(
            "{count} of {} pictures are not in {} ({whose}): {}{}",
            count + there,
            base.display(),
            shown.join(", "),
            if count > shown.len() { ", ..." } else { "" }
        ),
    };
    let given = head.query.display();
    Error::data(format!(
        "{what}; the run was given --query {given}. If the pictures were moved, say where they are with --images DIR"
    ))
}

/// By name, the pictures of a folder that patterns choose: `*` stands for any characters, `?` for one; a name without its
/// ending or without its folders chooses too.
///
/// # Errors
/// If a pattern chooses none.
pub fn chosen(folder: &LabelFolder, patterns: &[String]) -> Result<Vec<bool>> {
    let names: HashMap<usize, [String; 4]> = folder
        .pictures
        .iter()
        .enumerate()
        .map(|(index, picture)| {
            let (whole, stem) = (query::slashed(&picture.name), picture.name.with_extension(""));
            let last =
                |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let short = [last(&picture.name), last(&stem)];
            (index, [whole, query::slashed(&stem), short[0].clone(), short[1].clone()])
        })
        .collect();
    let mut chosen = vec![false; folder.pictures.len()];
    for pattern in patterns {
        let mut any = false;
        for (&index, names) in &names {
            if names.iter().any(|name| fits(pattern.as_bytes(), name.as_bytes())) {
                (chosen[index], any) = (true, true);
            }
        }
        if !any {
            let all: Vec<String> =
                folder.pictures.iter().map(|picture| query::slashed(&picture.name)).collect();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let near = crate::names::nearest(pattern, &all)
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            return Err(Error::config(format!(
                "--only {pattern} names none of the {} pictures{near} Valid are their paths and patterns with * and ?, \
                 such as {}",
                all.len(),
                all.first().copied().unwrap_or("*.png")
            ))
            .in_file(&folder.root));
        }
    }
    Ok(chosen)
}

/// Whether a pattern stands for a name.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // The last star, and where in the name it ends: a mismatch lets it take one character more.
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[place] => (at, place) = (at + 1, place + 1),
            _ => match star {
                Some((of, taken)) => {
                    star = Some((of, taken + 1));
                    (at, place) = (of + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_names() {
        for (pattern, name, expected) in [
            ("a.png", "a.png", true),
            ("a*", "a.png", true),
            ("*.png", "b/a.png", true),
            ("*a*b*", "xxaxxbxx", true),
            ("?.png", "a.png", true),
            ("?.png", "aa.png", false),
            ("*b", "ba", false),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
