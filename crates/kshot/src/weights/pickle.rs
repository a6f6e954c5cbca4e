//! How much memory a file of PyTorch would take, before it is read.
//!
//! A pickle makes objects: a byte of it can make one of a hundred bytes, and a zip archive shrinks such
//! bytes a thousandfold. Tensors can be views that show the same number over and over. So operations
//! are counted, and sizes that the file declares are held against its own. What is damaged passes here:
//! the reader names it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

/// Operations in all pickles of a file. A state dict takes about 50 a tensor.
const MOST_OPERATIONS: u64 = 3_000_000;

/// What a file may take beyond a few times its own length, for small ones that are well compressed.
const SPARE: u64 = 64 << 20;

/// A tied or widened tensor is read more than once.
const TIMES: u64 = 4;

/// How a file begins that PyTorch 0.1.10 to 1.5 saved: a number, as a pickle of protocol 2 or more has
/// it, or as text.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const MAGIC_TEXT: &[u8] = b"119547037146038801333356";

/// Whether the tensors, of so many bytes each, can come from a file of that length.
pub(super) fn sizes_fit(sizes: impl Iterator<Item = u64>, length: u64) -> Result<(), String> {
    let total = sizes.fold(0, u64::saturating_add);
    let most = length.saturating_mul(TIMES).saturating_add(SPARE);
    if total <= most {
        return Ok(());
    }
    Err(format!("it claims to hold {total} bytes, in a file of {length}"))
}

/// Whether a file can be read without taking far more memory than its length.
pub(super) fn check(path: &Path, length: u64) -> Result<(), String> {
    let mut budget = Budget(MOST_OPERATIONS);
    // A file that ends early or cannot be read is the reader's to name.
    let _ = counted(path, length, &mut budget)?;
    if budget.0 == 0 {
        return Err(format!("it holds more than {MOST_OPERATIONS} objects beside its tensors"));
    }
    Ok(())
}

/// Operations that are left.
struct Budget(u64);

/// Goes through all pickles of the file; the outer error is one of sizes.
fn counted(path: &Path, length: u64, budget: &mut Budget) -> Result<io::Result<()>, String> {
    let open = || File::open(path).map(BufReader::new);
    let mut head = [0; 512];
    let Ok(count) = open().and_then(|mut file| filled(&mut file, &mut head)) else {
        return Ok(Ok(()));
    };
    let head = &head[..count];
    if head.starts_with(b"PK") {
        return match File::open(path).map(|file| ZipArchive::new(BufReader::new(file))) {
            Ok(Ok(archive)) => of_archive(archive, length, budget).map(Ok),
            _ => Ok(Ok(())),
        };
    }
    let file = match open() {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    if head.get(257..262) == Some(b"ustar") {
        return of_tar(file, budget);
    }
    let start = &head[..head.len().min(64)];
    let is_legacy = start.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
        || start.windows(MAGIC_TEXT.len()).any(|bytes| bytes == MAGIC_TEXT);
    // The number, the protocol, the system, what was saved, and its storages.
    let pickles = if is_legacy { 5 } else { 1 };
    Ok(of_stream(file, pickles, budget))
}

fn of_stream(mut file: impl BufRead, pickles: usize, budget: &mut Budget) -> io::Result<()> {
    (0..pickles).try_for_each(|_| walk(&mut file, budget).map(|_| ()))
}

/// A zip archive: what its parts are said to be unpacked, and its pickle.
fn of_archive(
    mut archive: ZipArchive<BufReader<File>>,
    length: u64,
    budget: &mut Budget,
) -> Result<(), String> {
    let mut unpacked = Vec::with_capacity(archive.len().min(1 << 16));
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(index) else { continue };
        unpacked.push(entry.size());
        let is_pickle = entry.name_raw().ends_with(b"data.pkl");
        drop(entry);
        if is_pickle && let Ok(entry) = archive.by_index(index) {
            let _ = of_stream(BufReader::new(entry), 1, budget);
        }
    }
    sizes_fit(unpacked.into_iter(), length)
}

/// The tar archive of the first versions: tables of storages and of tensors, each a number of pickles
/// with fields between them.
fn of_tar(mut file: BufReader<File>, budget: &mut Budget) -> Result<io::Result<()>, String> {
    let mut header = [0; 512];
    let mut at = 0;
    loop {
        match filled(&mut file, &mut header) {
            Ok(512) if header[0] != 0 => {}
            Ok(_) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
        // Holes take no room in the file, and all of it in memory.
        if header[156] == b'S' {
            return Err("it is a tar archive with holes".to_owned());
        }
        let Some(size) = octal(&header[124..136]) else { return Ok(Ok(())) };
        let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let mut entry = (&mut file).take(size);
        let _ = match name {
            b"storages" => of_table(&mut entry, budget, storage_left),
            b"tensors" => of_table(&mut entry, budget, tensor_left),
            b"pickle" | b"sys_info" => of_stream(&mut entry, 1, budget),
            _ => Ok(()),
        };
        at += 512 + size.div_ceil(512).saturating_mul(512);
        if let Err(error) = file.seek(SeekFrom::Start(at)) {
            return Ok(Err(error));
        }
    }
}

/// A number in a header of a tar archive: octal digits, or binary with the first bit set.
fn octal(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let bytes: [u8; 8] = field[4..].try_into().ok()?;
        return Some(u64::from_be_bytes(bytes)).filter(|size| *size < 1 << 62);
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// A pickle that says how many rows there are, then a pickle and other fields for each.
fn of_table<R: BufRead>(
    table: &mut R,
    budget: &mut Budget,
    left: impl Fn(&mut R, &[u8]) -> io::Result<u64>,
) -> io::Result<()> {
    walk(table, budget)?;
    // It ends by an error where the table ends.
    loop {
        let class = walk(table, budget)?;
        let left = left(table, &class)?;
        skip(table, left)?;
    }
}

/// How many bytes follow a storage's pickle and number of elements.
fn storage_left(table: &mut impl Read, class: &[u8]) -> io::Result<u64> {
    let width: u64 = match class {
        b"DoubleStorage" | b"LongStorage" => 8,
        b"HalfStorage" | b"ShortStorage" => 2,
        b"ByteStorage" | b"CharStorage" => 1,
        _ => 4,
    };
    Ok(number::<8>(table)?.saturating_mul(width))
}

/// How many bytes follow a tensor's pickle and rank.
fn tensor_left(table: &mut impl Read, _: &[u8]) -> io::Result<u64> {
    Ok(number::<4>(table)?.saturating_mul(16).saturating_add(12))
}

/// Goes through one pickle without making its objects; the name of the last class in it is returned.
fn walk(pickle: &mut impl BufRead, budget: &mut Budget) -> io::Result<Vec<u8>> {
    let mut class = Vec::new();
    while budget.0 > 0 {
        budget.0 -= 1;
        match number::<1>(pickle)? as u8 {
            b'.' => return Ok(class),
            b'I' | b'L' | b'F' | b'V' | b'g' | b'p' | b'P' => skip_line(pickle)?,
            b'c' => {
                skip_line(pickle)?;
                class.clear();
                // Long enough for any class that counts here.
                pickle.by_ref().take(64).read_until(b'\n', &mut class)?;
                match class.pop() {
                    Some(b'\n') if class.last() == Some(&b'\r') => drop(class.pop()),
                    Some(b'\n') => {}
                    _ => skip_line(pickle)?,
                }
            }
            b'K' | b'h' | b'q' | 0x80 | 0x82 => skip(pickle, 1)?,
            b'M' | 0x83 => skip(pickle, 2)?,
            b'J' | b'j' | b'r' | 0x84 => skip(pickle, 4)?,
            b'G' | 0x95 => skip(pickle, 8)?,
            b'U' | b'C' | 0x8a | 0x8c => skip_counted::<1>(pickle)?,
            b'T' | b'X' | b'B' | 0x8b => skip_counted::<4>(pickle)?,
            0x8d | 0x8e | 0x96 => skip_counted::<8>(pickle)?,
            b'(' | b'0' | b'1' | b'2' | b'N' | b'R' | b'b' | b'd' | b'l' | b't' | b's' | b'a'
            | b')' | b']' | b'}' | b'e' | b'u' | b'Q' => {}
            0x81 | 0x85..=0x89 | 0x8f..=0x94 => {}
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(class)
}

/// A whole number of so many bytes, at most 8, the lowest first.
fn number<const BYTES: usize>(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes[..BYTES])?;
    Ok(u64::from_le_bytes(bytes))
}

fn skip_counted<const BYTES: usize>(from: &mut impl BufRead) -> io::Result<()> {
    let count = number::<BYTES>(from)?;
    skip(from, count)
}

fn skip(from: &mut impl BufRead, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut from.by_ref().take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    from.skip_until(b'\n').map(|_| ())
}

/// As much as there is, up to the length of `bytes`.
fn filled(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < bytes.len() {
        match from.read(&mut bytes[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pickle: &[u8], most: u64) -> (io::Result<Vec<u8>>, u64) {
        let mut budget = Budget(most);
        let class = walk(&mut &*pickle, &mut budget);
        (class, budget.0)
    }

    #[test]
    fn operations_are_counted_and_their_content_passed_over() {
        // {"a.": collections.OrderedDict, 7: 1.5}, with dots and brackets inside of texts.
        let pickle =
            b"\x80\x02}q\x00(X\x02\x00\x00\x00a.q\x01ccollections\nOrderedDict\nK\x07G......()u.NN";
        let (class, left) = left(pickle, 100);
        assert_eq!((class.unwrap(), 100 - left), (b"OrderedDict".to_vec(), 11));
    }

    #[test]
    fn objects_end_with_the_budget_and_pickles_with_their_bytes() {
        assert_eq!(left(&[b'N'; 200], 100).1, 0);
        assert!(left(&[b'N'; 50], 100).0.is_err());
        assert!(left(b"X\xff\xff\xff\xffabc", 100).0.is_err());
        assert!(left(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", 100).0.is_err());
        assert!(left(b"", 100).0.is_err());
        assert!(left(b"NS.", 100).0.is_err());
    }

    #[test]
    fn sizes_are_held_against_the_file() {
        sizes_fit([1000, 4 << 20].into_iter(), 5 << 20).unwrap();
        for sizes in [[1 << 30, 0], [u64::MAX, u64::MAX]] {
            let error = sizes_fit(sizes.into_iter(), 1000).unwrap_err();
            assert!(error.contains("in a file of 1000"), "{error}");
        }
    }

    #[test]
    fn numbers_of_tar_headers() {
        assert_eq!(octal(b"00000001750\0"), Some(1000));
        assert_eq!(octal(b"\x80\0\0\0\0\0\0\0\0\0\x03\xe8"), Some(1000));
        assert_eq!(octal(b"\x80\0\0\0\xff\0\0\0\0\0\x03\xe8"), None);
        assert_eq!(octal(b"never       "), None);
    }
}
