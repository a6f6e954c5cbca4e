//! A confusion matrix as a table whose cells are coloured by their share of the row.

use maud::{Markup, html};

use crate::eval::classes::ConfusionTable;
use crate::report::page::percent;
use crate::report::plot::grouped;

/// Classes that have a row of their own at most: those with the most pixels.
const OWN: usize = 40;
/// With more classes cells are small, and shares are whole percents.
const WIDE: usize = 10;

/// The table, in a panel that scrolls.
pub(super) fn draw(table: &ConfusionTable) -> Markup {
    let (table, joined) = shortened(table);
    let count = table.classes.len();
    let many = count > WIDE;
    let rows = table.classes.iter().zip(&table.counts).enumerate();
    html! {
        div.panel.scroll tabindex="0" role="region" aria-label="Confusion matrix" {
            table.confusion.many[many] {
                thead {
                    tr { td style="background:none" {} th colspan=(count) { "Predicted" } }
                    tr {
                        th { "Actual" }
                        @for name in &table.classes { th scope="col" title=(name) { span { (name) } } }
                    }
                }
                tbody {
                    @for (actual, (name, counts)) in rows {
                        @let all: u64 = counts.iter().sum();
                        tr {
                            th scope="row" title=(name) { (name) }
                            @for (predicted, &count) in counts.iter().enumerate() {
                                @let share = count as f64 / all.max(1) as f64;
                                td.hit[actual == predicted].miss[actual != predicted] style=(shade(share))
                                    title={ (name) " as " (table.classes[predicted]) ": " (grouped(count as usize)) " pixels" }
                                {
                                    (told(share, count, all, many))
                                }
                            }
                        }
                    }
                }
            }
        }
        @if joined > 0 {
            p.muted style="margin-top:12px" {
                "The " (OWN) " classes with the most pixels; the " (joined) " others are joined in the last row and column."
            }
        }
    }
}

fn shade(share: f64) -> String {
    // Shares between little and nothing are seen, too.
    format!("--s:{:.3}", share.sqrt())
}

/// A cell's text: nothing where there is nothing.
fn told(share: f64, count: u64, all: u64, many: bool) -> String {
    match (count, all) {
        (_, 0) => "–".to_owned(),
        (0, _) => String::new(),
        _ if many => format!("{:.0}", 100.0 * share),
        _ => percent(share as f32),
    }
}

/// The table with the classes of fewest pixels joined where there are many, and how many these are.
fn shortened(table: &ConfusionTable) -> (ConfusionTable, usize) {
    let count = table.classes.len();
    if count <= OWN {
        return (table.clone(), 0);
    }
    let total = |class: usize| -> u64 {
        let column: u64 = table.counts.iter().map(|row| row[class]).sum();
        column + table.counts[class].iter().sum::<u64>()
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(total(class)));
    order.truncate(OWN);
    order.sort_unstable();
    let place = |class: usize| order.binary_search(&class).unwrap_or(OWN);
    let mut counts = vec![vec![0; OWN + 1]; OWN + 1];
    for (actual, row) in table.counts.iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate() {
            counts[place(actual)][place(predicted)] += count;
        }
    }
    let mut classes: Vec<String> =
        order.iter().map(|&class| table.classes[class].clone()).collect();
    classes.push("others".to_owned());
    (ConfusionTable { classes, counts }, count - OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: usize) -> ConfusionTable {
        let of = |actual: usize, predicted: usize| match actual == predicted {
            true => 10 * (actual + 1) as u64,
            false => u64::from(predicted == 0),
        };
        ConfusionTable {
            classes: (0..count).map(|class| format!("<class {class}>")).collect(),
            counts: (0..count).map(|a| (0..count).map(|b| of(a, b)).collect()).collect(),
        }
    }

    #[test]
    fn few_classes_have_decimals_and_many_are_joined() {
        let two = draw(&table(2)).into_string();
        assert!(two.contains("95.2 %") && two.contains("4.8 %") && two.contains("100 %"), "{two}");
        assert!(two.contains("&lt;class 1&gt;") && !two.contains("<class"));
        assert_eq!(two.matches("scope=\"row\"").count(), 2);
        let many = draw(&table(32)).into_string();
        assert_eq!(many.matches("scope=\"row\"").count(), 32);
        assert!(many.contains(">97<") && !many.contains("joined"), "{many}");
        let (short, joined) = shortened(&table(150));
        assert_eq!((short.classes.len(), joined), (OWN + 1, 110));
        let sum = |table: &ConfusionTable| table.counts.iter().flatten().sum::<u64>();
        assert_eq!(sum(&short), sum(&table(150)));
        assert_eq!(short.classes[0], "<class 110>");
        assert!(draw(&table(150)).into_string().len() < 300_000);
    }
}
