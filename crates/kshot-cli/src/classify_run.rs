//! `kshot classify --run`: a folder labelled by a method that `kshot train` trained.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::bail;
use kshot::classify::by_episode::Taught;
use kshot::classify::folder;
use kshot::classify::judge::Truth;
use kshot::device;
use kshot::report::classify_csv;
use kshot::report::episode_html::{self, Labelled, PageData};
use kshot_data::class_folder::ClassFolder;
use serde_json::json;

use crate::classify::Place;
use crate::talk::Talk;
use crate::{DONE, SOME_FAILED};

/// What is labelled by what.
pub struct Job<'a> {
    /// The training's folder.
    pub run: &'a Path,
    /// Folder of class folders, or a csv.
    pub support: &'a Path,
    /// Only the first pictures of each class.
    pub shots: Option<usize>,
    /// Pictures to label.
    pub query: &'a Path,
    /// What they really show.
    pub truth: Option<&'a Path>,
    /// Where results go.
    pub place: Place,
    /// Classes listed a picture.
    pub top_k: usize,
    /// Where it is computed.
    pub device: &'a str,
}

/// Labels the pictures; the exit status is returned.
pub fn run(job: &Job<'_>, talk: &Talk) -> anyhow::Result<u8> {
    let started = Instant::now();
    let mut support = ClassFolder::open(job.support)?;
    if let Some(shots) = job.shots {
        support = support.first(shots);
    }
    support.warnings.iter().for_each(|words| talk.warn(words));
    let (items, listed) = folder::items(job.query)?;
    let (truths, odd) = folder::truths(&items, &listed, job.truth, job.query, &support.classes)?;
    odd.iter().for_each(|words| talk.warn(words));
    let taught = Taught::new(job.run, &support, &device::parse(job.device)?)?;
    let most = support.counts().into_iter().max().unwrap_or(0);
    if most > taught.shots() {
        talk.warn(&format!(
            "classes have up to {most} labelled pictures; an episode takes as many of each as the \
             smallest has: {}",
            taught.shots()
        ));
    }
    if taught.is_transductive() {
        talk.warn("this method is transductive: a label depends on the pictures labelled with it");
    }
    let (labels, shots) = (support.classes.len(), taught.shots());
    talk.say(
        json!({"event": "start", "pictures": items.len(), "classes": support.classes,
            "method": taught.method(), "shots": shots}),
        &format!(
            "{}: {} pictures to label, {labels}-way {shots}-shot",
            taught.method(),
            items.len()
        ),
    );
    let bar = talk.bar(items.len());
    let files: Vec<PathBuf> = items.iter().map(|item| item.file.clone()).collect();
    let found = taught.label(&files, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let mut labelled = Vec::new();
    let mut failed = Vec::new();
    for ((item, truth), found) in items.iter().zip(truths).zip(found) {
        match found {
            Ok(ranking) => labelled.push(Labelled {
                file: item.file.clone(),
                shown: item.shown.clone(),
                ranking,
                truth: truth.and_then(|truth| match truth {
                    Truth::Class(class) => Some(class),
                    Truth::None => None,
                }),
            }),
            Err(error) => failed.push((item.shown.clone(), error.to_string())),
        }
    }
    if labelled.is_empty() {
        bail!("none of the pictures could be read; the first: {}: {}", failed[0].0, failed[0].1);
    }
    classify_csv::write_rankings(&job.place.table, &labelled, &support.classes, job.top_k)?;
    let seconds = started.elapsed().as_secs_f64();
    let report = job.place.folder.join("report.html");
    let query = job.query.file_name().unwrap_or(job.query.as_os_str()).to_string_lossy();
    let mode = if taught.is_transductive() { "transductive" } else { "not transductive" };
    let page = PageData {
        title: format!("{query}: {} pictures labelled, {labels} classes", labelled.len()),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        method: format!("{} ({mode})", taught.method()),
        support: &support,
        shots,
        labelled: &labelled,
        failed: &failed,
        seconds,
    };
    episode_html::write(&report, &page)?;
    let accuracy = episode_html::accuracy(&labelled);
    let judged = accuracy.map_or_else(String::new, |(share, known)| {
        format!(", {:.1} % of {known} known ones right", 100.0 * share)
    });
    talk.say(
        json!({"event": "done", "done": labelled.len(), "failed": failed.len(),
            "accuracy": accuracy.map(|(share, _)| share), "seconds": seconds,
            "labels": job.place.table, "report": report}),
        &format!(
            "{} labelled{judged}, {} failed in {seconds:.1} s; {} and {}",
            labelled.len(),
            failed.len(),
            job.place.table.display(),
            report.display()
        ),
    );
    for (name, error) in &failed {
        eprintln!("failed: {name}: {error}");
    }
    Ok(if failed.is_empty() { DONE } else { SOME_FAILED })
}
