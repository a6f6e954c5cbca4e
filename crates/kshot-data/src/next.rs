//! Which pictures to look at and correct next.

use crate::journal::PictureRecord;

/// The flag of a picture that the user labelled.
pub const LABELLED: &str = "labelled";
/// The flag of a picture of another kind than the labelled ones.
pub const UNLIKE: &str = "unlike";
/// Pictures that are suggested, where nothing else is said.
pub const USUAL: usize = 10;

/// What of a picture decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certainty {
    /// Confidence of the whole picture, 0 to 1.
    pub confidence: f32,
    /// Whether the user labelled it.
    pub labelled: bool,
    /// Whether it is of another kind than the labelled ones.
    pub unlike: bool,
}

impl Certainty {
    /// Of a finished picture.
    pub fn of(record: &PictureRecord) -> Self {
        let has = |flag: &str| record.flags.iter().any(|of| of == flag);
        Self { confidence: record.confidence, labelled: has(LABELLED), unlike: has(UNLIKE) }
    }
}

/// The pictures to label next, best first: those unlike the labelled ones, for a label on one of them teaches what no
/// other can, then the least certain. At most `most`, and where there are more than two pictures at most half of them;
/// of one or two, none.
pub fn next(pictures: &[Certainty], most: usize) -> Vec<usize> {
    let mut next: Vec<usize> =
        (0..pictures.len()).filter(|&index| !pictures[index].labelled).collect();
    next.sort_by(|&a, &b| pictures[a].confidence.total_cmp(&pictures[b].confidence));
    next.sort_by_key(|&index| !pictures[index].unlike);
    next.truncate(if pictures.len() > 2 { most.min(pictures.len() / 2) } else { 0 });
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_another_kind_come_first_and_labelled_ones_never() {
        let picture = |confidence, labelled, unlike| Certainty { confidence, labelled, unlike };
        let pictures = [
            picture(0.9, false, false),
            picture(0.1, true, false),
            picture(0.5, false, false),
            picture(0.8, false, true),
            picture(0.7, false, false),
            picture(0.95, false, false),
        ];
        assert_eq!(next(&pictures, 10), [3, 2, 4]);
        assert_eq!(next(&pictures, 1), [3]);
        assert!(next(&pictures[..2], 10).is_empty());
    }
}
