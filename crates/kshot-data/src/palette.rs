//! A colour for every value of a mask.

use std::sync::LazyLock;

use crate::mask::{BACKGROUND, UNLABELLED, VOID};

/// Red, green and blue, 0..=255 (sRGB).
pub type Rgb = [u8; 3];

/// Okabe and Ito's colours for all kinds of colour vision (<https://jfly.uni-koeln.de/color/>),
/// without their black, which is the background's.
const OKABE_ITO: [Rgb; 7] = [
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];
const BACKGROUND_COLOUR: Rgb = [0, 0, 0];
const UNLABELLED_COLOUR: Rgb = [128, 128, 128];
const VOID_COLOUR: Rgb = [244, 241, 232];

/// One colour for each of a mask's 256 values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    colours: [Rgb; 256],
}

impl Default for Palette {
    fn default() -> Self {
        Self::distinct()
    }
}

impl Palette {
    /// Colours that are told apart easily: the first seven also with colour-blind eyes, each further
    /// one the farthest from all before it in a perceptual space (OKLab). Background is black,
    /// unlabelled gray, void nearly white. Always the same.
    pub fn distinct() -> Self {
        static COLOURS: LazyLock<[Rgb; 256]> = LazyLock::new(distinct_colours);
        Self { colours: *COLOURS }
    }

    /// The colour map of the Pascal VOC devkit (class 1 dark red, 2 dark green, ...); unlabelled is
    /// gray here, where VOC has no such value.
    pub fn voc() -> Self {
        let mut colours = [[0; 3]; 256];
        for (index, colour) in colours.iter_mut().enumerate() {
            // Bits 0, 1 and 2 of the index go to the top bits of red, green and blue, the next three
            // to the bits below, and so on.
            for bit in 0..8 {
                colour[bit % 3] |= (((index >> bit) & 1) as u8) << (7 - bit / 3);
            }
        }
        colours[usize::from(UNLABELLED)] = UNLABELLED_COLOUR;
        Self { colours }
    }

    /// The colour of a mask's value.
    pub fn colour(&self, value: u8) -> Rgb {
        self.colours[usize::from(value)]
    }

    /// The colour as `#rrggbb`.
    pub fn css(&self, value: u8) -> String {
        let [red, green, blue] = self.colour(value);
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// All 256 colours as red, green, blue, red, ...: a PNG's palette.
    pub fn bytes(&self) -> Vec<u8> {
        self.colours.as_flattened().to_vec()
    }
}

fn distinct_colours() -> [Rgb; 256] {
    let mut colours = [BACKGROUND_COLOUR; 256];
    colours[usize::from(BACKGROUND)] = BACKGROUND_COLOUR;
    colours[usize::from(UNLABELLED)] = UNLABELLED_COLOUR;
    colours[usize::from(VOID)] = VOID_COLOUR;
    colours[1..=OKABE_ITO.len()].copy_from_slice(&OKABE_ITO);

    // Candidates: a lattice of sRGB, without what is too dark, too pale or too gray to be seen as
    // a colour on a photograph.
    let steps: Vec<u8> = (0..=10).map(|step| (step * 255 / 10) as u8).collect();
    let mut candidates: Vec<(Rgb, [f32; 3])> = Vec::new();
    for &red in &steps {
        for &green in &steps {
            for &blue in &steps {
                let lab = oklab([red, green, blue]);
                let chroma = lab[1].hypot(lab[2]);
                if (0.35..0.93).contains(&lab[0]) && chroma > 0.06 {
                    candidates.push(([red, green, blue], lab));
                }
            }
        }
    }
    let mut taken: Vec<[f32; 3]> = OKABE_ITO.map(oklab).to_vec();
    taken.extend([BACKGROUND_COLOUR, UNLABELLED_COLOUR, VOID_COLOUR].map(oklab));
    let mut distances: Vec<f32> = candidates
        .iter()
        .map(|(_, lab)| taken.iter().map(|other| distance(lab, other)).fold(f32::MAX, f32::min))
        .collect();
    for slot in &mut colours[OKABE_ITO.len() + 1..usize::from(UNLABELLED)] {
        let best = (0..candidates.len())
            .max_by(|&a, &b| distances[a].total_cmp(&distances[b]))
            .unwrap_or_default();
        let (colour, lab) = candidates[best];
        *slot = colour;
        for (distance_now, (_, other)) in distances.iter_mut().zip(&candidates) {
            *distance_now = distance_now.min(distance(&lab, other));
        }
    }
    colours
}

fn distance(a: &[f32; 3], b: &[f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// OKLab (Ottosson 2020, <https://bottosson.github.io/posts/oklab/>): lightness 0..1, and two axes
/// of colour, in which equal distances look about equally large.
fn oklab(colour: Rgb) -> [f32; 3] {
    let [red, green, blue] = colour.map(|value| {
        let value = f32::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let long = (0.412_221_46 * red + 0.536_332_55 * green + 0.051_445_995 * blue).cbrt();
    let medium = (0.211_903_5 * red + 0.680_699_5 * green + 0.107_396_96 * blue).cbrt();
    let short = (0.088_302_46 * red + 0.281_718_85 * green + 0.629_978_7 * blue).cbrt();
    [
        0.210_454_26 * long + 0.793_617_8 * medium - 0.004_072_047 * short,
        1.977_998_5 * long - 2.428_592_2 * medium + 0.450_593_7 * short,
        0.025_904_037 * long + 0.782_771_77 * medium - 0.808_675_77 * short,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::MAX_CLASSES;

    #[test]
    fn all_classes_have_colours_of_their_own() {
        let palette = Palette::distinct();
        let mut seen = std::collections::HashSet::new();
        for value in (0..=MAX_CLASSES).chain([UNLABELLED, VOID]) {
            assert!(seen.insert(palette.colour(value)), "{value} repeats {}", palette.css(value));
        }
        assert_eq!(palette.css(1), "#e69f00");
        assert_eq!(palette.bytes().len(), 768);
    }

    #[test]
    fn the_first_thirty_are_far_apart() {
        let palette = Palette::distinct();
        for a in 0..30u8 {
            for b in 0..a {
                let gap = distance(&oklab(palette.colour(a)), &oklab(palette.colour(b))).sqrt();
                assert!(gap > 0.08, "{} and {}: {gap}", palette.css(a), palette.css(b));
            }
        }
    }

    #[test]
    fn oklab_of_white_and_red() {
        let white = oklab([255; 3]);
        assert!((white[0] - 1.0).abs() < 1e-3 && white[1].abs() < 1e-3 && white[2].abs() < 1e-3);
        let red = oklab([255, 0, 0]);
        assert!((red[0] - 0.628).abs() < 1e-3 && (red[1] - 0.225).abs() < 1e-3);
    }

    #[test]
    fn vocs_map_is_the_devkits() {
        let palette = Palette::voc();
        assert_eq!(palette.colour(0), [0, 0, 0]);
        assert_eq!(palette.colour(1), [128, 0, 0]);
        assert_eq!(palette.colour(15), [192, 128, 128]);
        assert_eq!(palette.colour(20), [0, 64, 128]);
        assert_eq!(palette.colour(255), [224, 224, 192]);
    }
}
