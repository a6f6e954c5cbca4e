//! What the page of a folder says around its pictures: what was learned from, how, what failed and how
//! to go on.

use maud::{Markup, html};

use crate::report::html::{ReportData, class_name, dot};
use crate::report::page::{duration, jpeg_uri, meter, percent};

pub(super) fn support(data: &ReportData) -> Markup {
    html! {
        section id="support" {
            h2 { "What it learned from" }
            p.lead { "Your labels, drawn over their pictures. A wrong label here is wrong everywhere." }
            ul.grid {
                @for shown in &data.support {
                    li.card {
                        @if !shown.thumbnail.is_empty() {
                            div.view { img src=(jpeg_uri(&shown.thumbnail)) alt=(format!("labels of {}", shown.name)); }
                        }
                        div.words {
                            div.name title=(shown.name) { (shown.name) }
                            @if !shown.how.is_empty() { div.muted { (shown.how) } }
                            div.chips {
                                @for &class in &shown.classes {
                                    span.chip { (dot(data, class)) (class_name(data, class)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn method(data: &ReportData) -> Markup {
    // Many classes would make the table as wide as the wall: then the means only.
    let columns = if data.classes.len() <= 12 { data.classes.len() } else { 0 };
    let score = |iou: Option<f32>| iou.map_or_else(|| "–".into(), percent);
    html! {
        section id="method" {
            h2 { "Method: " (data.method) }
            @if !data.why.is_empty() { p { (data.why) } }
            @if !data.candidates.is_empty() {
                div.panel.scroll {
                    table {
                        thead { tr {
                            th { "Method" } th {} th.number { "Held-out IoU" } th.bar {}
                            @for name in &data.classes[..columns] { th.number { (name) } }
                            th.number { "Trial" }
                        } }
                        tbody {
                            @for candidate in &data.candidates {
                                tr.chosen[candidate.chosen] {
                                    td { (candidate.name) }
                                    td { @if candidate.chosen { span.good { "chosen" } } }
                                    td.number { (score(candidate.mean_iou)) }
                                    td.bar { (meter(candidate.mean_iou.unwrap_or(0.0), None)) }
                                    @for class in 0..columns {
                                        td.number { (score(candidate.class_iou.get(class).copied().flatten())) }
                                    }
                                    td.number { (candidate.seconds.map_or_else(|| "–".into(), duration)) }
                                }
                            }
                        }
                    }
                }
            }
            @if !data.notes.is_empty() {
                ul.list.muted style="margin-top:12px" { @for note in &data.notes { li { (note) } } }
            }
        }
    }
}

pub(super) fn failed(data: &ReportData) -> Markup {
    html! {
        @if !data.failed.is_empty() {
            section id="failed" {
                h2 { "Failed pictures" }
                p.lead { "They have no mask. Mend or remove them and run the command again; finished pictures are skipped." }
                div.panel.scroll {
                    table {
                        thead { tr { th { "Picture" } th { "What went wrong" } } }
                        tbody {
                            @for picture in &data.failed {
                                tr { td.text { (picture.name) } td.text { (picture.error) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn go_on(data: &ReportData) -> Markup {
    html! {
        section id="go-on" {
            h2 { "How to go on" }
            div.two {
                div {
                    p.lead { "The files in this folder" }
                    ul.list {
                        li { code { "masks/NAME.png" } ": the class index of every pixel (0 is background), with colours" }
                        li { code { "overlays/NAME.jpg" } ": to look at" }
                        @if data.objects.is_some() {
                            li { code { "objects/NAME.png" } ": the object's number of every pixel (16 bits, 0 is none)" }
                            li { code { "objects.csv" } ": class, area, place, colour and confidence of every object" }
                            li { code { "coco.json" } ": every object as a COCO run-length annotation with its score" }
                            li { code { "labels.csv" } ": number, area, share and estimates per picture and class" }
                        } @else {
                            li { code { "coco.json" } ": all masks as COCO run-length annotations with scores" }
                            li { code { "labels.csv" } ": area, share and estimates per picture and class" }
                        }
                        li { code { "run.toml" } ": what was run, with versions and hashes" }
                    }
                }
                div {
                    p.lead { "From here" }
                    ul.list {
                        @if data.correct.is_some() {
                            li { a href="#correct" { "Correct masks" } " in LabelMe, CVAT, napari or QGIS, and learn from the corrections" }
                        }
                        li { code { "kshot data convert --from THIS --to FORMAT --out DIR" } ": the masks as labels of any format" }
                        li { "The same command again skips the pictures that are finished; other labels or options make them anew" }
                    }
                }
            }
            p.lead style="margin-top:16px" { "The command" }
            pre { (data.command) }
        }
    }
}
