//! Labelled pictures that are there more than once: told once for each kind, with a number and a few names.
//!
//! Two are the same where their files are, and look the same where both a hash of what they show and the encoder's vectors
//! say so; either alone takes simple drawings, or pictures of one scene, for copies.

use std::collections::HashMap;

use kshot_data::names::listed;
use kshot_data::near_duplicate::alike;
use rayon::prelude::*;

use crate::classify::heads::dot;
use crate::classify::model_file::StoredClass;

/// How many pairs a message shows.
const SHOWN: usize = 3;
/// Cosine from which vectors are of the same picture.
const SAME: f32 = 0.97;

/// A labelled picture.
struct Labelled<'a> {
    class: &'a str,
    file: &'a str,
    sha256: &'a str,
    vector: &'a [f32],
    hash: u64,
}

/// What two pictures are to each other.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The same file in two classes.
    SameElsewhere,
    /// They look the same, in two classes.
    AlikeElsewhere,
    /// They look the same, in one class.
    Copy,
}

/// What is odd about labelled pictures, in words; `hashes` are those of what they show, by class.
pub(super) fn told(classes: &[StoredClass], hashes: &[Vec<u64>]) -> Vec<String> {
    let all: Vec<Labelled<'_>> = classes
        .iter()
        .zip(hashes)
        .flat_map(|(class, hashes)| class.examples.iter().zip(hashes).map(move |e| (class, e)))
        .map(|(class, (example, hash))| Labelled {
            class: &class.name,
            file: &example.file,
            sha256: &example.sha256,
            vector: &example.vector,
            hash: *hash,
        })
        .collect();
    // Each with the first that it is a copy of.
    let found: Vec<(Kind, usize, usize)> =
        (0..all.len()).into_par_iter().filter_map(|index| first_like(&all, index)).collect();
    let of = |kind: Kind| -> Vec<(&Labelled<'_>, &Labelled<'_>)> {
        let pairs = found.iter().filter(|(other, ..)| *other == kind);
        pairs.map(|(_, one, other)| (&all[*one], &all[*other])).collect()
    };
    let said = [Kind::SameElsewhere, Kind::AlikeElsewhere, Kind::Copy];
    said.into_iter().filter_map(|kind| words(kind, &of(kind))).collect()
}

/// The kind of the first picture before `index` that is the same; one of another class counts more.
fn first_like(all: &[Labelled<'_>], index: usize) -> Option<(Kind, usize, usize)> {
    let one = &all[index];
    let same = |other: &Labelled<'_>| other.sha256 == one.sha256;
    let looks = |other: &Labelled<'_>| {
        same(other) || alike(other.hash, one.hash) && dot(other.vector, one.vector) >= SAME
    };
    let before = || all[..index].iter().enumerate();
    let elsewhere = |other: &Labelled<'_>| other.class != one.class;
    let found = |kind, at: Option<(usize, &Labelled<'_>)>| at.map(|(at, _)| (kind, at, index));
    found(Kind::SameElsewhere, before().find(|(_, other)| elsewhere(other) && same(other)))
        .or_else(|| {
            found(
                Kind::AlikeElsewhere,
                before().find(|(_, other)| elsewhere(other) && looks(other)),
            )
        })
        .or_else(|| found(Kind::Copy, before().find(|(_, other)| looks(other))))
}

fn words(kind: Kind, pairs: &[(&Labelled<'_>, &Labelled<'_>)]) -> Option<String> {
    let labels = |(one, other): &(&Labelled<'_>, &Labelled<'_>)| {
        format!("{} as {} and {} as {}", one.file, one.class, other.file, other.class)
    };
    let names =
        |(one, other): &(&Labelled<'_>, &Labelled<'_>)| format!("{} and {}", one.file, other.file);
    let some = |text: &dyn Fn(&(&Labelled<'_>, &Labelled<'_>)) -> String| {
        let texts: Vec<String> = pairs.iter().take(SHOWN).map(text).collect();
        let more = pairs.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", texts.join("; "))
    };
    Some(match (kind, pairs) {
        (_, []) => return None,
        (Kind::SameElsewhere, [(one, other)]) => format!(
            "{} and {} are the same picture, labelled {} and {}; remove one",
            one.file, other.file, one.class, other.class
        ),
        (Kind::SameElsewhere, _) => format!(
            "{} pictures are in two classes: {}; remove one of each",
            pairs.len(),
            some(&labels)
        ),
        (Kind::AlikeElsewhere, [(one, other)]) => format!(
            "{} and {} look the same, and are labelled {} and {}; look at both",
            one.file, other.file, one.class, other.class
        ),
        (Kind::AlikeElsewhere, _) => format!(
            "{} pictures look the same as one of another class: {}; look at both of each",
            pairs.len(),
            some(&labels)
        ),
        (Kind::Copy, _) => format!(
            "{} the same as another of {} class: {}; a copy adds nothing and makes the expected \
             accuracy too good",
            if pairs.len() == 1 {
                "1 picture looks".to_owned()
            } else {
                format!("{} pictures look", pairs.len())
            },
            if pairs.len() == 1 { "its" } else { "their" },
            some(&names)
        ),
    })
}

/// Pictures of a class whose very files are in other classes of a model, in words.
pub(crate) fn in_others(classes: &[StoredClass], added: &StoredClass) -> Option<String> {
    let others = classes.iter().filter(|class| class.name != added.name);
    let known: HashMap<&str, &str> = others
        .flat_map(|class| class.examples.iter().map(|e| (&*e.sha256, &*class.name)))
        .collect();
    let twice: Vec<String> = added
        .examples
        .iter()
        .filter_map(|example| Some(format!("{} in {}", example.file, known.get(&*example.sha256)?)))
        .collect();
    (!twice.is_empty()).then(|| {
        format!(
            "{} in another class too: {}; a picture has one class",
            kshot_data::names::counted(twice.len(), "picture is", "pictures are"),
            listed(&twice, SHOWN)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::model_file::StoredExample;

    /// Of a hash with structure, so that it says something.
    const HASH: u64 = 0x00ff_00ff_00ff_00ff;

    fn class(name: &str, files: &[(&str, &str, [f32; 2])]) -> StoredClass {
        let examples = files
            .iter()
            .map(|(file, sha256, vector)| StoredExample {
                file: format!("{name}/{file}"),
                sha256: (*sha256).into(),
                vector: vector.to_vec(),
                thumbnail: Vec::new(),
            })
            .collect();
        StoredClass { name: name.into(), examples }
    }

    #[test]
    fn each_kind_is_told_once() {
        let classes = [
            class("a", &[("1.png", "x", [1.0, 0.0]), ("2.png", "y", [1.0, 0.0])]),
            class("b", &[("3.png", "x", [1.0, 0.0]), ("4.png", "z", [0.0, 1.0])]),
            class("c", &[("5.png", "w", [0.0, 1.0])]),
        ];
        // The second is far in vectors' terms from nothing, but its hash is another.
        let hashes = [vec![HASH, !HASH], vec![HASH, HASH], vec![HASH | 1]];
        let said = told(&classes, &hashes);
        assert_eq!(
            said,
            [
                "a/1.png and b/3.png are the same picture, labelled a and b; remove one",
                "b/4.png and c/5.png look the same, and are labelled b and c; look at both"
            ]
        );
        let copies: Vec<(String, String)> =
            (0..9).map(|index| (format!("{index}.png"), format!("{index}"))).collect();
        let files: Vec<(&str, &str, [f32; 2])> =
            copies.iter().map(|(file, hash)| (&**file, &**hash, [1.0, 0.0])).collect();
        let said = told(&[class("a", &files)], &[vec![HASH; 9]]);
        let pairs = "a/0.png and a/1.png; a/0.png and a/2.png; a/0.png and a/3.png; and 5 more";
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("8 pictures look the same") && said[0].contains(pairs),
            "{said:?}"
        );
        assert_eq!(
            told(&[class("a", &files)], &[vec![0; 9]]),
            [""; 0],
            "flat pictures say nothing"
        );
    }

    #[test]
    fn files_of_other_classes_are_told() {
        let classes = [class("a", &[("1.png", "x", [1.0, 0.0])])];
        let said = in_others(&classes, &class("b", &[("2.png", "x", [1.0, 0.0])])).unwrap();
        assert!(said.starts_with("1 picture is in another class too: b/2.png in a"), "{said}");
        assert!(in_others(&classes, &class("a", &[("2.png", "x", [1.0, 0.0])])).is_none());
    }
}
