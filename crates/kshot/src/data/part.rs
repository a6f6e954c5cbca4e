//! Which pictures of a data set: a list's name, with or without a filter by the pictures' names, all or so many of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Subset};
use crate::error::{Error, Result};

/// Which pictures of a data set, as recipes write it: `"train"`, `{ list = "train", exclude = ["0001TP_*"] }`, or
/// `{ list = "train", count = 20, seed = 1 }`.
///
/// ```
/// use kshot::data::part::Part;
/// let part: Part = toml::from_str("list = \"train\"\ninclude = [\"0001TP_*\"]").unwrap();
/// assert_eq!(part.to_string(), "train (0001TP_*)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Part {
    /// All pictures of a list.
    List(#[schemars(length(min = 1))] String),
    /// Some of a list.
    Filtered(FilteredPart),
}

/// The pictures of a list whose names fit, or so many of them.
///
/// A pattern is held against a picture's file name, with its ending or without; `*` stands for any characters, `?` for
/// one. A pattern that no picture of the list fits is an error: a mistyped one would let pictures in that it was to
/// keep out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilteredPart {
    /// The list, such as `train`.
    #[schemars(length(min = 1), example = &"train")]
    pub list: String,
    /// Patterns of names, such as `0001TP_*`, of which a picture fits at least one; by default all pictures do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1)))]
    pub include: Vec<String>,
    /// Patterns of names, of which a picture fits none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1)))]
    pub exclude: Vec<String>,
    /// So many of them, drawn by `seed`: a budget of labels. More of the same seed hold all that fewer do. By default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub count: Option<usize>,
    /// The seed by which `count` pictures are drawn.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    pub seed: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde asks
fn is_zero(seed: &u64) -> bool {
    *seed == 0
}

impl From<&str> for Part {
    fn from(list: &str) -> Self {
        Self::List(list.to_owned())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(list) => f.write_str(list),
            Self::Filtered(FilteredPart { list, include, exclude, count, seed }) => {
                let named = (!include.is_empty()).then(|| include.join(", "));
                let without =
                    (!exclude.is_empty()).then(|| format!("without {}", exclude.join(", ")));
                let drawn = count.map(|count| format!("{count} drawn by seed {seed}"));
                let told: Vec<String> = [named, without, drawn].into_iter().flatten().collect();
                if told.is_empty() {
                    f.write_str(list)
                } else {
                    write!(f, "{list} ({})", told.join(" "))
                }
            }
        }
    }
}

impl Part {
    /// The list's name.
    pub fn list(&self) -> &str {
        match self {
            Self::List(list) | Self::Filtered(FilteredPart { list, .. }) => list,
        }
    }

    /// Those of a list's pictures that fit.
    ///
    /// # Errors
    /// If no picture fits, none fits one of the patterns, or there are fewer than `count`.
    pub fn of(&self, all: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let Self::Filtered(FilteredPart { list, include, exclude, count: budget, seed }) = self
        else {
            return Ok(all);
        };
        let fits = |pattern: &String, index: usize| is_match(pattern, all.file(index));
        let count = all.len();
        if let Some(idle) =
            include.iter().chain(exclude).find(|of| !(0..count).any(|index| fits(of, index)))
        {
            let first = all.file(0).file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::data(format!(
                "no picture of the list `{list}` fits `{idle}`; there are {count}, the first of which is {first} (`*` \
                 stands for any characters)"
            )));
        }
        let mut chosen: Vec<usize> = (0..count)
            .filter(|&index| include.is_empty() || include.iter().any(|of| fits(of, index)))
            .filter(|&index| !exclude.iter().any(|of| fits(of, index)))
            .collect();
        if chosen.is_empty() {
            return Err(Error::data(format!("the part `{self}` has no picture")));
        }
        if let Some(budget) = *budget {
            if budget > chosen.len() {
                return Err(Error::data(format!(
                    "the part `{self}` asks for {budget} pictures, and there are {}",
                    chosen.len()
                )));
            }
            chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(*seed));
            chosen.truncate(budget);
            chosen.sort_unstable();
        }
        Ok(Arc::new(Subset::new(all, chosen)))
    }
}

/// Whether a file's name, with its ending or without, is as a pattern says.
fn is_match(pattern: &str, file: &Path) -> bool {
    let names = [file.file_name(), file.file_stem()];
    names.into_iter().flatten().any(|name| matches(pattern, &name.to_string_lossy()))
}

/// Whether a text is as a pattern says: `*` is any characters, `?` one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last star, and where what it stands for ends: one character more is tried when the rest does not fit.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&of) if of == '?' || of == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, end)) => {
                    star = Some((at, end + 1));
                    (p, t) = (at + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|of| *of == '*')
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kshot_data::mask::Mask;

    use super::*;

    struct Named(Vec<PathBuf>);

    impl Dataset for Named {
        fn classes(&self) -> &[String] {
            &[]
        }
        fn len(&self) -> usize {
            self.0.len()
        }
        fn file(&self, index: usize) -> &Path {
            &self.0[index]
        }
        fn label_files(&self, _: usize) -> Vec<PathBuf> {
            Vec::new()
        }
        fn mask(&self, _: usize) -> Result<Mask> {
            Ok(Mask::filled(1, 1, 0))
        }
    }

    fn names(text: &str) -> std::result::Result<Vec<String>, String> {
        let all = ["dusk_1.jpg", "dusk_2.jpg", "day_1.jpg", "day.2.png"];
        let all =
            Arc::new(Named(all.iter().map(|name| Path::new("x/dusk_0").join(name)).collect()));
        let part: Part = toml::from_str::<FilteredPart>(text).map(Part::Filtered).unwrap();
        let set = part.of(all).map_err(|error| error.to_string())?;
        let name = |index| set.file(index).file_name().unwrap().to_string_lossy().into_owned();
        Ok((0..set.len()).map(name).collect())
    }

    #[test]
    fn pictures_are_chosen_by_their_names() {
        let of = |text: &str| names(&format!("list = \"all\"\n{text}"));
        assert_eq!(of("").unwrap().len(), 4);
        assert_eq!(of("include = [\"dusk_*\"]").unwrap(), ["dusk_1.jpg", "dusk_2.jpg"]);
        assert_eq!(of("exclude = [\"dusk_*\"]").unwrap(), ["day_1.jpg", "day.2.png"]);
        assert_eq!(of("include = [\"*1\", \"*2\"]\nexclude = [\"day*\"]").unwrap().len(), 2);
        assert_eq!(
            of("include = [\"d??k_1.jpg\", \"day.2\"]").unwrap(),
            ["dusk_1.jpg", "day.2.png"]
        );
        let error = of("include = [\"dusk_*\"]\nexclude = [\"day_7\"]").unwrap_err();
        assert!(error.contains("day_7") && error.contains("dusk_1.jpg"), "{error}");
        let error = of("include = [\"dusk_*\"]\nexclude = [\"d*\"]").unwrap_err();
        assert!(error.contains("all (dusk_* without d*)"), "{error}");
    }

    #[test]
    fn a_larger_budget_holds_the_smaller_ones() {
        let of = |text: &str| names(&format!("list = \"all\"\n{text}"));
        for seed in 0..4 {
            let drawn: Vec<_> = (1..=4)
                .map(|count| of(&format!("count = {count}\nseed = {seed}")).unwrap())
                .collect();
            for (count, pair) in (1..).zip(drawn.windows(2)) {
                assert_eq!(pair[0].len(), count);
                assert!(pair[0].iter().all(|name| pair[1].contains(name)), "{pair:?}");
            }
            assert_eq!(drawn[3], of("").unwrap(), "in their order");
        }
        let other = |seed: usize| of(&format!("count = 1\nseed = {seed}")).unwrap();
        assert!((1..20).any(|seed| other(seed) != other(0)));
        let error = of("include = [\"dusk_*\"]\ncount = 3\nseed = 1").unwrap_err();
        assert!(
            error.contains("all (dusk_* 3 drawn by seed 1)") && error.contains("there are 2"),
            "{error}"
        );
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-cd", false),
            ("*ab", "aab", true),
            ("?", "", false),
            ("a", "ab", false),
            ("**b", "ab", true),
            ("é?", "éa", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
