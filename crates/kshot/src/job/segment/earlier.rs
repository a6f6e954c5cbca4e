//! What an earlier run left in the output folder: it is never mixed with this one's without a word.

use std::collections::HashSet;
use std::path::Path;

use kshot_data::journal::{Journal, PictureRecord, Record};
use kshot_data::labels::index;
use kshot_data::names::{counted, listed};
use kshot_data::query::{Item, fingerprint};
use kshot_data::rle;

use crate::error::{Error, Result};
use crate::job::segment::SegmentOptions;
use crate::report::run::RunFile;

/// Names listed at most.
const LISTED: usize = 3;

/// Refuses a folder that holds the results of other pictures, unless they are to be replaced.
///
/// # Errors
/// If `out` was made from another query and has no picture with this one in common.
pub(super) fn check(options: &SegmentOptions, items: &[Item]) -> Result<()> {
    let file = options.out.join("run.toml");
    if options.force || !file.is_file() {
        return Ok(());
    }
    let Ok(run) = RunFile::read(&file) else { return Ok(()) };
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let earlier = Path::new(&run.working_directory).join(&run.query);
    if same(&earlier, &options.query) || same(Path::new(&run.query), &options.query) {
        return Ok(());
    }
    let Ok(journal) = Journal::<PictureRecord>::read_only(&options.out) else { return Ok(()) };
    let known = journal.finished();
    if known.is_empty() || items.iter().any(|item| known.contains_key(&item.name)) {
        return Ok(());
    }
    Err(Error::config(format!(
        "this folder holds the results of other pictures ({} of --query {}): choose another --out, or write into it with \
         --force, which leaves their masks there and no table that names them",
        known.len(),
        run.query
    ))
    .in_file(&options.out))
}

/// Refuses to write over masks that somebody has changed since they were written.
///
/// # Errors
/// If a mask of `items` is not as the journal says.
pub(super) fn refuse_changed(items: &[Item], journal: &Journal) -> Result<()> {
    // A run that was killed may have left a mask whose record was to follow.
    let begun = journal.begun();
    let is_begun = |name: &str| {
        let of = begun.as_ref().filter(|record| record.name == name);
        of.is_some_and(|record| !is_changed(record, journal.out()))
    };
    let changed: Vec<&str> = items
        .iter()
        .filter(|item| journal.finished().contains_key(&item.name))
        .filter(|item| {
            let noted = journal.read(&item.name);
            noted.is_ok_and(|record| is_changed(&record, journal.out())) && !is_begun(&item.name)
        })
        .map(|item| item.shown.as_str())
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let from = journal.out().display();
    Err(Error::config(format!(
        "{} changed since kshot wrote this result, and would be written over: {}. To learn from them, take them \
         out first (kshot data convert --from {from} --to mask --only PICTURE --out corrected, then --support corrected \
         besides); to lose the changes, --force",
        counted(changed.len(), "mask here was", "masks here were"),
        listed(&changed, LISTED)
    ))
    .in_file(journal.out().join("masks")))
}

/// Whether a mask differs from what was noted of it. One that is gone or cannot be read is made again.
fn is_changed(record: &PictureRecord, out: &Path) -> bool {
    let Ok(mask) = index::read_values(&out.join(&record.mask)) else { return false };
    let noted = record.classes.iter().map(|class| (class.class, class.rle.as_str()));
    let now = rle::measure(&mask, None, u8::MAX);
    let size = [mask.width, mask.height] == [record.width as usize, record.height as usize];
    !size || !now.iter().map(|class| (class.class, class.rle.as_str())).eq(noted)
}

/// What of the journal was damaged since it was written, in words.
pub(super) fn damaged_lines(journal: &Journal) -> Option<String> {
    let count = journal.damaged();
    let what = match count {
        0 => return None,
        1 => "1 line was cut or damaged: its picture is segmented again".to_owned(),
        _ => format!("{count} lines were cut or damaged: their pictures are segmented again"),
    };
    Some(format!("{}: {what}", journal.out().join(".kshot").join(PictureRecord::FILE).display()))
}

/// Which finished pictures are made again since a mask or overlay is gone, empty or damaged, in words.
pub(super) fn lost_files(items: &[Item], journal: &Journal, run: &str) -> Option<String> {
    let of = |item: &&Item| {
        let known = journal.finished().get(&item.name);
        let print = fingerprint(&item.file);
        known.is_some_and(|of| of.run == run && print.is_ok_and(|print| print == of.fingerprint))
    };
    let again: Vec<&str> = items.iter().filter(of).map(|item| item.shown.as_str()).collect();
    (!again.is_empty()).then(|| {
        format!(
            "{}: {} segmented again, since a mask or overlay is gone, empty or damaged: {}",
            journal.out().display(),
            counted(again.len(), "picture is", "pictures are"),
            listed(&again, LISTED)
        )
    })
}

/// What becomes of an earlier run's results, in words; `None` where there are none.
pub(super) fn told(
    items: &[Item],
    names: &HashSet<String>,
    journal: &Journal,
    run: &str,
) -> Option<String> {
    let known = journal.finished();
    let other = |item: &&Item| known.get(&item.name).is_some_and(|finished| finished.run != run);
    let replaced = items.iter().filter(other).count();
    let gone: Vec<&str> =
        known.keys().filter(|name| !names.contains(*name)).map(String::as_str).collect();
    let mut words = Vec::new();
    if replaced > 0 {
        words.push(format!(
            "{} of an earlier run with other labels or options {} replaced one by one; tables and page name only what this \
             run gives",
            counted(replaced, "mask", "masks"),
            if replaced == 1 { "is" } else { "are" }
        ));
    }
    if !gone.is_empty() {
        words.push(format!(
            "{} in the query any more ({}): what was written of them stays, and no table names it",
            counted(
                gone.len(),
                "picture of an earlier run is not",
                "pictures of an earlier run are not"
            ),
            listed(&gone, LISTED)
        ));
    }
    (!words.is_empty()).then(|| format!("{}: {}", journal.out().display(), words.join("; ")))
}
