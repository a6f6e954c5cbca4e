//! Whether the elements of a DICOM file end within it: the library that reads them takes as much memory as they claim.

/// A length that the end of the content tells.
const UNDEFINED: u32 = u32::MAX;
/// Value representations with a length of 16 bits (PS3.5, table 7.1-2); all others, unknown ones too, have 32.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
    b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];
/// How many bytes of the head follow.
const HEAD_LENGTH: (u16, u16) = (0x0002, 0x0000);
const TRANSFER_SYNTAX: (u16, u16) = (0x0002, 0x0010);
const PIXELS: (u16, u16) = (0x7fe0, 0x0010);
const ITEM: (u16, u16) = (0xfffe, 0xe000);
const ITEM_END: (u16, u16) = (0xfffe, 0xe00d);
const SEQUENCE_END: (u16, u16) = (0xfffe, 0xe0dd);

/// Numbers of a file, from a place on.
struct Cursor<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn begins_with_item(&self) -> bool {
        self.rest.starts_with(b"\xfe\xff\x00\xe0")
    }
}

/// Whether every element of a file, those in sequences too, ends within it. `false` also where it cannot be told: data sets
/// that are packed as a whole, and unknown values without a length.
pub fn fit(file: &[u8]) -> bool {
    scan(file).is_some()
}

fn scan(file: &[u8]) -> Option<()> {
    let mut at = Cursor { rest: file.get(132..)?, big_endian: false };
    let (mut explicit, mut in_head, mut in_pixels) = (true, true, false);
    let mut syntax: &[u8] = b"";
    let mut head_ends = None;
    // Some writers fill up with zeros.
    while at.rest.len() >= 8 || at.rest.iter().any(|byte| *byte != 0) {
        if in_head && at.rest.get(..2) != Some(&[2, 0][..]) {
            in_head = false;
            // The reader goes by this number.
            if head_ends != Some(at.rest.len()) {
                return None;
            }
            explicit = syntax != b"1.2.840.10008.1.2";
            at.big_endian = syntax == b"1.2.840.10008.1.2.2";
            if syntax == b"1.2.840.10008.1.2.1.99" {
                return None;
            }
        }
        let tag = (at.short()?, at.short()?);
        if [ITEM, ITEM_END, SEQUENCE_END].contains(&tag) {
            let length = at.long()?;
            in_pixels &= tag != SEQUENCE_END;
            if in_pixels {
                // A piece of a packed picture.
                at.take(length as usize)?;
            } else if length != UNDEFINED && length as usize > at.rest.len() {
                return None;
            }
            continue;
        }
        let kind: [u8; 2] = if explicit { at.take(2)?.try_into().ok()? } else { [0; 2] };
        let length = match (explicit, SHORT.contains(&&kind)) {
            (true, true) => u32::from(at.short()?),
            (true, false) => {
                at.take(2)?;
                at.long()?
            }
            (false, _) => at.long()?,
        };
        let is_sequence = kind == *b"SQ" || (!explicit && at.begins_with_item());
        if length == UNDEFINED {
            in_pixels = tag == PIXELS;
            if !(in_pixels || is_sequence) {
                return None;
            }
            continue;
        }
        if length as usize > at.rest.len() {
            return None;
        }
        // What is in a sequence is looked at like what is beside it.
        if !is_sequence {
            let value = at.take(length as usize)?;
            if tag == HEAD_LENGTH {
                let length = u32::from_le_bytes(value.try_into().ok()?);
                head_ends = at.rest.len().checked_sub(length as usize);
            } else if tag == TRANSFER_SYNTAX {
                syntax = value.strip_suffix(b"\0").unwrap_or(value).trim_ascii_end();
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_file_are_found() {
        let head = |syntax: &str| {
            let mut file = vec![0; 128];
            file.extend(b"DICM\x02\0\0\0UL\x04\0");
            file.extend((8 + syntax.len() as u32).to_le_bytes());
            file.extend(b"\x02\0\x10\0UI");
            file.extend((syntax.len() as u16).to_le_bytes());
            file.extend(syntax.as_bytes());
            file
        };
        let explicit = |length: u32| {
            let mut file = head("1.2.840.10008.1.2.1\0");
            // A sequence of one item with a value of that length.
            file.extend(b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
            file.extend(b"\x08\0\x55\x11OB\0\0");
            file.extend(length.to_le_bytes());
            file.extend(b"abcd\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
            file
        };
        assert!(fit(&explicit(4)) && !fit(&explicit(1 << 30)));
        let implicit = |length: u32| {
            let mut file = head("1.2.840.10008.1.2\0");
            file.extend(b"\x28\0\x10\0");
            file.extend(length.to_le_bytes());
            file.extend([7; 4]);
            file
        };
        assert!(fit(&implicit(4)) && !fit(&implicit(5)));
        assert!(!fit(&head("1.2.840.10008.1.2.1.99")[..150]) && !fit(b"short"));
    }
}
