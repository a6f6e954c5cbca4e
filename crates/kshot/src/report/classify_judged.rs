//! How good labels are, where the truth is known: a section of the page of `kshot classify`.

use maud::{Markup, html};

use crate::classify::judge::{Judgement, Share};
use crate::report::page::{meter, percent};

/// Rows of the table of confusions.
const CONFUSED: usize = 15;

fn share_row(what: &str, share: Option<Share>) -> Markup {
    html! {
        @if let Some(Share { mean, interval: [low, high], n }) = share {
            tr {
                td { (what) }
                td.number { (percent(mean as f32)) }
                td.number.muted { (format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)) }
                td.number.muted { (n) }
                td.bar { (meter(mean as f32, None)) }
            }
        }
    }
}

/// The section; `names` are those of the classes.
pub fn section(judgement: &Judgement, names: &[String]) -> Markup {
    html! {
        section id="truth" {
            h2 { "How good the labels are" }
            p.lead {
                "Compared with the truth where it is known."
                @if let Some(auroc) = judgement.auroc {
                    " A member is more similar to the support than an out-of-distribution picture " b { (percent(auroc as f32)) }
                    " of the time (rejection AUROC " (format!("{auroc:.4}")) ")."
                }
                @if let Some(ece) = judgement.ece {
                    " Probabilities are off by " b { (percent(ece as f32)) } " on average (ECE)."
                }
            }
            div.panel.scroll {
                table {
                    thead { tr {
                        th { "Share" } th.number { "Measured" } th.number { "95 % interval" }
                        th.number { "Pictures" } th.bar {}
                    } }
                    tbody {
                        (share_row("Members whose class was found", judgement.accuracy))
                        (share_row("Members whose class is among those listed", judgement.top_k))
                        (share_row("Accepted pictures labelled rightly", judgement.accepted_right))
                        (share_row("Members accepted", judgement.members_accepted))
                        (share_row("Out-of-distribution pictures rejected", judgement.out_of_distribution_rejected))
                    }
                }
            }
            div.two style="margin-top:14px" {
                div.panel {
                    p.lead { "Calibration: members by probability." }
                    table {
                        thead { tr { th { "Confidence" } th.number { "Right" } th.number { "Pictures" } th.bar {} } }
                        tbody {
                            @for bin in judgement.reliability.iter().filter(|bin| bin.count > 0) {
                                @let right = bin.right as f32 / bin.count as f32;
                                tr {
                                    td { (percent(bin.confidence as f32)) }
                                    td.number { (percent(right)) }
                                    td.number.muted { (bin.count) }
                                    td.bar { (meter(right, None)) }
                                }
                            }
                        }
                    }
                }
                @if !judgement.confused.is_empty() {
                    div.panel {
                        p.lead { "Taken for another most often" }
                        table {
                            thead { tr { th { "Actual" } th { "Predicted" } th.number { "Count" } } }
                            tbody {
                                @for &(actual, predicted, count) in judgement.confused.iter().take(CONFUSED) {
                                    tr { td.text { (names[actual]) } td.text { (names[predicted]) } td.number { (count) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
