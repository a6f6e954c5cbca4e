//! What several targets share.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use kshot_data::annotation::paint;
use kshot_data::image::ReadLimits;
use kshot_data::labels::files::LabelFile;
use kshot_data::labels::names::Classes;

/// Pictures of a fuzzer are small: larger ones are refused by their headers.
pub const LIMITS: ReadLimits = ReadLimits { side: 4096, pixels: 1 << 22 };

/// Gives data to a function as a file of this name, in a folder that stays for all of them.
pub fn as_file(name: &str, data: &[u8], look: impl FnOnce(&Path)) {
    thread_local! {
        static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
    }
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
        let path: PathBuf = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, data).expect("a file");
        look(&path);
    });
}

/// Paints what a label file says of its pictures, where they are small.
pub fn painted(labels: LabelFile) {
    for outlines in labels.pictures {
        let (width, height) = outlines.size.unwrap_or((64, 48));
        if width.saturating_mul(height) > 1 << 20 {
            continue;
        }
        let objects = outlines.objects(width, height);
        let mut names: Vec<String> = objects.iter().map(|object| object.class.clone()).collect();
        names.dedup();
        let _ = paint(&objects, &Classes::new(names), width, height);
    }
}
