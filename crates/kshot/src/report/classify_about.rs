//! The lower part of the page of `kshot classify`: classes, method, failures, and how to go on.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::classify::reject::{Rejection, TradeOff};
use crate::report::classify_html::ClassificationPage;
use crate::report::page::{duration, meter, percent};

/// Rows of the table of classes.
const CLASSES: usize = 400;

pub(super) fn classes(data: &ClassificationPage<'_>) -> Markup {
    let examples = data.recogniser.examples();
    let mut found: BTreeMap<usize, (usize, f64)> = BTreeMap::new();
    for one in data.labelled.iter().filter(|one| one.found.accepted) {
        let (count, sum) = found.entry(one.found.class()).or_default();
        *count += 1;
        *sum += f64::from(one.found.probability());
    }
    let most = found.values().map(|(count, _)| *count).max().unwrap_or(1) as f32;
    let shots = examples.counts();
    let per_class = data.judgement.as_ref().map(|judgement| &judgement.per_class);
    html! {
        section id="classes" {
            h2 { "Classes" }
            p.lead { "How many accepted pictures went to each." }
            div.panel.scroll {
                table {
                    thead { tr {
                        th { "Class" } th.number { "Labelled by you" } th.number { "Found" }
                        th.number { "Mean probability" }
                        @if per_class.is_some() { th.number { "Recognised" } }
                        th.bar {}
                    } }
                    tbody {
                        @for (class, name) in examples.classes.iter().enumerate().take(CLASSES) {
                            @let (count, sum) = found.get(&class).copied().unwrap_or_default();
                            tr {
                                td.text { (name) }
                                td.number.muted { (shots[class]) }
                                td.number { (count) }
                                td.number { (if count > 0 { percent((sum / count as f64) as f32) } else { "–".into() }) }
                                @if let Some(per_class) = per_class {
                                    td.number {
                                        @match per_class.get(&class) {
                                            Some((of, right)) => { (right) " of " (of) },
                                            None => "–",
                                        }
                                    }
                                }
                                td.bar { (meter(count as f32 / most, None)) }
                            }
                        }
                    }
                }
                @if examples.classes.len() > CLASSES {
                    p.muted { "The first " (CLASSES) " of " (examples.classes.len()) " classes." }
                }
            }
        }
    }
}

pub(super) fn method(data: &ClassificationPage<'_>) -> Markup {
    let choice = data.recogniser.choice();
    let input_views = data.model.origin.input_views;
    let rate = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| percent(value as f32));
    html! {
        section id="method" {
            h2 { "Method: " (choice.method) }
            p { (choice.reason) "." }
            div.panel.scroll {
                table {
                    thead { tr {
                        th { "Method" } th {} th.number { "Held-out accuracy" } th.bar {}
                        th.number { "Log loss" } th.number { "Trial" }
                    } }
                    tbody {
                        @for trial in &choice.trials {
                            tr.chosen[trial.method == choice.method] {
                                td { (trial.method) }
                                td { @if trial.method == choice.method { span.good { "chosen" } } }
                                td.number { (rate(trial.accuracy)) }
                                td.bar { (meter(trial.accuracy.unwrap_or(0.0) as f32, None)) }
                                td.number { (trial.log_loss.map_or_else(|| "–".into(), |loss| format!("{loss:.3}"))) }
                                td.number { (duration(trial.seconds)) }
                            }
                        }
                    }
                }
            }
            ul.list.muted style="margin-top:12px" {
                li { "Held-out pictures are like the labelled ones; pictures from elsewhere are harder, and \
                      the accuracy on them is lower." }
                li { "Features of " (data.model.origin.encoder) ", frozen, at " (input_views.size) " pixels, "
                     (input_views.views) (if input_views.views == 1 { " view" } else { " views" }) " a picture." }
                li { "Scores are divided by a temperature of " (format!("{:.3}", choice.temperature))
                     ", which fits held-out pictures best." }
                li { "None of these: " (choice.rejection.how) "." }
            }
            (trade_off(&choice.rejection))
        }
    }
}

/// Pictures of left-out classes rejected against members kept, and where the threshold lies.
fn trade_off(rejection: &Rejection) -> Markup {
    let points = rejection.trade_offs();
    // Held-out members from right to left, pictures of left-out classes upwards, both 0 to 100.
    let at = |of: &TradeOff| format!("{:.2},{:.2}", 100.0 * of.kept, 100.0 - 100.0 * of.rejected);
    let line = points.iter().map(at).collect::<Vec<_>>().join(" ");
    let taken = rejection.threshold.and_then(|threshold| rejection.trade_off(threshold));
    let wished = [0.99, 0.95, 0.9, 0.8, 0.7, 0.5];
    let row = |&share: &f64| points.iter().rev().find(|of| of.kept >= share).map(|of| (share, *of));
    html! {
        @if points.len() > 1 {
            h3 { "What " code { "--reject" } " trades" }
            p.lead { "Of your labelled pictures: how many members are kept, each judged without itself, and how many \
                      are rejected of a class that was left out." }
            div.two {
                svg.plot viewBox="-2 -2 104 104" role="img" aria-label="pictures of other classes rejected against members kept" {
                    rect x="0" y="0" width="100" height="100" fill="none" stroke="currentColor" stroke-opacity="0.25" stroke-width="0.5" {}
                    polyline points=(line) fill="none" stroke="currentColor" stroke-width="1.2" {}
                    @if let Some(of) = taken {
                        circle cx=(100.0 * of.kept) cy=(100.0 - 100.0 * of.rejected) r="2.2" fill="currentColor" {}
                    }
                    text x="98" y="97" text-anchor="end" font-size="4.5" fill="currentColor" { "members kept →" }
                    text x="3" y="7" font-size="4.5" fill="currentColor" { "↑ others rejected" }
                }
                table {
                    thead { tr { th { "Option" } th.number { "Members kept" } th.number { "Others rejected" } } }
                    tbody {
                        @for (share, of) in wished.iter().filter_map(row) {
                            tr {
                                td { code { "--reject " (share) } }
                                td.number { (percent(of.kept as f32)) }
                                td.number { (percent(of.rejected as f32)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn failed(data: &ClassificationPage<'_>) -> Markup {
    html! {
        @if !data.failed.is_empty() {
            section id="failed" {
                h2 { "Failed pictures" }
                p.lead { "They have no label. Mend or remove them and run the command again." }
                div.panel.scroll {
                    table {
                        thead { tr { th { "Picture" } th { "What went wrong" } } }
                        tbody {
                            @for picture in data.failed {
                                tr { td.text { (picture.name) } td.text { (picture.error) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn go_on(data: &ClassificationPage<'_>) -> Markup {
    html! {
        section id="go-on" {
            h2 { "How to go on" }
            div.two {
                div {
                    p.lead { "The files in this folder" }
                    ul.list {
                        li { code { (data.table) } ": class, probability, accepted or not, and the next classes of every picture" }
                        @if data.judgement.is_some() { li { code { "truth.json" } ": how good they are" } }
                        li { code { "run.toml" } ": what was run, with versions and hashes" }
                        @if let Some(list) = &data.moved {
                            li { code { (list) } ": from where to where the pictures were moved; " code { "kshot classify --undo" } " and this file put them back" }
                        }
                    }
                }
                div {
                    p.lead { "Better labels" }
                    ul.list {
                        li { "Put a few of the least certain pictures into their class folders and run again: what was looked at is kept, so this takes seconds" }
                        li { code { "--link DIR" } " or " code { "--move DIR" } " sorts the pictures into class folders; what was moved can be put back" }
                        li { code { "--save FILE" } " keeps the classes; " code { "kshot model add-class" } " and " code { "drop-class" } " change them" }
                    }
                }
            }
            p.lead style="margin-top:16px" { "The command" }
            pre { (data.command) }
        }
    }
}
