//! NumPy's `.npy` files of object numbers: plain arrays, and the `masks` of Cellpose's `NAME_seg.npy`.
//!
//! The format: NEP 1, versions 1 to 3. Cellpose's file is a pickled dictionary; what else it holds is not looked at.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::ReadLimits;
use crate::labels::instances::{Numbers, whole};
use crate::labels::pickle::{Id, Object, Pickle};
use crate::names::counted;

/// Bytes of a file that hold the header of an array of two dimensions.
const MOST_HEADER: u64 = 1 << 16;

/// What every file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The bytes of an array and what they mean.
struct Array<'a> {
    /// As NumPy writes it: `<u2`.
    kind: &'a str,
    fortran: bool,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

/// Reads the numbers of a file.
///
/// # Errors
/// If it cannot be read, holds no array of two dimensions, or what is no whole number from 0 up.
pub fn read(path: &Path) -> Result<Numbers> {
    let bytes =
        std::fs::read(path).map_err(|error| Error::io("read the object numbers", path, error))?;
    let ([kind, fortran, shape], data) = header(&bytes)?;
    if kind == "|O" {
        let pickle = Pickle::read(data)?;
        return saved_by_cellpose(&pickle)?.numbers();
    }
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| no_array())).collect::<Result<_>>()?;
    Array { kind, fortran: fortran == "True", shape, bytes: data }.numbers()
}

/// Width and height that an array's header says; `None` of Cellpose's files, and of what is no array of two dimensions.
pub fn size(path: &Path) -> Option<(usize, usize)> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(MOST_HEADER).read_to_end(&mut head).ok()?;
    let ([_, _, shape], _) = header(&head).ok()?;
    let mut sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let (height, width) = (sizes.next()?.parse().ok()?, sizes.next()?.parse().ok()?);
    sizes.next().is_none().then_some((width, height))
}

/// The kind of numbers, whether columns come first, the shape, and what follows.
fn header(bytes: &[u8]) -> Result<([&str; 3], &[u8])> {
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(no_array)?;
    let size = match rest {
        [1, _, low, high, ..] => Some((u32::from_le_bytes([*low, *high, 0, 0]), 4)),
        [2 | 3, _, a, b, c, d, ..] => Some((u32::from_le_bytes([*a, *b, *c, *d]), 6)),
        _ => None,
    };
    let (size, start) = size.ok_or_else(no_array)?;
    let end = start + size as usize;
    let text = rest.get(start..end).and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or_else(no_array)?;
    let after = |key: &str| text.split_once(key).map(|(_, value)| value.trim_start());
    let kind = after("'descr':").and_then(|value| value.strip_prefix('\'')?.split('\'').next());
    let fortran = after("'fortran_order':").and_then(|value| value.split(',').next());
    let shape = after("'shape':").and_then(|value| value.strip_prefix('(')?.split(')').next());
    match (kind, fortran, shape) {
        (Some(kind), Some(fortran), Some(shape)) => {
            Ok(([kind, fortran.trim(), shape], &rest[end..]))
        }
        _ => Err(no_array()),
    }
}

fn no_array() -> Error {
    Error::data(
        "no NumPy array of object numbers; valid are arrays of height times width, and Cellpose's _seg.npy",
    )
}

/// The array under `masks` of the dictionary that Cellpose saves, itself the one element of an array.
fn saved_by_cellpose<'a>(pickle: &Pickle<'a>) -> Result<Array<'a>> {
    // _reconstruct(..) filled with (version, shape, kind, fortran, [dictionary]).
    let dict = state(pickle, pickle.root)
        .and_then(|state| pickle.items(*state.last()?)?.first().copied())
        .ok_or_else(no_array)?;
    let Some(masks) = pickle.value(dict, "masks") else {
        return Err(Error::data(
            "a dictionary without `masks`: not what Cellpose saves as _seg.npy",
        ));
    };
    array(pickle, masks).ok_or_else(no_array)
}

/// What an object was filled with.
fn state<'p>(pickle: &'p Pickle<'_>, id: Id) -> Option<&'p [Id]> {
    match pickle.get(id) {
        Object::Call(_, _, Some(state)) => pickle.items(*state),
        _ => None,
    }
}

fn array<'a>(pickle: &Pickle<'a>, id: Id) -> Option<Array<'a>> {
    let [_, shape, kind, fortran, bytes] = state(pickle, id)? else { return None };
    let int = |id: Id| match pickle.get(id) {
        Object::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    };
    let shape = pickle.items(*shape)?.iter().map(|size| int(*size)).collect::<Option<_>>()?;
    // dtype("u2", False, True) filled with (version, "<", ...); the order decides how bytes are read.
    let Object::Call(_, arguments, _) = pickle.get(*kind) else { return None };
    let Object::Text(name) = pickle.get(*pickle.items(*arguments)?.first()?) else { return None };
    let order = state(pickle, *kind).and_then(|state| state.get(1).copied());
    let reversed = matches!(order.map(|of| pickle.get(of)), Some(Object::Text(">")));
    let Object::Bytes(bytes) = pickle.get(*bytes) else { return None };
    // An order that no array of whole numbers has is refused as a kind below.
    let kind = if reversed { ">" } else { *name };
    Some(Array { kind, fortran: int(*fortran) == Some(1), shape, bytes })
}

impl Array<'_> {
    fn numbers(&self) -> Result<Numbers> {
        let [height, width] = self.shape[..] else {
            let shape = &self.shape;
            return Err(Error::data(format!(
                "an array of shape {shape:?}; object numbers of a picture have two dimensions, height and width"
            )));
        };
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        ReadLimits::default().check(side(width), side(height))?;
        let size = self.size_of_one()?;
        let (wanted, there) = (width * height * size, self.bytes.len());
        if wanted != there {
            let numbers = counted(size, "byte", "bytes");
            return Err(Error::data(format!(
                "the file {}: {width} x {height} numbers of {numbers} each are {wanted} bytes, but it holds {there}; save it \
                 again",
                if there < wanted { "ends early" } else { "is longer than its array" }
            )));
        }
        let values = self.values()?;
        let values = if self.fortran {
            let at = |place: usize| values[place % width * height + place / width];
            (0..values.len()).map(at).collect()
        } else {
            values
        };
        Ok(Numbers { width, height, values })
    }

    /// Bytes of a number.
    fn size_of_one(&self) -> Result<usize> {
        match self.kind.trim_start_matches(['<', '|', '=']) {
            "u1" | "b1" | "i1" => Ok(1),
            "u2" | "i2" => Ok(2),
            "u4" | "i4" | "f4" => Ok(4),
            "u8" | "i8" | "f8" => Ok(8),
            _ => Err(Error::data(format!(
                "numbers of the kind {}; valid are whole numbers and floats of 8 to 64 bits, the least byte first",
                self.kind
            ))),
        }
    }

    fn values(&self) -> Result<Vec<u32>> {
        macro_rules! of {
            ($kind:ty) => {{
                let bytes = self.bytes.chunks_exact(size_of::<$kind>());
                whole(bytes.map(|bytes| {
                    let mut value = [0; size_of::<$kind>()];
                    value.copy_from_slice(bytes);
                    <$kind>::from_le_bytes(value) as f64
                }))
            }};
        }
        match self.kind.trim_start_matches(['<', '|', '=']) {
            "u1" | "b1" => of!(u8),
            "u2" => of!(u16),
            "u4" => of!(u32),
            "u8" => of!(u64),
            "i1" => of!(i8),
            "i2" => of!(i16),
            "i4" => of!(i32),
            "i8" => of!(i64),
            "f4" => of!(f32),
            _ => of!(f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(header: &str, data: &[u8]) -> Result<Numbers> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.npy");
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        std::fs::write(&file, bytes).unwrap();
        read(&file)
    }

    #[test]
    fn plain_arrays_in_both_orders() {
        let rows = saved(
            "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }\n",
            &[0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 44, 1],
        );
        let rows = rows.unwrap();
        assert_eq!((rows.width, rows.height, &rows.values[..]), (3, 2, &[0, 1, 2, 3, 4, 300][..]));
        let columns = saved(
            "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n",
            &[0, 3, 1, 4, 2, 5],
        );
        assert_eq!(columns.unwrap().values, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_no_picture_of_numbers_is_refused() {
        for (header, data, words) in [
            (
                "{'descr': '<u2', 'fortran_order': False, 'shape': (4,), }",
                &[0u8; 8][..],
                "two dimensions",
            ),
            (
                "{'descr': '>u2', 'fortran_order': False, 'shape': (2, 2), }",
                &[0; 8],
                "of the kind >u2",
            ),
            (
                "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 2), }",
                &[0; 6],
                "ends early: 2 x 2 numbers of 2 bytes each are 8 bytes, but it holds 6",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }",
                &[0; 6],
                "is longer than its array",
            ),
            (
                "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
                &[],
                "above the limit of 200 million",
            ),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3), }", &[], "no pixels"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }",
                &[0, 0, 0, 63],
                "0.5 is no object number",
            ),
            ("{'shape': (1, 1), }", &[0], "no NumPy array"),
        ] {
            let error = saved(header, data).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
