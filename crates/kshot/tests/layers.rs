//! Who may use whom: the module order drawn in GUIDE.md, held against the code's own paths.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::{Path, PathBuf};

/// The modules in the order of the drawing: each may use those before it and none behind it.
fn drawn() -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../GUIDE.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let block = text.split("```layers").nth(1).unwrap().split("```").next().unwrap();
    let modules = block.lines().filter_map(|line| line.split("  ").next());
    modules.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The modules of the library's root that a source names after `crate::`, with the line of each.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            // `crate::{a, b}` names several.
            let names = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default(),
                // Commas behind one path are of what is inside it.
                None => rest.split(',').next().unwrap_or_default(),
            };
            for name in names.split(',') {
                let end = name.trim().find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
                let name = &name.trim()[..end.unwrap_or(name.trim().len())];
                if !name.is_empty() {
                    found.push((index + 1, name.to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn no_module_uses_one_that_stands_behind_it() {
    let order = drawn();
    let place = |name: &str| order.iter().position(|other| other == name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.iter().next().unwrap().to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(own) = place(module) else {
            wrong.push(format!("GUIDE.md's drawing lacks the module `{module}`"));
            continue;
        };
        for (line, name) in used(&std::fs::read_to_string(&file).unwrap()) {
            if place(&name).is_some_and(|other| other > own) {
                let target = ["rs", "/mod.rs"].iter().map(|end| format!("{name}{end}"));
                let target = target.map(|end| end.replace("rs", ".rs").replace("..", "."));
                let target = target.into_iter().find(|of| root.join(of).is_file());
                wrong.push(format!(
                    "{}:{line} uses {}, which stands behind `{module}`",
                    relative.display(),
                    target.unwrap_or(name)
                ));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "upward imports:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_drawing_names_every_module_once() {
    let order = drawn();
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    for line in lib.unwrap().lines() {
        if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            let count = order.iter().filter(|other| *other == name).count();
            assert_eq!(count, 1, "`{name}` stands {count} times in GUIDE.md's drawing");
        }
    }
}

#[test]
fn paths_are_found_in_code_and_not_in_comments() {
    let text = "use crate::nn::x;\n// crate::job\nlet a = crate::data::y(); use crate::{eval, train};\n\
                use crate::features::{A, plan};";
    let names: Vec<_> =
        used(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(names, ["1 nn", "3 data", "3 eval", "3 train", "4 features"]);
}
