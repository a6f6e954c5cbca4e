//! `report.html`: one file to look at, to send on and to decide from.
//!
//! The page is streamed from the journal: in memory there is a line of numbers per picture, and one
//! thumbnail at a time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use kshot_data::atomic;
use kshot_data::journal::{Journal, PictureRecord};
use kshot_data::palette::Palette;
use kshot_data::query::FailedPicture;
use maud::{Markup, html};

use crate::error::Result;
use crate::report::correct::{self, Correction};
use crate::report::html_about::{failed, go_on, method, support};
use crate::report::next::SuggestedPicture;
use crate::report::page::{self, duration, href, jpeg_uri, meter, percent};
use crate::report::run::Counts;

/// Thumbnails inside the gallery, the least certain pictures'; the others are links. At 11 kB each
/// (8 kB in base64) the page stays below 3 MB plus half a kilobyte per picture.
const INLINE: usize = 200;

/// What the page says beside what the journal holds.
#[derive(Debug, Clone, Default)]
pub struct ReportData {
    /// The heading, such as `nuclei: 42 pictures segmented from 6`.
    pub title: String,
    /// The exact command, quoted so that it can be pasted into a shell.
    pub command: String,
    /// The folder that pictures' paths count from, absolute; `None` where they cannot be shown.
    pub pictures: Option<PathBuf>,
    /// When the run began, RFC 3339.
    pub started: String,
    /// How long the whole run took.
    pub seconds: f64,
    /// How many pictures went which way.
    pub counts: Counts,
    /// The names of the classes; class `i + 1` of the masks is item `i`.
    pub classes: Vec<String>,
    /// The colours of the masks.
    pub palette: Palette,
    /// The labelled pictures.
    pub support: Vec<SupportShown>,
    /// The method that made the masks, such as `probe`.
    pub method: String,
    /// Why this method, in a sentence or two.
    pub why: String,
    /// The mean IoU to expect of new pictures, in words: a figure and what lies around it; `None` where nothing is
    /// known.
    pub expected: Option<(String, String)>,
    /// The same by class; `None` where no held-out label holds it.
    pub expected_classes: Vec<Option<String>>,
    /// Objects of all pictures; `None` where they are not told apart.
    pub objects: Option<usize>,
    /// The methods that were compared; empty if there was no choice.
    pub candidates: Vec<MethodTrial>,
    /// Lines of text to show with the method, such as how expected IoU was measured.
    pub notes: Vec<String>,
    /// The pictures to label next, the most useful first.
    pub next: Vec<SuggestedPicture>,
    /// The pictures that failed, all of them.
    pub failed: Vec<FailedPicture>,
    /// How masks are corrected and come back; `None` where no labelled pictures were learnt from.
    pub correct: Option<Correction>,
}

/// A labelled picture as the page shows it.
#[derive(Debug, Clone, Default)]
pub struct SupportShown {
    /// The picture's file.
    pub name: String,
    /// How it was labelled, in words, such as `scribble, 2 % of the pixels`.
    pub how: String,
    /// The classes it shows.
    pub classes: Vec<u8>,
    /// The picture with its labels on it, a JPEG in base64 (see [`kshot_data::overlay::thumbnail`]).
    pub thumbnail: String,
}

/// A method that was tried on the support.
#[derive(Debug, Clone, Default)]
pub struct MethodTrial {
    /// The method's name.
    pub name: String,
    /// Whether it made the masks.
    pub chosen: bool,
    /// The mean of the classes' expected IoU, 0..1.
    pub mean_iou: Option<f32>,
    /// Expected IoU of each class, 0..1, in the order of the classes; none where it could not be
    /// measured (the class is in one picture only, for instance).
    pub class_iou: Vec<Option<f32>>,
    /// How long the trial took.
    pub seconds: Option<f64>,
}

/// The little that is kept of every picture while the page is made.
struct MethodLine {
    name: String,
    confidence: f32,
    /// Whether its thumbnail stands in the page.
    inline: bool,
}

/// Sums of one class over all pictures.
#[derive(Default, Clone)]
struct Total {
    pictures: usize,
    area: u64,
    objects: usize,
    /// Sum of area times confidence.
    certain: f64,
}

/// Writes `OUT/report.html` from the journal and `data`. All text is escaped: names of pictures and
/// classes may hold anything.
///
/// # Errors
/// If the journal cannot be read or the file not written.
pub fn write(journal: &Journal, data: &ReportData) -> Result<PathBuf> {
    let path = journal.out().join("report.html");
    let mut lines = Vec::with_capacity(journal.finished().len());
    let mut totals = vec![Total::default(); data.classes.len()];
    let (mut pixels, mut none, mut sum) = (0u64, 0, 0.0);
    for record in journal.records() {
        let record = record?;
        pixels += u64::from(record.width) * u64::from(record.height);
        none += usize::from(record.classes.is_empty());
        sum += f64::from(record.confidence);
        for class in &record.classes {
            if let Some(total) = totals.get_mut(usize::from(class.class).wrapping_sub(1)) {
                total.pictures += 1;
                total.area += class.area;
                let objects = record.objects.as_ref();
                total.objects += objects.map_or(0, |objects| objects.of_class(class.class));
                total.certain += class.area as f64 * f64::from(class.confidence);
            }
        }
        let PictureRecord { name, confidence, .. } = record;
        lines.push(MethodLine { name, confidence, inline: false });
    }
    let mut unsure: Vec<usize> = (0..lines.len()).collect();
    unsure.sort_by(|&a, &b| lines[a].confidence.total_cmp(&lines[b].confidence));
    for &index in unsure.iter().take(INLINE) {
        lines[index].inline = true;
    }
    // Where not all pictures have a thumbnail, those that have one come first.
    let by_name = lines.len() <= INLINE;
    let order: Vec<usize> = if by_name { (0..lines.len()).collect() } else { unsure.clone() };
    let mean = if lines.is_empty() { 0.0 } else { (sum / lines.len() as f64) as f32 };

    atomic::write_with(&path, |writer| {
        writer.write_all(page::open(&data.title).as_bytes())?;
        put(writer, heading(data, lines.len(), none, mean))?;
        if !data.next.is_empty() {
            put(writer, next_heading())?;
            for SuggestedPicture { name, .. } in &data.next {
                let record = journal.read(name)?;
                put(writer, card(data, &record, true, true))?;
            }
            writer.write_all(b"</ul></section>\n")?;
        }
        if let Some(correct) = data.correct.as_ref().filter(|_| !lines.is_empty()) {
            put(writer, correct::section(correct))?;
        }
        put(writer, areas(data, &totals, pixels, lines.len()))?;
        put(writer, support(data))?;
        put(writer, method(data))?;
        put(writer, gallery_heading(data, lines.len(), by_name))?;
        for &index in &order {
            let record = journal.read(&lines[index].name)?;
            put(writer, card(data, &record, lines[index].inline, false))?;
        }
        writer.write_all(b"</ul></section>\n")?;
        put(writer, failed(data))?;
        put(writer, go_on(data))?;
        let version = env!("CARGO_PKG_VERSION");
        let footer =
            format!("Made by kshot {version}, {}. This page fetches nothing.", data.started);
        writer.write_all(page::close(&footer).as_bytes())?;
        Ok(())
    })?;
    Ok(path)
}

fn put(writer: &mut atomic::AtomicWriter<'_>, markup: Markup) -> std::io::Result<()> {
    writer.write_all(markup.0.as_bytes())?;
    writer.write_all(b"\n")
}

fn heading(data: &ReportData, pictures: usize, none: usize, mean: f32) -> Markup {
    let Counts { done, skipped, .. } = data.counts;
    let rate = if data.seconds > 0.0 { done as f64 / data.seconds } else { 0.0 };
    let earlier =
        if skipped > 0 { format!("{skipped} from an earlier run") } else { String::new() };
    let empty = if none > 0 { format!("{none} without any") } else { String::new() };
    let names = data.support.len();
    let mut tiles = Vec::new();
    if let Some(expected) = &data.expected {
        let (figure, around) = expected.clone();
        tiles.push(("Expected IoU", figure, format!("{around}, of new pictures like yours")));
    }
    tiles.extend([
        ("Pictures", pictures.to_string(), earlier),
        ("Labelled by you", names.to_string(), String::new()),
        ("Classes", data.classes.len().to_string(), empty),
    ]);
    if let Some(objects) = data.objects {
        let each = objects as f64 / pictures.max(1) as f64;
        tiles.push(("Objects", thousands(objects as u64), format!("{each:.1} a picture")));
    }
    tiles.extend([
        ("Estimated IoU", percent(mean), "mean over the pictures".to_owned()),
        ("Time", duration(data.seconds), format!("{rate:.1} pictures/s")),
    ]);
    if !data.failed.is_empty() {
        tiles.push(("Failed", data.failed.len().to_string(), String::new()));
    }
    html! {
        header {
            h1 { (data.title) }
            div.muted { "Masks by kshot from a handful of labels, method " b { (data.method) } "." }
            (page::tiles(&tiles))
            @if !data.failed.is_empty() {
                p.notice {
                    (data.failed.len())
                    (if data.failed.len() == 1 { " picture" } else { " pictures" })
                    " could not be segmented. " a href="#failed" { "See why" } "."
                }
            }
        }
    }
}

fn next_heading() -> Markup {
    html! {
        (maud::PreEscaped("<section id=\"next\">"))
        h2 { "Label these next" }
        p.lead {
            "One after the other, the picture that is most like many whose masks are in doubt: a label on it teaches \
             more than one on a picture that is already right, or like no other. Hatched areas are in doubt."
        }
        (maud::PreEscaped("<ul class=\"grid\">"))
    }
}

pub(super) fn class_name(data: &ReportData, class: u8) -> String {
    let name = data.classes.get(usize::from(class).wrapping_sub(1));
    name.cloned().unwrap_or_else(|| format!("class {class}"))
}

pub(super) fn dot(data: &ReportData, class: u8) -> Markup {
    html! { i.dot style=(format!("background:{}", data.palette.css(class))) {} }
}

/// A flag in words; ones unknown here are shown as they are.
fn flag_words(flag: &str) -> &str {
    match flag {
        "none-of-these" => "none of the classes",
        "unlike" => "unlike the labelled pictures",
        "uncertain" => "uncertain",
        other => other,
    }
}

/// Why a picture stands under "Label these next".
fn reason(data: &ReportData, record: &PictureRecord) -> String {
    let least = record.classes.iter().min_by(|a, b| a.confidence.total_cmp(&b.confidence));
    match least {
        None => "No class was found here; if there is one, label it.".into(),
        Some(class) if record.classes.len() == 1 => {
            format!("{}: {} sure", class_name(data, class.class), percent(class.confidence))
        }
        Some(class) => {
            let name = class_name(data, class.class);
            format!("Least sure of {name}: {}", percent(class.confidence))
        }
    }
}

fn card(data: &ReportData, record: &PictureRecord, inline: bool, next: bool) -> Markup {
    let mut areas = vec![0.0; data.classes.len()];
    for class in &record.classes {
        if let Some(area) = areas.get_mut(usize::from(class.class).wrapping_sub(1)) {
            *area = class.fraction;
        }
    }
    let mut numbers = String::new();
    if !next {
        for (index, area) in areas.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = match area {
                0.0 => write!(numbers, "{comma}"),
                _ => write!(numbers, "{comma}{area:.5}"),
            };
        }
    }
    let link = (!record.overlay.is_empty()).then(|| href(&record.overlay));
    let photo = data.pictures.as_ref().map(|folder| page::file_href(&folder.join(&record.path)));
    let mut largest: Vec<_> = record.classes.iter().collect();
    largest.sort_by_key(|class| std::cmp::Reverse(class.area));
    let flags = record.flags.join(" ");
    html! {
        li.card data-n=[(!next).then_some(&record.path)] data-c=[(!next).then(|| format!("{:.4}", record.confidence))]
            data-a=[(!next).then_some(numbers)] data-f=[(!next && !flags.is_empty()).then_some(&flags)] {
            @if inline && !record.thumbnail.is_empty() {
                a.view href=[link] data-title=(record.path) data-photo=[&photo] target="_blank" {
                    img src=(jpeg_uri(&record.thumbnail)) alt=(format!("overlay of {}", record.path)) loading="lazy" decoding="async";
                }
            } @else if link.is_some() {
                a.view.plain href=[link] data-title=(record.path) data-photo=[&photo] target="_blank" { "Show the overlay" }
            }
            div.words {
                div.name title=(record.path) { (record.path) }
                div.row { (meter(record.confidence, None)) span { (percent(record.confidence)) } }
                @if next { div.muted { (reason(data, record)) } }
                div.chips {
                    @for class in largest.iter().take(4) {
                        span.chip {
                            (dot(data, class.class)) (class_name(data, class.class)) " " (percent(class.fraction))
                            @if let Some(objects) = &record.objects { " × " (objects.of_class(class.class)) }
                        }
                    }
                    @if largest.len() > 4 { span.chip { "+ " (largest.len() - 4) } }
                    @for flag in &record.flags { span.chip.tag { (flag_words(flag)) } }
                }
            }
        }
    }
}

fn areas(data: &ReportData, totals: &[Total], pixels: u64, pictures: usize) -> Markup {
    let share = |area: u64| if pixels > 0 { area as f32 / pixels as f32 } else { 0.0 };
    let largest = totals.iter().map(|total| share(total.area)).fold(f32::MIN_POSITIVE, f32::max);
    html! {
        section id="areas" {
            h2 { "Class areas" }
            p.lead { "Over all pixels of all pictures; per picture they stand in labels.csv." }
            div.panel.scroll {
                table {
                    thead { tr {
                        th { "Class" } th.number { "Pictures" } th.number { "Pixels" }
                        @if data.objects.is_some() { th.number { "Objects" } }
                        th.number { "Expected IoU" } th.number { "Pixels expected right" } th.number { "Share" } th.bar {}
                    } }
                    tbody {
                        @for (class, (name, total)) in (1u8..).zip(data.classes.iter().zip(totals)) {
                            tr {
                                td.text { span.chip { (dot(data, class)) (name) } }
                                td.number { (total.pictures) " of " (pictures) }
                                td.number { (thousands(total.area)) }
                                @if data.objects.is_some() { td.number { (thousands(total.objects as u64)) } }
                                td.number { (data.expected_classes.get(usize::from(class) - 1).cloned().flatten().unwrap_or_else(|| "–".into())) }
                                td.number {
                                    @if total.area > 0 { (percent((total.certain / total.area as f64) as f32)) }
                                    @else { "–" }
                                }
                                td.number { (percent(share(total.area))) }
                                td.bar { (meter(share(total.area) / largest, Some(&data.palette.css(class)))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A number with thin spaces between groups of three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + 12);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn gallery_heading(data: &ReportData, pictures: usize, by_name: bool) -> Markup {
    html! {
        (maud::PreEscaped("<section id=\"all\">"))
        h2 { "All pictures" }
        p.lead {
            "Click a picture to see its overlay in full size, beside the picture itself."
            @if !by_name {
                " The " (INLINE) " least certain of " (pictures) " are shown here, the others are linked."
            }
        }
        div.controls id="controls" hidden {
            input id="filter" type="search" placeholder="Filter by name or flag" aria-label="Filter by name or flag";
            label {
                "Sort by"
                select id="order" autocomplete="off" {
                    option value="name" selected[by_name] { "name" }
                    option value="unsure" selected[!by_name] { "least certain first" }
                    option value="sure" { "most certain first" }
                    @for (index, name) in data.classes.iter().enumerate() {
                        option value=(index) { "area of " (name) }
                    }
                }
            }
            span.muted id="count" {}
        }
        (maud::PreEscaped("<ul class=\"grid\" id=\"gallery\">"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::next;
    use crate::report::tests::record;

    fn data() -> ReportData {
        ReportData {
            title: "cells & <b>".into(),
            classes: vec!["cell".into(), "<img src=x onerror=alert(1)>".into()],
            seconds: 2.0,
            counts: Counts { pictures: 4, done: 3, skipped: 0, failed: 1 },
            failed: vec![FailedPicture { name: "x\"><script>".into(), error: "cut < off".into() }],
            candidates: vec![MethodTrial { class_iou: vec![Some(0.5)], ..MethodTrial::default() }],
            support: vec![SupportShown { classes: vec![1, 9], ..SupportShown::default() }],
            ..ReportData::default()
        }
    }

    #[test]
    fn hostile_names_stay_text() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        let lossy = String::from_utf8_lossy(b"b\xff\xfe").into_owned();
        let quotes = "a\" onload=\"alert(1)";
        for name in ["<script>alert(1)</script>", &lossy, quotes] {
            let overlay = format!("overlays/{name}.jpg");
            journal.append(&PictureRecord { overlay, ..record(name) }).unwrap();
        }
        let page = std::fs::read_to_string(write(&journal, &data()).unwrap()).unwrap();
        assert_eq!(page.matches("<script>").count(), 1, "only our own");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;.png"));
        assert!(page.contains("href=\"overlays/%3Cscript%3Ealert%281%29%3C/script%3E.jpg\""));
        assert!(!page.contains("<img src=x") && !page.contains("\" onload=\""));
        assert!(page.contains("b\u{fffd}\u{fffd}.png"));
        assert!(page.contains("id=\"failed\"") && page.contains("cut &lt; off"));
        assert!(!page.contains("http:") && !page.contains("https:"), "no outside address");
    }

    #[test]
    fn thousands_of_pictures_stay_below_ten_megabytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for index in 0..3000 {
            let name = format!("picture-{index}");
            let thumbnail = "A".repeat(11_000);
            let overlay = format!("overlays/{name}.jpg");
            let confidence = index as f32 / 3000.0;
            journal
                .append(&PictureRecord { thumbnail, overlay, confidence, ..record(&name) })
                .unwrap();
        }
        let next = next::suggested(&journal).unwrap();
        let suggested = next.len();
        let path = write(&journal, &ReportData { next, ..data() }).unwrap();
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.len() < 10_000_000, "{} bytes", page.len());
        assert_eq!(page.matches("data:image/jpeg").count(), INLINE + suggested);
        assert!(page.contains("overlays/picture-2999.jpg"));
    }

    #[test]
    fn a_run_without_pictures_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path()).unwrap();
        let page =
            std::fs::read_to_string(write(&journal, &ReportData::default()).unwrap()).unwrap();
        assert!(page.ends_with("</html>\n"));
        assert!(!page.contains("NaN"));
    }
}
