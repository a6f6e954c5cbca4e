//! Lines over steps as SVG, with values that show where the pointer is; no script.

use maud::{Markup, html};

/// Units of the drawing; it is scaled to the page.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
/// Around the area with the lines: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 16.0, 26.0, 34.0];
/// Points of a line at most, and places that show values.
const DRAWN: usize = 500;
const SHOWN: usize = 150;

/// A line.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The class of its colour in the style sheet.
    pub(super) class: &'static str,
    /// Steps and values, steps rising; no value is not-a-number.
    pub(super) points: Vec<(usize, f64)>,
    /// Whether its points have dots.
    pub(super) dots: bool,
}

/// Lines in one frame.
pub(super) struct Plot {
    /// What it shows, for those who do not see it.
    pub(super) label: String,
    pub(super) lines: Vec<Line>,
    /// The last step of the axis.
    pub(super) steps: usize,
    /// The step of the best validation.
    pub(super) best: Option<usize>,
    /// A value in words, and on the axis.
    pub(super) shown: fn(f64) -> String,
    pub(super) axis: fn(f64) -> String,
}

/// Where the axes lie.
struct Frame {
    steps: f64,
    low: f64,
    high: f64,
}

impl Frame {
    fn x(&self, step: usize) -> f64 {
        let [left, right, ..] = MARGINS;
        round(left + (WIDTH - left - right) * step as f64 / self.steps)
    }

    fn y(&self, value: f64) -> f64 {
        let [_, _, top, bottom] = MARGINS;
        let share = (value - self.low) / (self.high - self.low);
        round(HEIGHT - bottom - (HEIGHT - top - bottom) * share)
    }
}

fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

impl Plot {
    /// The drawing; nothing without a point.
    pub(super) fn draw(&self) -> Markup {
        let values =
            || self.lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        if values().next().is_none() {
            return html! { p.muted { "Nothing to draw yet." } };
        }
        let (low, high) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let ticks = ticks(low, high, 4);
        let frame = Frame {
            steps: self.steps.max(1) as f64,
            low: ticks[0].min(low),
            high: ticks[ticks.len() - 1].max(high),
        };
        let [left, right, top, bottom] = MARGINS;
        let (end, floor) = (WIDTH - right, HEIGHT - bottom);
        let steps: Vec<f64> = ticks_within(0.0, frame.steps, 6);
        html! {
            svg.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.label) {
                @for value in &ticks {
                    @let y = frame.y(*value);
                    line.grid-line x1=(left) x2=(end) y1=(y) y2=(y) {}
                    text.tick x=(left - 8.0) y=(y + 4.0) text-anchor="end" { ((self.axis)(*value)) }
                }
                @for step in &steps {
                    @let x = frame.x(*step as usize);
                    text.tick x=(x) y=(floor + 18.0) text-anchor="middle" { (grouped(*step as usize)) }
                }
                line.axis x1=(left) x2=(end) y1=(floor) y2=(floor) {}
                @if let Some(step) = self.best {
                    line.best x1=(frame.x(step)) x2=(frame.x(step)) y1=(top) y2=(floor) {}
                }
                @for line in &self.lines {
                    @let points = thinned(&line.points, DRAWN);
                    polyline class=(line.class) points=(path(&frame, &points)) {}
                    @if line.dots || points.len() == 1 {
                        @for (step, value) in &points {
                            circle class=(line.class) cx=(frame.x(*step)) cy=(frame.y(*value)) r="2.5" {}
                        }
                    }
                    @if let Some((step, value)) = line.points.iter().find(|(step, _)| Some(*step) == self.best)
                        && line.class == "validation"
                    {
                        circle.ring cx=(frame.x(*step)) cy=(frame.y(*value)) r="6" {}
                    }
                }
                (self.values(&frame))
            }
        }
    }

    /// A band for each step, whose values show while the pointer is on it.
    fn values(&self, frame: &Frame) -> Markup {
        let mut all: Vec<usize> =
            self.lines.iter().flat_map(|line| line.points.iter().map(|(step, _)| *step)).collect();
        all.sort_unstable();
        all.dedup();
        let mut steps: Vec<usize> = thinned(&all, SHOWN);
        if let Some(best) = self.best
            && all.binary_search(&best).is_ok()
        {
            steps.push(best);
            steps.sort_unstable();
            steps.dedup();
        }
        let [left, right, top, bottom] = MARGINS;
        let bands = steps.iter().enumerate().map(|(place, &step)| {
            let middle = |other: Option<&usize>, border: f64| {
                other.map_or(border, |&other| f64::midpoint(frame.x(step), frame.x(other)))
            };
            let from = middle(place.checked_sub(1).and_then(|before| steps.get(before)), left);
            (step, from, middle(steps.get(place + 1), WIDTH - right))
        });
        html! {
            @for (step, from, to) in bands {
                @let words = self.words(step);
                g.at {
                    rect x=(from) y=(top) width=(round(to - from)) height=(HEIGHT - top - bottom) {}
                    line x1=(frame.x(step)) x2=(frame.x(step)) y1=(top) y2=(HEIGHT - bottom) {}
                    text x=(left) y="16" { (words) }
                }
            }
        }
    }

    /// What the lines are at a step.
    fn words(&self, step: usize) -> String {
        let mut words = format!("step {}", grouped(step));
        for line in &self.lines {
            if let Ok(place) = line.points.binary_search_by_key(&step, |(step, _)| *step) {
                words.push_str(&format!(" · {} {}", line.name, (self.shown)(line.points[place].1)));
            }
        }
        if self.best == Some(step) {
            words.push_str(" · best");
        }
        words
    }
}

fn path(frame: &Frame, points: &[(usize, f64)]) -> String {
    let at = |(step, value): &(usize, f64)| format!("{},{}", frame.x(*step), frame.y(*value));
    points.iter().map(at).collect::<Vec<_>>().join(" ")
}

/// At most about so many, evenly, the last among them.
pub(super) fn thinned<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    let every = all.len().div_ceil(most).max(1);
    // Counted from the end, so that the last one is among them.
    let mut some: Vec<T> = all.iter().rev().step_by(every).copied().collect();
    some.reverse();
    some
}

/// Round values around a range, about so many steps of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let (low, high) =
        if high > low { (low, high) } else { (low - 0.5 * width(low), low + 0.5 * width(low)) };
    let step = round_step((high - low) / about as f64);
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last).map(|tick| tick as f64 * step).collect()
}

/// The width of a range around a single value.
fn width(value: f64) -> f64 {
    if value == 0.0 { 1.0 } else { 0.2 * value.abs() }
}

/// Round values within a range.
fn ticks_within(low: f64, high: f64, about: usize) -> Vec<f64> {
    // Steps are whole.
    let step = round_step((high - low) / about as f64).max(1.0);
    (0..=((high - low) / step + 1e-9) as usize).map(|tick| low + tick as f64 * step).collect()
}

fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A count with its thousands apart: `12 000`.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(usize, f64)>, best: Option<usize>) -> Plot {
        let line = Line { name: "validation", class: "validation", points, dots: true };
        Plot {
            label: "<loss>".into(),
            lines: vec![line],
            steps: 100,
            best,
            shown: |value| format!("{value:.2}"),
            axis: |value| format!("{value:.1}"),
        }
    }

    #[test]
    fn ticks_are_round_and_hold_the_range() {
        assert_eq!(ticks(0.13, 0.87, 4), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks_within(0.0, 600.0, 6), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0]);
        assert_eq!(ticks_within(0.0, 2.0, 6), [0.0, 1.0, 2.0]);
        for value in [0.0, 0.5, -3.0, 1e-7] {
            let ticks = ticks(value, value, 4);
            assert!(
                ticks.len() > 1 && ticks[0] <= value && ticks[ticks.len() - 1] >= value,
                "{ticks:?}"
            );
        }
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn what_is_best_is_marked_and_values_stand_in_words() {
        let text = plot(vec![(10, 0.5), (20, 0.25), (30, 0.75)], Some(20)).draw().into_string();
        assert_eq!(text.matches("class=\"ring\"").count(), 1);
        assert_eq!(text.matches("class=\"at\"").count(), 3);
        assert!(text.contains("step 20 · validation 0.25 · best"), "{text}");
        assert!(text.contains("&lt;loss&gt;") && !text.contains("NaN") && !text.contains("inf"));
        let one = plot(vec![(10, 0.5)], None).draw().into_string();
        assert!(!one.contains("NaN") && one.contains("<circle"), "{one}");
        assert!(plot(Vec::new(), None).draw().into_string().contains("Nothing to draw yet"));
    }

    #[test]
    fn long_trainings_stay_small() {
        let points: Vec<_> =
            (1..=50_000).map(|step| (step, f64::from(step as u32).sin())).collect();
        let plot = Plot { steps: 50_000, ..plot(points, Some(49_999)) };
        let text = plot.draw().into_string();
        assert!(text.len() < 150_000, "{} bytes", text.len());
        assert!(
            text.contains("step 50\u{202f}000 ") && text.contains(" · best"),
            "the last and the best are there"
        );
        assert_eq!(thinned(&[1, 2, 3, 4, 5], 2), [2, 5]);
    }
}
