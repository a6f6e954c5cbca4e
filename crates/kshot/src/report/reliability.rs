//! A reliability diagram (Guo et al., ICML 2017, arXiv 1706.04599): the share of right pixels by their confidence.

use maud::{Markup, html};

use crate::eval::Evaluation;
use crate::metric::calibration::Bin;
use crate::report::page::percent;
use crate::report::plot::grouped;

/// Side of the square with the curve, units around it, and the height of the strip that counts pixels.
const SIDE: f64 = 300.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 12.0;
const STRIP: f64 = 44.0;
const GAP: f64 = 44.0;

/// The section of a segmentation.
pub(super) fn section(result: &Evaluation) -> Markup {
    let bins = &result.reliability;
    let count: usize = bins.iter().map(|bin| bin.count).sum();
    let of_all = |sum: f64| sum / count.max(1) as f64;
    let confidence = of_all(bins.iter().map(|bin| bin.confidence * bin.count as f64).sum());
    let right = of_all(bins.iter().map(|bin| bin.right as f64).sum());
    let ece = result.metrics.get("ece").map(|of| of.mean as f32);
    html! {
        section id="calibration" {
            h2 { "Calibration" }
            p.lead {
                @if let Some(ece) = ece { "Confidences are off by " b { (percent(ece)) } " on average (expected calibration error). " }
                "Over all pixels they say " (percent(confidence as f32)) ", and " (percent(right as f32)) " are right: "
                (verdict(confidence - right)) "."
            }
            div.two {
                div.panel { (draw(bins)) }
                div.panel.scroll tabindex="0" role="region" aria-label="Table of confidences" { (table(bins)) }
            }
        }
    }
}

/// What a gap between confidence and accuracy means.
fn verdict(gap: f64) -> &'static str {
    match gap {
        gap if gap > 0.01 => "too sure of itself",
        gap if gap < -0.01 => "less sure than it could be",
        _ => "as sure as it may be",
    }
}

fn draw(bins: &[Bin]) -> Markup {
    let x = |share: f64| ((LEFT + SIDE * share) * 10.0).round() / 10.0;
    let y = |share: f64| ((TOP + SIDE * (1.0 - share)) * 10.0).round() / 10.0;
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1) as f64;
    let right = |bin: &Bin| bin.right as f64 / bin.count.max(1) as f64;
    let path: Vec<String> =
        bins.iter().map(|bin| format!("{},{}", x(bin.confidence), y(right(bin)))).collect();
    let floor = TOP + SIDE + GAP + STRIP;
    let size = format!("0 0 {} {}", LEFT + SIDE + 16.0, floor + 18.0);
    html! {
        svg.reliability viewBox=(size) role="img"
            aria-label="Share of right pixels by confidence, beside the diagonal of a perfect calibration; below, how many pixels"
        {
            @for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
                line.grid-line x1=(x(0.0)) x2=(x(1.0)) y1=(y(tick)) y2=(y(tick)) {}
                text x=(LEFT - 8.0) y=(y(tick) + 4.0) text-anchor="end" { (format!("{:.0} %", 100.0 * tick)) }
                text x=(x(tick)) y=(TOP + SIDE + 18.0) text-anchor="middle" { (format!("{:.0}", 100.0 * tick)) }
            }
            text x=(x(0.5)) y=(TOP + SIDE + 34.0) text-anchor="middle" { "confidence, %" }
            line.even x1=(x(0.0)) y1=(y(0.0)) x2=(x(1.0)) y2=(y(1.0)) {}
            polyline points=(path.join(" ")) {}
            @for bin in bins {
                circle cx=(x(bin.confidence)) cy=(y(right(bin))) r="4" {
                    title { (percent(bin.confidence as f32)) " confident, " (percent(right(bin) as f32)) " right" }
                }
                @let height = (STRIP * bin.count as f64 / most).max(1.0).round();
                rect x=(x(bin.confidence) - 8.0) y=(floor - height) width="16" height=(height) {}
            }
            line.grid-line x1=(x(0.0)) x2=(x(1.0)) y1=(floor) y2=(floor) {}
            text x=(x(0.5)) y=(floor + 14.0) text-anchor="middle" { "pixels" }
        }
    }
}

fn table(bins: &[Bin]) -> Markup {
    html! {
        table {
            thead { tr {
                th.number scope="col" { "Confidence" } th.number scope="col" { "Right" } th.number scope="col" { "Pixels" }
            } }
            tbody {
                @for bin in bins {
                    tr {
                        td.number { (percent(bin.confidence as f32)) }
                        td.number { (percent(bin.right as f32 / bin.count.max(1) as f32)) }
                        td.number.muted { (grouped(bin.count)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_stands_where_its_confidence_and_its_right_ones_meet() {
        let bins = [
            Bin { count: 10, right: 5, confidence: 0.5 },
            Bin { count: 30, right: 30, confidence: 0.9 },
        ];
        let text = draw(&bins).into_string();
        assert!(text.contains("points=\"202,162 322,12\""), "{text}");
        assert!(text.contains("90.0 % confident, 100 % right") && !text.contains("NaN"));
        assert!(table(&bins).into_string().contains("50.0 %"));
        assert_eq!(verdict(0.2), "too sure of itself");
        assert!(!draw(&[]).into_string().contains("NaN"));
    }
}
