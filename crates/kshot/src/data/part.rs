//! Which pictures of a data set: a list's name, with or without a filter by the pictures' names.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Subset};
use crate::error::{Error, Result};

/// Which pictures of a data set, as recipes write it: `"train"`, or `{ list = "train", exclude = ["0001TP_*"] }`.
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
    /// Those of a list whose names fit.
    Filtered(FilteredPart),
}

/// The pictures of a list whose names fit.
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
            Self::Filtered(FilteredPart { list, include, exclude }) => {
                write!(f, "{list} ({}", include.join(", "))?;
                if !exclude.is_empty() {
                    let gap = if include.is_empty() { "" } else { " " };
                    write!(f, "{gap}without {}", exclude.join(", "))?;
                }
                f.write_str(")")
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
    /// If no picture fits, or none fits one of the patterns.
    pub fn of(&self, all: Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let Self::Filtered(FilteredPart { list, include, exclude }) = self else { return Ok(all) };
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
        let chosen: Vec<usize> = (0..count)
            .filter(|&index| include.is_empty() || include.iter().any(|of| fits(of, index)))
            .filter(|&index| !exclude.iter().any(|of| fits(of, index)))
            .collect();
        if chosen.is_empty() {
            return Err(Error::data(format!("the part `{self}` has no picture")));
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
