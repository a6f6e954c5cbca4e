//! The parts of a page on a segmentation whose truth is known: its classes, their confusion, the calibration and the
//! worst pictures. The page of an evaluation and that of a training show them alike.

use kshot_data::palette::Palette;
use maud::{Markup, html};

use crate::eval::Evaluation;
use crate::eval::classes::{ClassFigures, ConfusionTable};
use crate::eval::worst::{EXTRA, MISSED, MISTAKEN};
use crate::names::counted;
use crate::report::eval_html::WorstEpisode;
use crate::report::page::{jpeg_uri, meter, percent};
use crate::report::plot::grouped;

/// For the head of a page with these parts.
pub(super) const STYLE: &str = include_str!("segmented.css");

/// Confusions that are told in words.
const TOLD: usize = 8;

/// The classes, their confusion and the calibration; nothing of what was not measured.
pub(super) fn sections(result: &Evaluation) -> Markup {
    html! {
        @if !result.classes.is_empty() { (classes(&result.classes)) }
        @if let Some(table) = &result.confusion && !table.classes.is_empty() {
            section id="confusion" {
                h2 { "Confusion" }
                p.lead {
                    "Each row is an actual class, and its cells say which share of its pixels was predicted as which class."
                }
                (super::confusion_table::draw(table))
                (confused(result, table))
            }
        }
        @if !result.reliability.is_empty() { (super::reliability::section(result)) }
    }
}

/// A rate of a class, or a dash.
fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| percent(value as f32))
}

fn classes(all: &[ClassFigures]) -> Markup {
    let palette = Palette::distinct();
    let total: u64 = all.iter().map(|class| class.pixels).sum();
    let (mut there, absent): (Vec<&ClassFigures>, Vec<&ClassFigures>) =
        all.iter().partition(|class| class.iou.is_some());
    // Background is no class of the means, and comes last.
    there.sort_by(|a, b| {
        (a.number == 0)
            .cmp(&(b.number == 0))
            .then(a.iou.unwrap_or(0.0).total_cmp(&b.iou.unwrap_or(0.0)))
    });
    html! {
        section id="classes" {
            h2 { "Classes" }
            p.lead { "The lowest IoU first. Means over classes leave background out." }
            div.panel.scroll tabindex="0" role="region" aria-label="Table of classes" {
                table {
                    thead { tr {
                        th scope="col" { "Class" } th.number scope="col" { "IoU" } th.bar { }
                        th.number scope="col" { "Dice" } th.number scope="col" { "Precision" }
                        th.number scope="col" { "Recall" } th.number scope="col" { "Boundary F" }
                        th.number scope="col" { "Share of pixels" } th.number scope="col" { "Pictures" }
                    } }
                    tbody {
                        @for class in &there {
                            tr {
                                th scope="row" {
                                    i.dot style={ "background:" (palette.css(class.number as u8)) } {}
                                    (class.name)
                                    @if class.pixels == 0 { " " span.tag { "not in the truth" } }
                                }
                                td.number { (rate(class.iou)) }
                                td.bar { (meter(class.iou.unwrap_or(0.0) as f32, None)) }
                                td.number { (rate(class.dice)) }
                                td.number { (rate(class.precision)) }
                                td.number { (rate(class.recall)) }
                                td.number { (rate(class.boundary_f)) }
                                td.number.muted { (percent(class.pixels as f32 / total.max(1) as f32)) }
                                td.number.muted { (grouped(class.pictures)) }
                            }
                        }
                    }
                }
            }
            @if !absent.is_empty() {
                p.muted style="margin-top:12px" {
                    (counted(absent.len(), "class is", "classes are")) " neither in these pictures nor predicted, and in no mean: "
                    @for (place, class) in absent.iter().enumerate() {
                        @if place > 0 { ", " }
                        (class.name)
                    }
                    "."
                }
            }
        }
    }
}

/// The most frequent confusions in words.
fn confused(result: &Evaluation, table: &ConfusionTable) -> Markup {
    html! {
        @if result.confused.is_empty() && table.classes.len() > 1 {
            p.muted style="margin-top:12px" { "No pixel was taken for another class." }
        }
        @if !result.confused.is_empty() {
            ul.list style="margin-top:14px" {
                @for of in result.confused.iter().take(TOLD) {
                    li {
                        (percent(of.count as f32 / of.opportunities.max(1) as f32)) " of " b { (of.actual) }
                        " is taken for " b { (of.predicted) }
                        span.muted { " (" (grouped(of.count)) " of " (grouped(of.opportunities)) " pixels)" }
                    }
                }
            }
        }
    }
}

/// The worst pictures or episodes, worst first; a click or Enter shows one large.
pub(super) fn worst(title: &str, episodes: &[WorstEpisode]) -> Markup {
    let has_errors =
        episodes.iter().any(|of| of.pictures.iter().any(|(caption, _)| caption == "errors"));
    let colour = |[red, green, blue]: [u8; 3]| format!("background:rgb({red} {green} {blue})");
    html! {
        section id="worst" {
            h2 { (title) }
            p.lead { "Where it fails most, worst first." }
            @if has_errors {
                p.lead {
                    "Errors: "
                    @for (of, words) in [(MISSED, "missed"), (EXTRA, "where background is"), (MISTAKEN, "another class")] {
                        span.key { i.square style=(colour(of)) {} (words) }
                    }
                }
            }
            ul.worst { @for episode in episodes { li.panel { (one(episode)) } } }
        }
    }
}

fn one(episode: &WorstEpisode) -> Markup {
    html! {
        div.row {
            b style="color:var(--text);overflow-wrap:anywhere" { (episode.title) }
            span { "IoU " (percent(episode.iou)) }
        }
        div.episode {
            @for (caption, picture) in &episode.pictures {
                @let words = format!("{caption}, {}", episode.title);
                figure {
                    button.view type="button" data-title=(words) {
                        img src=(jpeg_uri(picture)) alt=(words) loading="lazy" decoding="async";
                    }
                    figcaption { (caption) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_class_comes_first_and_absent_ones_are_told() {
        let of = |number: usize, name: &str, iou, pixels| ClassFigures {
            name: name.to_owned(),
            number,
            pictures: usize::from(pixels > 0),
            pixels,
            iou,
            dice: iou,
            precision: iou,
            recall: iou,
            boundary_f: None,
        };
        let all = [
            of(0, "background", Some(0.1), 75),
            of(1, "good", Some(0.9), 20),
            of(2, "<b>bad", Some(0.25), 5),
            of(3, "extra", Some(0.0), 0),
            of(4, "absent & gone", None, 0),
        ];
        let text = classes(&all).into_string();
        let place = |name: &str| text.find(name).unwrap();
        let order =
            ["</i>extra", "</i>&lt;b&gt;bad", "</i>good", "</i>background", "absent &amp; gone"];
        assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{text}");
        assert!(text.contains("1 class is neither in these pictures nor predicted"));
        assert_eq!(text.matches("not in the truth").count(), 1);
        assert!(text.contains("75.0 %") && text.contains("5.0 %") && !text.contains("<b>bad"));
    }
}
