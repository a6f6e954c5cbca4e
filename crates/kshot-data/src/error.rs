//! One error type: what kind it is, where it happened, what was given, what is valid, what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::names;
use crate::visible::visible;

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting, a recipe key or a command-line value is wrong.
    Config,
    /// A picture, a label or a data set is wrong.
    Data,
    /// A weights file is wrong or does not fit the network.
    Weights,
    /// Sizes that do not fit each other.
    Shape,
    /// The compute device is unknown, missing or failed.
    Device,
    /// The file system or the network failed.
    Io,
    /// Nothing went wrong: whoever asked for the work asked it to stop.
    Cancelled,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "configuration",
            Self::Data => "data",
            Self::Weights => "weights",
            Self::Shape => "shape",
            Self::Device => "device",
            Self::Io => "input/output",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Where an error happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A file, with a 1-based line where it is known.
    File(PathBuf, Option<usize>),
    /// A key of a recipe, such as `train.steps`.
    Key(String),
    /// A tensor of a weights file, such as `encoder.blocks.0.conv.weight`.
    Tensor(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => {
                // A file's name is one word of the sentence, whatever it holds.
                f.write_str(&visible(&path.to_string_lossy()))?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))
            }
            Self::Key(key) => write!(f, "key `{}`", visible(key)),
            Self::Tensor(path) => write!(f, "tensor `{}`", visible(path)),
        }
    }
}

/// An error of this library. Its text says what was given, what is valid and what to do next.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Option<Place>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, place: None, message: message.into(), source: None }
    }

    /// A wrong setting.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A wrong picture, label or data set.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A weights file that is wrong or does not fit.
    pub fn weights(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Weights, message)
    }

    /// A failed read or write: `doing` completes "could not ...", such as "read the mask".
    pub fn io(doing: &str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        let why = match source.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no such file; {}", names::instead_of(path.as_ref()))
            }
            _ => source.to_string(),
        };
        Self::new(ErrorKind::Io, format!("could not {doing}: {why}"))
            .in_file(path)
            .caused_by(source)
    }

    /// A folder that is not there; the nearest name is suggested.
    pub fn no_folder(folder: &Path) -> Self {
        let instead = names::instead_of(folder);
        Self::data(format!("there is no such folder; {instead}")).in_file(folder)
    }

    /// Adds the file.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.place = Some(Place::File(path.as_ref().to_owned(), None));
        self
    }

    /// Adds the file and the 1-based line.
    #[must_use]
    pub fn at_line(mut self, path: impl AsRef<Path>, line: usize) -> Self {
        self.place = Some(Place::File(path.as_ref().to_owned(), Some(line)));
        self
    }

    /// Adds the recipe key.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.place = Some(Place::Key(key.into()));
        self
    }

    /// Adds the tensor's path.
    #[must_use]
    pub fn at_tensor(mut self, path: impl Into<String>) -> Self {
        self.place = Some(Place::Tensor(path.into()));
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it happened, if that is known.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The text without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_leads_with_the_place() {
        let error = Error::data("class 7 is unknown; valid are 0 to 3").at_line("a/b.csv", 4);
        assert_eq!(error.to_string(), "a/b.csv:4: class 7 is unknown; valid are 0 to 3");
        assert_eq!(error.kind(), ErrorKind::Data);
    }

    #[test]
    fn a_name_of_two_lines_is_one_word() {
        let error = Error::data("empty").in_file("a\nkshot: all is well\x1b[2J.png");
        assert_eq!(error.to_string(), "a\\nkshot: all is well\\x1b[2J.png: empty");
    }
}
