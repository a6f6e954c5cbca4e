//! The commands of the correction loop: from a result to a labelling tool, and back into the support.

use std::path::{Path, PathBuf};

use maud::{Markup, html};

/// How far outlines may be off in the commands, in pixels.
const TOLERANCE: &str = "1.5";

/// What the commands name.
#[derive(Debug, Clone, Default)]
pub struct Correction {
    /// The output folder, as it was given.
    pub out: PathBuf,
    /// Where pictures to correct go: a folder that is not there yet.
    pub to_correct: PathBuf,
    /// The command that made the result, an argument an item.
    pub command: Vec<String>,
    /// The folder that it ran in.
    pub working_directory: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The first picture to label next, below the query folder; `None` where none is suggested: then all are converted.
    pub first: Option<String>,
}

impl Correction {
    /// Of a result in `out`, which `command` made.
    pub fn new(
        out: &Path,
        command: Vec<String>,
        working_directory: String,
        classes: Vec<String>,
    ) -> Self {
        Self {
            out: out.to_owned(),
            to_correct: free(out),
            command,
            working_directory,
            classes,
            first: None,
        }
    }

    fn convert(&self, to: &str, simplify: bool) -> String {
        let program = self.command.first().map_or("kshot", String::as_str);
        let mut words = [program, "data", "convert", "--from"].map(str::to_owned).to_vec();
        words.extend([shown(&self.out), "--to".to_owned(), to.to_owned()]);
        if self.first.is_some() {
            words.push("--next".to_owned());
        }
        if simplify {
            words.extend(["--simplify".to_owned(), TOLERANCE.to_owned()]);
        }
        words.extend(["--out".to_owned(), shown(&self.to_correct)]);
        line(&words)
    }

    fn at(&self, below: &str) -> String {
        quoted(&shown(&self.to_correct.join(below)))
    }

    /// A picture, and its mask as a TIFF.
    fn pair(&self) -> String {
        let first = self.first.as_deref().unwrap_or("NAME.png");
        let mask = shown(&Path::new(first).with_extension("tif"));
        format!("{} {}", self.at(&format!("images/{first}")), self.at(&format!("masks/{mask}")))
    }

    /// The run's command with the corrected folder as a further support.
    fn again(&self) -> String {
        let mut words = self.command.clone();
        let added = ["--support".to_owned(), shown(&self.to_correct)];
        let given =
            words.iter().rposition(|word| word == "--support" || word.starts_with("--support="));
        let place = match given {
            Some(at) if words[at] == "--support" => at + 2,
            Some(at) => at + 1,
            None => words.len(),
        };
        words.splice(place.min(words.len())..place.min(words.len()), added);
        line(&words)
    }
}

/// The first folder beside `out` of such a name that is not there: earlier corrections stay.
fn free(out: &Path) -> PathBuf {
    let name =
        out.file_name().map_or_else(|| "result".into(), |name| name.to_string_lossy().into_owned());
    let numbered = (2..).map(|number| format!("{name}-to-correct-{number}"));
    let mut names = std::iter::once(format!("{name}-to-correct")).chain(numbered);
    // The numbers do not end, so that one is found.
    let free = names.find(|name| !out.with_file_name(name).exists());
    out.with_file_name(free.unwrap_or_default())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A command line that a shell takes apart into these words again.
pub fn line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as it stands in a POSIX shell's command.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) && !word.starts_with('~') {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

pub(super) fn section(of: &Correction) -> Markup {
    let labels: Vec<_> =
        of.classes.iter().map(|name| serde_json::json!({"name": name, "attributes": []})).collect();
    let labels = serde_json::Value::from(labels).to_string();
    html! {
        section id="correct" {
            h2 { "Correct them, and learn from the corrections" }
            p.lead {
                "Commands for a shell"
                @if !of.working_directory.is_empty() { " in " code { (of.working_directory) } }
                ". Pictures are copied; classes keep their names and order. What is still kshot's own prediction when it comes back "
                "is passed over: save what is right, too."
            }
            details open {
                summary { b { "LabelMe" } ": polygons" }
                pre {
                    (of.convert("labelme", true)) "\n"
                    "labelme " (of.at("images")) " --labels " (of.at("classes.txt")) " --flags right"
                }
                p.muted {
                    "Move, add and remove corners; LabelMe saves what is changed. For a picture that needs no change, tick the flag "
                    i { "right" } ", so that it is saved too. A hole is reached by a slit from the outline."
                }
            }
            details {
                summary { b { "CVAT" } ": polygons or brush" }
                pre { (of.convert("coco", true)) }
                p.muted {
                    "Make a task: paste these labels under Raw, upload the pictures of " code { (shown(&of.to_correct.join("images"))) } ", then Actions, "
                    "Upload annotations, format COCO 1.0, " code { (shown(&of.to_correct.join("annotations.json"))) } ". Without "
                    code { "--simplify " (TOLERANCE) } " but with " code { "--simplify 0" } " they come as masks for the brush."
                }
                pre { (labels) }
                p.muted { "Afterwards: Actions, Export task dataset, format COCO 1.0, and unpack it beside the pictures. All pictures of the export count as labelled." }
                pre { "unzip -o task.zip 'annotations/*' -d " (quoted(&shown(&of.to_correct))) }
            }
            details {
                summary { b { "napari" } ": brush (needs Python with napari)" }
                pre {
                    (of.convert("tiff-masks", false)) "\n"
                    "python -c 'import napari, sys; v = napari.Viewer(); v.open(sys.argv[1]); v.open(sys.argv[2], layer_type=\"labels\"); napari.run()' "
                    (of.pair())
                }
                p.muted {
                    "One picture at a time. Paint with the class's number (0 is background), then save the labels layer over the file in "
                    code { "masks" } " (File, Save Selected Layers; TIFF)."
                }
            }
            details {
                summary { b { "QGIS" } ", Fiji: pixels" }
                pre { (of.convert("tiff-masks", false)) }
                p.muted {
                    "Open a picture and its mask of the same name in " code { "masks" } " as raster layers, and change values (0 is background, "
                    "then the classes from 1). Masks are one band of 8 bits, uncompressed, which raster editors such as QGIS's Serval plugin change "
                    "in place; masks of GeoTIFFs lie where their pictures lie, others at pixel coordinates. Polygons for QGIS are not written."
                }
            }
            p.lead style="margin-top:16px" { "Back into the support: both folders together, pictures that are in both by their corrected labels" }
            pre { (of.again()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correction(out: &Path) -> Correction {
        let command = ["kshot", "segment", "--support", "my labels", "--query", "q", "--out", "o"];
        let command = command.map(str::to_owned).to_vec();
        let mut of = Correction::new(out, command, "/home/u".into(), vec!["it's".into()]);
        of.first = Some("a b.png".into());
        of
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let command = "a 'b c' 'it'\\''s' '' '$x' 'é' --x=1/2".to_owned();
        let words = ["a", "b c", "it's", "", "$x", "é", "--x=1/2"].map(str::to_owned);
        assert_eq!(line(&words), command);
        let mut shell = std::process::Command::new("sh");
        let told = shell.arg("-c").arg(format!("printf '%s\\n' {command}")).output().unwrap();
        assert_eq!(String::from_utf8(told.stdout).unwrap(), words.join("\n") + "\n");
    }

    #[test]
    fn commands_name_a_folder_that_is_not_there_and_add_it_to_the_support() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("my out");
        let of = correction(&out);
        assert!(of.to_correct.ends_with("my out-to-correct"));
        std::fs::create_dir_all(&of.to_correct).unwrap();
        let of = correction(&out);
        assert!(of.to_correct.ends_with("my out-to-correct-2"));
        let to = of.to_correct.display();
        assert_eq!(
            of.again(),
            format!("kshot segment --support 'my labels' --support '{to}' --query q --out o")
        );
        let convert = of.convert("labelme", true);
        assert!(convert.ends_with(&format!("--to labelme --next --simplify 1.5 --out '{to}'")));
        let page = section(&of).into_string();
        assert!(
            page.contains("/images/a b.png&#39;") || page.contains("/images/a b.png'"),
            "{page}"
        );
    }
}
