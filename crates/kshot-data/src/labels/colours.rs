//! Masks whose classes are colours, by a list of names and colours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::labels::index::Coloured;
use crate::labels::names::{Classes, lines, reserved};
use crate::mask::{BACKGROUND, Mask};
use crate::names::counted;
use crate::palette::Rgb;

/// Where colours are declared, the first that there is: ours, and LabelMe's and CVAT's.
pub const FILES: [&str; 5] =
    ["colors.csv", "colours.csv", "colors.txt", "colours.txt", "labelmap.txt"];

/// Names and their colours.
#[derive(Debug, Clone)]
pub struct Colours {
    /// The file.
    pub path: PathBuf,
    /// Names in the file's order, background and the like too.
    pub entries: Vec<(String, Rgb)>,
}

impl Colours {
    /// The colours that a folder declares, if it does.
    ///
    /// # Errors
    /// If the file cannot be read, a line is wrong, or a colour stands for two names.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let path = FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        path.map(|path| Self::read(&path)).transpose()
    }

    fn read(path: &Path) -> Result<Self> {
        let mut entries: Vec<(String, Rgb)> = Vec::new();
        let mut known: HashMap<Rgb, String> = HashMap::new();
        for (index, line) in lines(path)?.iter().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let Some((name, colour)) = entry(line) else {
                // A header has no numbers.
                if index == 0 && !line.contains(|character: char| character.is_ascii_digit()) {
                    continue;
                }
                return Err(Error::data(format!(
                    "`{line}` is no colour; a line is name,red,green,blue (0 to 255), or \
                     name:red,green,blue:: as in labelmap.txt"
                ))
                .in_file(path));
            };
            let other = known.entry(colour).or_insert_with(|| name.clone());
            if *other != name {
                return Err(Error::data(format!(
                    "`{other}` and `{name}` have the same colour {}; give each its own",
                    shown(colour)
                ))
                .in_file(path));
            }
            entries.push((name, colour));
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The classes of a coloured mask; black is background where no colour is declared for that.
    ///
    /// # Errors
    /// If it holds a colour that is not declared: all are listed with their pixels.
    pub fn mask(&self, file: &Path, coloured: &Coloured, classes: &Classes) -> Result<Mask> {
        let mut values: HashMap<Rgb, u8> = HashMap::new();
        if !self.entries.iter().any(|(name, _)| reserved(name) == Some(BACKGROUND)) {
            values.insert([0; 3], BACKGROUND);
        }
        for (name, colour) in &self.entries {
            values.insert(*colour, classes.value(name).map_err(|error| error.in_file(&self.path))?);
        }
        let wrong: Vec<Rgb> = coloured
            .pixels
            .iter()
            .filter(|colour| !values.contains_key(*colour))
            .copied()
            .collect();
        if !wrong.is_empty() {
            let declared = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::data(format!(
                "colours that {declared} does not declare: {}; add them there, or save the mask \
                 without smoothing and not as JPEG",
                listed(&wrong)
            ))
            .in_file(file));
        }
        let pixels = coloured.pixels.iter().map(|colour| values[colour]).collect();
        Mask::from_pixels(coloured.width, coloured.height, pixels)
    }
}

/// A line's name and colour, in any of the known forms.
fn entry(line: &str) -> Option<(String, Rgb)> {
    let mapped = || {
        let (name, rest) = line.split_once(':')?;
        Some((name, numbers(rest.split(':').next()?)?))
    };
    // From the end: a name may hold what parts the numbers.
    let parted = |by: fn(char) -> bool| {
        let at = line.char_indices().rev().filter(|&(_, character)| by(character)).nth(2)?.0;
        Some((&line[..at], numbers(&line[at..])?))
    };
    let (name, colour) = mapped()
        .or_else(|| parted(|character| matches!(character, ',' | ';' | '\t')))
        .or_else(|| parted(char::is_whitespace))?;
    let name = name.trim().trim_matches('"');
    (!name.is_empty()).then(|| (name.to_owned(), colour))
}

fn numbers(text: &str) -> Option<Rgb> {
    let words = text.split([',', ';', ' ', '\t']).map(str::trim).filter(|word| !word.is_empty());
    let numbers: Vec<u8> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

fn shown([red, green, blue]: Rgb) -> String {
    format!("({red}, {green}, {blue})")
}

/// The most frequent of some pixels' colours, with how many pixels each has.
pub fn listed(pixels: &[Rgb]) -> String {
    let mut counts: HashMap<Rgb, usize> = HashMap::new();
    for &pixel in pixels {
        *counts.entry(pixel).or_default() += 1;
    }
    let mut counts: Vec<(Rgb, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(colour, count)| (std::cmp::Reverse(count), colour));
    let mut words: Vec<String> = counts
        .iter()
        .take(6)
        .map(|&(colour, count)| {
            format!("{} ({})", shown(colour), counted(count, "pixel", "pixels"))
        })
        .collect();
    if counts.len() > 6 {
        words.push(format!("{} more", counts.len() - 6));
    }
    words.join(", ")
}

/// The text of a `colors.csv`.
pub fn text<'a>(entries: impl IntoIterator<Item = (&'a str, Rgb)>) -> String {
    let mut text = "name,r,g,b\n".to_owned();
    for (name, [red, green, blue]) in entries {
        text.push_str(&format!("{name},{red},{green},{blue}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_line_is_read() {
        for line in [
            "tv monitor,1,2,3",
            "tv monitor: 1,2,3::",
            "tv monitor 1 2 3",
            "tv monitor;1;2;3",
            "\"tv monitor\", 1, 2, 3",
        ] {
            assert_eq!(entry(line), Some(("tv monitor".to_owned(), [1, 2, 3])), "{line}");
        }
        for line in
            ["name,r,g,b", "a,1,2", "a,1,2,256", ",1,2,3", "# label:color_rgb:parts:actions"]
        {
            assert_eq!(entry(line), None, "{line}");
        }
    }

    #[test]
    fn colours_nobody_declared_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("labelmap.txt"), "# x\ncat:9,0,0::\nignore:9,9,9::\n")
            .unwrap();
        let colours = Colours::find(folder.path()).unwrap().unwrap();
        let classes = Classes::new(vec!["cat".into()]);
        let mut coloured =
            Coloured { width: 3, height: 1, pixels: vec![[9, 0, 0], [0; 3], [9; 3]] };
        let mask = colours.mask(Path::new("m.png"), &coloured, &classes).unwrap();
        assert_eq!(mask.pixels, [1, 0, 255]);
        coloured.pixels[1] = [1, 2, 3];
        let error = colours.mask(Path::new("m.png"), &coloured, &classes).unwrap_err().to_string();
        assert!(error.contains("(1, 2, 3) (1 pixel)") && error.contains("labelmap.txt"), "{error}");
        std::fs::write(folder.path().join("colors.csv"), "a,1,2,3\nb,1,2,3\n").unwrap();
        let error = Colours::find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("same colour"), "{error}");
    }
}
