//! `report.html` of pictures labelled by a trained few-shot method: the labelled pictures, then the least
//! certain labels first.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kshot_data::atomic;
use kshot_data::class_folder::ClassFolder;
use kshot_data::image;
use kshot_data::overlay;
use kshot_data::query::FailedPicture;
use maud::{Markup, html};
use rayon::prelude::*;

use crate::classify::by_episode::Ranking;
use crate::classify::vectors::THUMBNAIL;
use crate::error::Result;
use crate::report::page::{self, duration, jpeg_uri, meter, percent};

/// Cards at most.
const SHOWN: usize = 200;

/// A labelled query.
#[derive(Debug, Clone)]
pub struct ClassifiedQuery {
    /// Its file.
    pub file: PathBuf,
    /// Its name as people gave it.
    pub shown: String,
    /// Class and probability, likeliest first.
    pub ranking: Ranking,
    /// The class that it is known to show.
    pub truth: Option<usize>,
}

/// What the page is made from.
pub struct EpisodePage<'a> {
    /// The heading.
    pub title: String,
    /// The exact command.
    pub command: String,
    /// The method's name, and what people should know of it.
    pub method: String,
    /// The labelled pictures.
    pub support: &'a ClassFolder,
    /// How many of each class were used.
    pub shots: usize,
    /// The labels.
    pub labelled: &'a [ClassifiedQuery],
    /// The pictures that failed.
    pub failed: &'a [FailedPicture],
    /// How long it took.
    pub seconds: f64,
}

/// The share of known queries whose class was found, and how many are known.
pub fn accuracy(labelled: &[ClassifiedQuery]) -> Option<(f64, usize)> {
    let known: Vec<bool> =
        labelled.iter().filter_map(|one| Some(one.ranking[0].0 == one.truth?)).collect();
    let right = known.iter().filter(|right| **right).count();
    (!known.is_empty()).then(|| (right as f64 / known.len() as f64, known.len()))
}

fn thumbnail(file: &Path) -> Option<String> {
    let picture = image::read(file).ok()?;
    overlay::thumbnail(&picture, THUMBNAIL.0, THUMBNAIL.1).ok()
}

fn picture(thumbnail: Option<&String>, name: &str) -> Markup {
    html! {
        div.view {
            @if let Some(thumbnail) = thumbnail {
                img src=(jpeg_uri(thumbnail)) alt=(name) loading="lazy" decoding="async";
            }
        }
    }
}

/// Writes the page. All text is escaped.
///
/// # Errors
/// If the file cannot be written. A picture that cannot be read any more is shown without its image.
pub fn write(path: &Path, data: &EpisodePage<'_>) -> Result<()> {
    let mut order: Vec<&ClassifiedQuery> = data.labelled.iter().collect();
    order.sort_by(|a, b| a.ranking[0].1.total_cmp(&b.ranking[0].1));
    order.truncate(SHOWN);
    let names = &data.support.classes;
    let mut taken = vec![0; names.len()];
    let used: Vec<_> = data
        .support
        .pictures
        .iter()
        .filter(|picture| {
            taken[picture.class] += 1;
            taken[picture.class] <= data.shots
        })
        .take(SHOWN)
        .collect();
    let support: Vec<_> = used.par_iter().map(|picture| thumbnail(&picture.path)).collect();
    let query: Vec<_> = order.par_iter().map(|one| thumbnail(&one.file)).collect();
    let rate = data.labelled.len() as f64 / data.seconds.max(1e-9);
    let mut tiles = vec![
        ("Pictures", data.labelled.len().to_string(), String::new()),
        ("Classes", names.len().to_string(), format!("{} of each", data.shots)),
        ("Time", duration(data.seconds), format!("{rate:.0} pictures/s")),
    ];
    if let Some((share, known)) = accuracy(data.labelled) {
        tiles.push(("Accuracy", percent(share as f32), format!("of {known} whose class is known")));
    }
    if !data.failed.is_empty() {
        tiles.push(("Failed", data.failed.len().to_string(), String::new()));
    }
    let body = html! {
        header {
            h1 { (data.title) }
            div.muted { "Labels by kshot, " b { (data.method) } "." }
            (page::tiles(&tiles))
        }
        section {
            h2 { "Labelled pictures" }
            ul.grid {
                @for (one, small) in used.iter().zip(&support) {
                    li.card {
                        (picture(small.as_ref(), &names[one.class]))
                        div.words { div.name { (names[one.class]) } }
                    }
                }
            }
        }
        section id="next" {
            h2 { "Least certain first" }
            @if order.len() < data.labelled.len() {
                p.lead { "The " (order.len()) " least certain of " (data.labelled.len()) "." }
            }
            ul.grid {
                @for (one, small) in order.iter().zip(&query) {
                    @let (class, probability) = one.ranking[0];
                    li.card {
                        (picture(small.as_ref(), &one.shown))
                        div.words {
                            div.name title=(names[class]) { (names[class]) }
                            div.row { (meter(probability, None)) span { (percent(probability)) } }
                            div.muted.name title=(one.shown) style="font-weight:400" { (one.shown) }
                            div.chips {
                                @for (other, probability) in one.ranking.iter().skip(1).take(2) {
                                    span.chip { (names[*other]) " " (percent(*probability)) }
                                }
                                @if let Some(truth) = one.truth && truth != class {
                                    span.chip.tag { "is " (names[truth]) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if !data.failed.is_empty() {
            section {
                h2 { "Failed" }
                ul { @for picture in data.failed { li { b { (picture.name) } ": " (picture.error) } } }
            }
        }
        section {
            h2 { "Again" }
            pre { (data.command) }
        }
    };
    atomic::write_with(path, |writer| {
        writer.write_all(page::open(&data.title).as_bytes())?;
        writer.write_all(body.0.as_bytes())?;
        let version = env!("CARGO_PKG_VERSION");
        let footer = format!("Made by kshot {version}. This page fetches nothing.");
        writer.write_all(page::close(&footer).as_bytes())?;
        Ok(())
    })
}
