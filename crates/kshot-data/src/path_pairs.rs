//! Lists of pairs of paths for programs, such as from where to where pictures were moved: a csv whose lines are on the disk
//! before what they say is done, so that a kill or a power cut at any time leaves a list that knows all of it.
//!
//! A line that was not written whole says nothing: the next to append drops it. Paths are absolute and stand as they are,
//! byte by byte where names need not be text (Unix). So no field begins like a formula of a spreadsheet (see
//! [`crate::csv_text`]), and none needs to be changed.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::atomic::{self, write_error};
use crate::error::{Error, Result};
use crate::text_file::delimiter_of;

/// Two paths of a line.
pub type Pair = (PathBuf, PathBuf);

/// What tells UTF-8 where a spreadsheet saved it.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A list that is appended to.
#[derive(Debug)]
pub struct PathPairs {
    path: PathBuf,
    file: File,
}

impl PathPairs {
    /// Opens a list with these names of columns, or begins it. A last line that is not whole goes.
    ///
    /// # Errors
    /// If a file of another content is there, or it cannot be read or written.
    pub fn append_to(path: &Path, head: [&str; 2]) -> Result<Self> {
        let failed = |source| write_error(path, source);
        let first = format!("{},{}\n", head[0], head[1]);
        let bytes = if path.exists() { bytes_of(path)? } else { Vec::new() };
        if !bytes.is_empty() && !bytes.starts_with(first.as_bytes()) {
            // As a spreadsheet saved it: written anew as it was.
            write(path, head, &read(path, head)?)?;
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let bytes = if bytes.is_empty() { bytes } else { bytes_of(path)? };
        let end = whole(&bytes);
        file.set_len(end as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut list = Self { path: path.to_owned(), file };
        if end == 0 {
            list.put(first.as_bytes())?;
            list.sync_folder();
        }
        Ok(list)
    }

    /// Adds lines; they are on the disk when this returns.
    ///
    /// # Errors
    /// If they cannot be written, or a path can be no line of it.
    pub fn add(&mut self, pairs: &[Pair]) -> Result<()> {
        let bytes = lines(pairs)?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let failed = |source| write_error(&self.path, source);
        self.file.write_all(bytes).map_err(failed)?;
        match self.file.sync_data() {
            // File systems that cannot (some network drives).
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                Err(failed(error))
            }
            _ => Ok(()),
        }
    }

    /// A new file's name is on the disk only when its folder is; not all systems can.
    fn sync_folder(&self) {
        if let Some(folder) = self.path.parent()
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
    }
}

/// The pairs of a list with these names of columns.
///
/// # Errors
/// If it cannot be read, or is no such list.
pub fn read(path: &Path, head: [&str; 2]) -> Result<Vec<Pair>> {
    let bytes = bytes_of(path)?;
    let bytes = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    let bytes = &bytes[..whole(bytes)];
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter_of(&String::from_utf8_lossy(first)))
        .from_reader(bytes);
    let other = |line: u64| {
        let columns = head.join(",");
        Error::data(format!("not a list that kshot wrote: its lines are {columns}"))
            .at_line(path, line as usize)
    };
    let mut pairs = Vec::new();
    for (index, record) in reader.byte_records().enumerate() {
        let record = record.map_err(|_| other(index as u64 + 1))?;
        let line = record.position().map_or(index as u64 + 1, csv::Position::line);
        let (Some(one), Some(two)) = (record.get(0), record.get(1)) else {
            return Err(other(line));
        };
        if index == 0 {
            if [one, two] != head.map(str::as_bytes) {
                return Err(other(line));
            }
            continue;
        }
        pairs.push((path_of(one).ok_or_else(|| other(line))?, {
            path_of(two).ok_or_else(|| other(line))?
        }));
    }
    Ok(pairs)
}

/// Writes a list whole, in place of what is there.
///
/// # Errors
/// If it cannot be written, or a path can be no line of it.
pub fn write(path: &Path, head: [&str; 2], pairs: &[Pair]) -> Result<()> {
    let bytes = lines(pairs)?;
    atomic::write_with(path, |writer| {
        writeln!(writer, "{},{}", head[0], head[1])?;
        Ok(writer.write_all(&bytes)?)
    })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("read the list", path, error))
}

fn lines(pairs: &[Pair]) -> Result<Vec<u8>> {
    let mut table = csv::Writer::from_writer(Vec::new());
    for (one, two) in pairs {
        let failed = |error: csv::Error| Error::data(format!("no line of a list: {error}"));
        table.write_record([field(one)?, field(two)?]).map_err(failed)?;
    }
    table.into_inner().map_err(|error| Error::data(format!("no line of a list: {error}")))
}

/// Where the last whole line ends: names may hold quoted line ends.
fn whole(bytes: &[u8]) -> usize {
    let (mut end, mut quoted) = (0, false);
    for (index, byte) in bytes.iter().enumerate() {
        quoted ^= *byte == b'"';
        if *byte == b'\n' && !quoted {
            end = index + 1;
        }
    }
    end
}

#[cfg(unix)]
fn field(path: &Path) -> Result<Cow<'_, [u8]>> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Cow::Borrowed(path.as_os_str().as_bytes()))
}

#[cfg(not(unix))]
fn field(path: &Path) -> Result<Cow<'_, [u8]>> {
    let text = path.to_str().ok_or_else(|| {
        Error::data("its name is no Unicode text, and cannot be noted; rename it").in_file(path)
    })?;
    Ok(Cow::Borrowed(text.as_bytes()))
}

#[cfg(unix)]
fn path_of(field: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(field)))
}

#[cfg(not(unix))]
fn path_of(field: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(field).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [&str; 2] = ["from", "to"];

    fn pair(one: &str, two: &str) -> Pair {
        (PathBuf::from(one), PathBuf::from(two))
    }

    #[test]
    fn lines_are_added_to_those_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/moved.csv");
        let all = [
            pair("/q/a, b.png", "/out/kiwi/a, b.png"),
            pair("/q/\"c\"\nd.png", "/out/=x/\r.png"),
            pair("/q/=1+1.png", "/out/kiwi/=1+1.png"),
        ];
        for (index, one) in all.iter().enumerate() {
            let mut list = PathPairs::append_to(&path, HEAD).unwrap();
            list.add(std::slice::from_ref(one)).unwrap();
            assert_eq!(read(&path, HEAD).unwrap(), all[..=index]);
        }
        let bytes = fs::read(&path).unwrap();
        write(&path, HEAD, &all).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_list_that_is_cut_anywhere_keeps_its_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moved.csv");
        let all = [pair("/q/a\nb.png", "/o/a\nb.png"), pair("/q/c\n", "/o/\"c\"")];
        write(&path, HEAD, &all).unwrap();
        let bytes = fs::read(&path).unwrap();
        let later = pair("/q/later", "/o/later");
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            PathPairs::append_to(&path, HEAD).unwrap().add(std::slice::from_ref(&later)).unwrap();
            let read = read(&path, HEAD).unwrap();
            let (last, kept) = read.split_last().unwrap();
            assert!(*last == later && all.starts_with(kept), "{length}: {read:?}");
            assert_eq!(kept.len() == all.len(), length == bytes.len(), "{length}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_stay_byte_by_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moved.csv");
        let name = path_of(b"/q/\xff\xfe.png").unwrap();
        let all = [(name.clone(), name)];
        PathPairs::append_to(&path, HEAD).unwrap().add(&all).unwrap();
        assert_eq!(read(&path, HEAD).unwrap(), all);
    }

    #[test]
    fn another_file_is_left_alone_and_a_spreadsheets_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("moved.csv");
        fs::write(&path, "file,class\na,b\n").unwrap();
        for error in [
            read(&path, HEAD).unwrap_err(),
            PathPairs::append_to(&path, HEAD).map(|_| ()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("not a list that kshot wrote"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "file,class\na,b\n");
        fs::write(&path, "\u{feff}from;to\r\n/q/a;/o/a\r\n").unwrap();
        assert_eq!(read(&path, HEAD).unwrap(), [pair("/q/a", "/o/a")]);
        PathPairs::append_to(&path, HEAD).unwrap().add(&[pair("/q/b", "/o/b")]).unwrap();
        assert_eq!(read(&path, HEAD).unwrap(), [pair("/q/a", "/o/a"), pair("/q/b", "/o/b")]);
    }
}
