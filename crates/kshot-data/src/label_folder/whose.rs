//! Label files whose own name and the picture that they name disagree.
//!
//! LabelMe's and VOC's files are for the picture of their own name, whatever they say: pictures are renamed more often than
//! the text inside is mended. Where only the other picture is here, or where it alone has the size that the file says, the
//! file is for that.

use std::path::{Path, PathBuf};

use crate::finding::Severity;
use crate::label_folder::LabelSource;
use crate::label_folder::find::{Finder, shown, without_ending};
use crate::label_folder::layout::loosely;
use crate::label_folder::text::Named;
use crate::labels::Outlines;
use crate::names::{Examples, counted};

/// Label files that name another picture than their own, by what was done.
#[derive(Debug, Default)]
pub(super) struct Disagreements {
    /// Theirs is used, the other is not here.
    own: Examples,
    /// Theirs is used although the other is here.
    own_of_two: Examples,
    /// The other is used: theirs is not here.
    named: Examples,
    /// The other is used: it has the size that the file says.
    fitting: Examples,
    /// The first of all.
    first: PathBuf,
}

impl Finder {
    /// Gives outlines to the picture of the file's own name, or to the one that the file names.
    pub(super) fn label_own(&mut self, key: &Path, base: &Path, outlines: Outlines) {
        let Some(name) = outlines.picture.clone().filter(|name| !is_same(key, name)) else {
            return self.label_key(key, LabelSource::Outlines(outlines));
        };
        let own = self.owners(key).and_then(|indices| indices.first().copied());
        let other = match self.named(&name.replace('\\', "/"), base) {
            Named::One(index) => Some(index),
            Named::None | Named::Several => None,
        };
        if own.is_some() && own == other {
            return self.label_key(key, LabelSource::Outlines(outlines));
        }
        let fits = |index: usize| {
            let size = |(width, height): (u32, u32)| (width as usize, height as usize);
            let read = crate::image::dimensions(&self.pictures[index].file).ok();
            outlines.size.is_some() && read.map(size) == outlines.size
        };
        let by_size = matches!((own, other), (Some(own), Some(other)) if !fits(own) && fits(other));
        let told = &mut self.disagreements;
        if told.first.as_os_str().is_empty() {
            told.first.clone_from(&outlines.file);
        }
        let example = format!("{} names `{name}`", shown(&outlines.file));
        match (own, other) {
            (Some(_), None) => told.own.add(example),
            (Some(_), Some(_)) if !by_size => told.own_of_two.add(example),
            (Some(_), Some(_)) => told.fitting.add(example),
            (None, Some(_)) => told.named.add(example),
            (None, None) => {}
        }
        match other {
            Some(index) if own.is_none() || by_size => {
                self.label(index, LabelSource::Outlines(outlines));
            }
            _ => self.label_key(key, LabelSource::Outlines(outlines)),
        }
    }

    /// Tells of all files that name another picture, a finding for each way out.
    pub(super) fn tell_disagreements(&mut self) {
        let Disagreements { own, own_of_two, named, fitting, first } =
            std::mem::take(&mut self.disagreements);
        let all: usize = [&own, &own_of_two, &named, &fitting].map(Examples::count).iter().sum();
        for (files, what) in [
            (own, "a picture that is not here; that of the file's own name is used"),
            (own_of_two, "another picture, which is here too; that of the file's own name is used"),
            (named, "another picture; it is used, as none has the file's own name"),
            (fitting, "another picture; it is used, as it alone has the size that the file says"),
        ] {
            let count = files.count();
            if count == 0 {
                continue;
            }
            let place = if all == 1 { &first } else { &self.root };
            let of = counted(count, "label file names", "label files name");
            let todo = "look at an overlay, and mend the name inside the file or that of the file";
            self.findings.add(Severity::Warning, place, format!("{of} {what}: {files}"), todo);
        }
    }
}

/// Whether a picture's name inside a file is the file's own, but for folders, endings, case and forms of letters.
fn is_same(key: &Path, name: &str) -> bool {
    let name = name.replace('\\', "/");
    let last = Path::new(name.rsplit('/').next().unwrap_or_default());
    let key = Path::new(key.file_name().unwrap_or_default());
    let forms = |name: &Path| [loosely(name), loosely(&without_ending(name))];
    last.as_os_str().is_empty() || forms(last).iter().any(|form| forms(key).contains(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_folders_and_case_make_no_other_picture() {
        for name in ["a.png", "../images/A.JPG", "x\\a.tif", "a", ""] {
            assert!(is_same(Path::new("sub/a"), name), "{name}");
        }
        assert!(is_same(Path::new("a.jpg"), "a.png") && !is_same(Path::new("a"), "b.png"));
    }
}
