//! The lower part of the page of `kshot classify`: classes, method, failures, and how to go on.

use std::collections::BTreeMap;

use maud::{Markup, html};

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
                        th { "Method" } th {} th.number { "Expected accuracy" } th.bar {}
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
                    }
                }
                div {
                    p.lead { "Better labels" }
                    ul.list {
                        li { "Put a few of the least certain pictures into their class folders and run again: what was looked at is kept, so this takes seconds" }
                        li { code { "--link DIR" } " or " code { "--move DIR" } " sorts the pictures into class folders" }
                        li { code { "--save FILE" } " keeps the classes; " code { "kshot model add-class" } " and " code { "drop-class" } " change them" }
                    }
                }
            }
            p.lead style="margin-top:16px" { "The command" }
            pre { (data.command) }
        }
    }
}
