//! `report.html` of `kshot classify`: the least certain labels first, each beside the labelled picture
//! that is most like it.
//!
//! Small pictures of labelled ones come from the model; those of the query are made here, of the few
//! hundred that are shown. A labelled picture stands in the page once however often it is shown.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kshot_data::atomic;
use kshot_data::image;
use kshot_data::overlay;
use kshot_data::query::FailedPicture;
use maud::{Markup, PreEscaped, html};
use rayon::prelude::*;

use crate::classify::Recogniser;
use crate::classify::folder::ClassifiedPicture;
use crate::classify::judge::{Judgement, Share, Truth};
use crate::classify::model_file::ModelFile;
use crate::classify::sort::NONE;
use crate::classify::vectors::THUMBNAIL;
use crate::error::Result;
use crate::report::classify_about::{classes, failed, go_on, method};
use crate::report::classify_judged;
use crate::report::page::{self, duration, href, jpeg_uri, meter, percent};
use crate::report::run::Counts;

/// Cards of accepted pictures, and of those that are none of these.
const ACCEPTED: usize = 160;
const REFUSED: usize = 60;

/// What the page is made from.
pub struct ClassificationPage<'a> {
    /// The heading.
    pub title: String,
    /// The exact command.
    pub command: String,
    /// When the run began, RFC 3339.
    pub started: String,
    /// How long the whole run took.
    pub seconds: f64,
    /// How many pictures went which way.
    pub counts: Counts,
    /// The labelled pictures.
    pub model: &'a ModelFile,
    /// What was fitted to them.
    pub recogniser: &'a Recogniser,
    /// The labels.
    pub labelled: &'a [ClassifiedPicture],
    /// How good they are, where the truth is known.
    pub judgement: Option<Judgement>,
    /// The pictures that failed.
    pub failed: &'a [FailedPicture],
    /// The name of the table of labels.
    pub table: String,
    /// The name of the list of moved pictures, where there is one.
    pub moved: Option<String>,
}

/// A card to be shown.
struct Card<'a> {
    one: &'a ClassifiedPicture,
    thumbnail: Option<String>,
}

/// Writes the page. All text is escaped: names of pictures and classes may hold anything.
///
/// # Errors
/// If the file cannot be written. A picture that cannot be read any more is shown without its image.
pub fn write(path: &Path, data: &ClassificationPage<'_>) -> Result<PathBuf> {
    let mut accepted: Vec<&ClassifiedPicture> =
        data.labelled.iter().filter(|o| o.found.accepted).collect();
    let mut refused: Vec<&ClassifiedPicture> =
        data.labelled.iter().filter(|o| !o.found.accepted).collect();
    accepted.sort_by(|a, b| a.found.probability().total_cmp(&b.found.probability()));
    // Nearest to the threshold first: these are the likeliest mistakes.
    refused.sort_by(|a, b| b.found.familiarity.total_cmp(&a.found.familiarity));
    let (sure, outside) = (accepted.len(), refused.len());
    accepted.truncate(ACCEPTED);
    refused.truncate(REFUSED);
    let (accepted, refused) = (cards(&accepted), cards(&refused));
    let used: BTreeSet<usize> =
        accepted.iter().chain(&refused).map(|card| card.one.found.nearest.0).collect();
    let folder = path.parent().unwrap_or(Path::new("."));
    atomic::write_with(path, |writer| {
        writer.write_all(page::open(&data.title).as_bytes())?;
        put(writer, style(data, &used))?;
        put(writer, heading(data))?;
        if let Some(judgement) = &data.judgement {
            let names = &data.recogniser.examples().classes;
            put(writer, classify_judged::section(judgement, names))?;
        }
        put(writer, gallery_heading(sure, accepted.len()))?;
        for card in &accepted {
            put(writer, markup(data, card, folder))?;
        }
        writer.write_all(b"</ul></section>\n")?;
        if outside > 0 {
            put(writer, refused_heading(data, outside, refused.len()))?;
            for card in &refused {
                put(writer, markup(data, card, folder))?;
            }
            writer.write_all(b"</ul></section>\n")?;
        }
        put(writer, classes(data))?;
        put(writer, method(data))?;
        put(writer, failed(data))?;
        put(writer, go_on(data))?;
        let version = env!("CARGO_PKG_VERSION");
        let footer =
            format!("Made by kshot {version}, {}. This page fetches nothing.", data.started);
        writer.write_all(page::close(&footer).as_bytes())?;
        Ok(())
    })?;
    Ok(path.to_owned())
}

fn put(writer: &mut atomic::AtomicWriter<'_>, markup: Markup) -> std::io::Result<()> {
    writer.write_all(markup.0.as_bytes())?;
    writer.write_all(b"\n")
}

fn cards<'a>(shown: &[&'a ClassifiedPicture]) -> Vec<Card<'a>> {
    shown.par_iter().map(|one| card_of(one)).collect()
}

fn card_of(one: &ClassifiedPicture) -> Card<'_> {
    let picture = image::read(&one.item.file);
    let thumbnail =
        picture.and_then(|picture| overlay::thumbnail(&picture, THUMBNAIL.0, THUMBNAIL.1)).ok();
    Card { one, thumbnail }
}

/// The labelled pictures that are shown, each once, as backgrounds.
fn style(data: &ClassificationPage<'_>, used: &BTreeSet<usize>) -> Markup {
    let mut rules = String::from(
        ".pair{display:grid;grid-template-columns:1fr 1fr;gap:1px;background:var(--line)}\
         .pair>*{aspect-ratio:1;background:var(--well) center/contain no-repeat;position:relative}\
         .pair .view{aspect-ratio:1}\
         .pair small{position:absolute;left:6px;bottom:5px;padding:0 6px;border-radius:5px;font-size:11px;\
         background:rgb(0 0 0/.55);color:#fff;z-index:1}\
         .wrong{background:var(--bad-soft);color:var(--bad);border-radius:5px;padding:0 7px}\
         .two>.panel{margin-top:0}\
         .wide{grid-template-columns:repeat(auto-fill,minmax(260px,1fr))}",
    );
    for &index in used {
        if let Some(example) = data.model.example(index) {
            let uri = jpeg_uri(&STANDARD.encode(&example.thumbnail));
            rules.push_str(&format!(".e{index}{{background-image:url({uri})}}"));
        }
    }
    html! { style { (PreEscaped(rules)) } }
}

fn heading(data: &ClassificationPage<'_>) -> Markup {
    let Counts { done, skipped, .. } = data.counts;
    let rate = if data.seconds > 0.0 { done as f64 / data.seconds } else { 0.0 };
    let accepted = data.labelled.iter().filter(|one| one.found.accepted).count();
    let examples = data.recogniser.examples();
    let choice = data.recogniser.choice();
    let earlier = if skipped > 0 { format!("{skipped} looked at before") } else { String::new() };
    let mut tiles = vec![
        ("Pictures", data.labelled.len().to_string(), earlier),
        ("Accepted", accepted.to_string(), String::new()),
        ("None of these", (data.labelled.len() - accepted).to_string(), String::new()),
        (
            "Classes",
            examples.classes.len().to_string(),
            format!("{} pictures", examples.labels.len()),
        ),
    ];
    match (&data.judgement, &choice.expected) {
        (Some(Judgement { accuracy: Some(Share { mean, interval: [low, high], .. }), .. }), _) => {
            let interval = format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high);
            tiles.push(("Accuracy", percent(*mean as f32), interval));
        }
        (_, Some(expected)) => {
            let [low, high] = expected.interval;
            let interval = format!("{:.0} to {:.0} %, held out", 100.0 * low, 100.0 * high);
            tiles.push(("Expected accuracy", percent(expected.accuracy as f32), interval));
        }
        _ => {}
    }
    tiles.push(("Time", duration(data.seconds), format!("{rate:.1} pictures/s")));
    if !data.failed.is_empty() {
        tiles.push(("Failed", data.failed.len().to_string(), String::new()));
    }
    html! {
        header {
            h1 { (data.title) }
            div.muted { "Labels by kshot from a few pictures a class, method " b { (choice.method) } "." }
            (page::tiles(&tiles))
            @if !data.failed.is_empty() {
                p.notice {
                    (data.failed.len())
                    (if data.failed.len() == 1 { " picture" } else { " pictures" })
                    " could not be labelled. " a href="#failed" { "See why" } "."
                }
            }
        }
    }
}

fn gallery_heading(all: usize, shown: usize) -> Markup {
    html! {
        (PreEscaped("<section id=\"next\">"))
        h2 { "Least certain first" }
        p.lead {
            "Each picture beside the labelled one of its class that is most like it. A label on one of \
             the first teaches most: put it into its class folder and run again."
            @if shown < all { " The " (shown) " least certain of " (all) " are here." }
        }
        div.controls id="controls" hidden {
            input id="filter" type="search" placeholder="Filter by name or class" aria-label="Filter by name or class";
            label {
                "Sort by"
                select id="order" autocomplete="off" {
                    option value="unsure" selected { "least certain first" }
                    option value="sure" { "most certain first" }
                    option value="name" { "name" }
                }
            }
            span.muted id="count" {}
        }
        (PreEscaped("<ul class=\"grid wide\" id=\"gallery\">"))
    }
}

fn refused_heading(data: &ClassificationPage<'_>, all: usize, shown: usize) -> Markup {
    html! {
        (PreEscaped("<section id=\"none\">"))
        h2 { "None of these" }
        p.lead {
            "Pictures unlike all classes, the nearest misses first, beside the labelled picture of the \
             likeliest class (" (data.recogniser.choice().rejection.how) ")."
            @if shown < all { " The nearest " (shown) " of " (all) " are here." }
        }
        (PreEscaped("<ul class=\"grid wide\">"))
    }
}

fn markup(data: &ClassificationPage<'_>, card: &Card<'_>, folder: &Path) -> Markup {
    let (one, found) = (card.one, &card.one.found);
    let names = &data.recogniser.examples().classes;
    let class = &names[found.class()];
    let file = data.model.example(found.nearest.0).map_or("", |example| &example.file);
    let probability = found.probability();
    let search = format!("{class} {}", if found.accepted { "" } else { NONE });
    let wrong = match one.truth {
        Some(Truth::Class(truth)) if truth != found.class() => Some(&*names[truth]),
        Some(Truth::None) if found.accepted => Some(NONE),
        _ => None,
    };
    html! {
        li.card data-n=(one.item.shown) data-c=(format!("{probability:.4}")) data-f=(search) {
            div.pair {
                a.view href=[relative(folder, &one.item.file)] data-title=(one.item.shown) target="_blank" {
                    @if let Some(thumbnail) = &card.thumbnail {
                        img src=(jpeg_uri(thumbnail)) alt=(one.item.shown) loading="lazy" decoding="async";
                    }
                }
                div class=(format!("e{}", found.nearest.0)) role="img" aria-label=(file) title=(file) {
                    small { "labelled" }
                }
            }
            div.words {
                div.name title=(class) { (class) }
                div.row { (meter(probability, None)) span { (percent(probability)) } }
                div.muted.name title=(one.item.shown) style="font-weight:400" { (one.item.shown) }
                div.chips {
                    @for (other, probability) in found.ranking.iter().skip(1).take(2) {
                        span.chip { (names[*other]) " " (percent(*probability)) }
                    }
                    @if !found.accepted { span.chip.tag { "none of these" } }
                    @if let Some(truth) = wrong { span.chip.wrong { "is " (truth) } }
                }
            }
        }
    }
}

/// The address of a file as seen from a folder, where both are known.
fn relative(folder: &Path, file: &Path) -> Option<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (from, to) = (folder.canonicalize().ok()?, file.canonicalize().ok()?);
    let shared = from.iter().zip(to.iter()).take_while(|(a, b)| a == b).count();
    let mut parts: Vec<String> = from.iter().skip(shared).map(|_| "..".to_owned()).collect();
    parts.extend(to.iter().skip(shared).map(|part| href(&part.to_string_lossy())));
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::heads;
    use crate::classify::judge::judge;
    use crate::classify::model_file::{Origin, StoredClass, StoredExample};
    use crate::classify::reject::Keep;
    use crate::features::embed::InputViews;
    use kshot_data::query::Item;

    #[test]
    fn hostile_names_stay_text_and_missing_pictures_do_no_harm() {
        let hostile = "<script>alert(1)</script>\" onload=\"x";
        let class = |name: &str, at: usize| StoredClass {
            name: name.into(),
            examples: (0..2)
                .map(|index| StoredExample {
                    file: format!("{name}/{index}.png"),
                    sha256: String::new(),
                    vector: (0..4)
                        .map(|i| if i == at { 1.0 } else { 0.1 * index as f32 })
                        .collect(),
                    thumbnail: vec![1, 2, 3],
                })
                .collect(),
        };
        let origin = Origin {
            encoder: "efficientnet-lite0".into(),
            weights_sha256: String::new(),
            input_views: InputViews::default(),
        };
        let model = ModelFile::new(origin, vec![class("plum", 0), class(hostile, 1)]);
        let recogniser =
            Recogniser::fit(model.examples(), &heads::methods(), Keep::Share(0.5)).unwrap();
        let labelled: Vec<ClassifiedPicture> = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
            .iter()
            .map(|vector| ClassifiedPicture {
                item: Item { file: hostile.into(), shown: hostile.into(), name: hostile.into() },
                found: recogniser.recognise(vector),
                truth: Some(Truth::Class(0)),
            })
            .collect();
        let known: Vec<_> = labelled.iter().filter_map(|one| one.judged(5)).collect();
        let failed = [FailedPicture { name: hostile.into(), error: "cut < off".into() }];
        let data = ClassificationPage {
            title: "a <b>".into(),
            command: "kshot".into(),
            started: String::new(),
            seconds: 1.0,
            counts: Counts::default(),
            model: &model,
            recogniser: &recogniser,
            labelled: &labelled,
            judgement: Some(judge(&known)),
            failed: &failed,
            table: "labels.csv".into(),
            moved: Some("moved.csv".into()),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = write(&folder.path().join("report.html"), &data).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.matches("<script>").count(), 1, "only our own");
        assert!(!text.contains("\" onload=\""));
        assert!(text.contains("cut &lt; off") && text.contains("id=\"none\""));
        assert!(!text.contains("http:") && !text.contains("https:"), "no outside address");
        assert!(text.ends_with("</html>\n") && !text.contains("NaN"));
    }

    #[test]
    fn addresses_are_relative() {
        let folder = tempfile::tempdir().unwrap();
        let query = folder.path().join("a b");
        std::fs::create_dir_all(&query).unwrap();
        std::fs::create_dir_all(folder.path().join("out")).unwrap();
        std::fs::write(query.join("1.png"), b"").unwrap();
        let address = relative(&folder.path().join("out"), &query.join("1.png")).unwrap();
        assert_eq!(address, "../a%20b/1.png");
        assert_eq!(relative(folder.path(), &query.join("gone.png")), None);
    }
}
