//! What protects a model file: SHA-256 of our metadata's text and of all tensors (name, kind, shape, place and bytes, in
//! the order of the file), in the file's metadata under a key of its own. Files of earlier versions have none.
//!
//! The file is read in two steps, so that a large file of another kind is not read whole to be refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::classify::model_file::{KEY, Unreadable};
use crate::hash;

/// The key of the checksum.
const CHECKSUM: &str = "kshot-sha256";
/// Bytes before the header that tell its length.
const LENGTH: usize = 8;
/// Longest header, in bytes: that of safetensors.
const LONGEST_HEADER: u64 = 100_000_000;

fn of(text: &str, header: &Metadata, data: &[u8]) -> String {
    let mut all = Vec::with_capacity(text.len() + data.len() + (64 << 10));
    let mut part = |bytes: &[u8]| {
        // With its length, so that what one part ends with cannot be taken for the beginning of the next.
        all.extend((bytes.len() as u64).to_le_bytes());
        all.extend(bytes);
    };
    part(text.as_bytes());
    for name in header.offset_keys() {
        let Some(tensor) = header.info(&name) else { continue };
        let about = format!("{:?} {:?} {:?}", tensor.dtype, tensor.shape, tensor.data_offsets);
        part(name.as_bytes());
        part(about.as_bytes());
    }
    part(data);
    hash::of_bytes(&all)
}

/// Whether the checksum is that of the content; `None` where there is none. `text` is our metadata, `data` what follows
/// the header.
pub(super) fn is_right(text: &str, header: &Metadata, data: &[u8]) -> Option<bool> {
    let noted = header.metadata().as_ref()?.get(CHECKSUM)?;
    Some(*noted == of(text, header, data))
}

/// A file of safetensors with our metadata, with its checksum.
pub(super) fn added(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (size, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let data = &bytes[LENGTH + size..];
    let text = header.metadata().as_ref().and_then(|all| all.get(KEY));
    let checksum = of(text.ok_or("it has no metadata")?, &header, data);
    // Into the header as it was written: the crate's own map of metadata has no order.
    let mut value: Value =
        serde_json::from_slice(&bytes[LENGTH..LENGTH + size]).map_err(|error| error.to_string())?;
    value["__metadata__"][CHECKSUM] = Value::String(checksum);
    let mut head = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
    head.resize(head.len().next_multiple_of(LENGTH), b' ');
    if head.len() as u64 > LONGEST_HEADER {
        return Err("it has too many pictures for one file".to_owned());
    }
    let mut whole = Vec::with_capacity(LENGTH + head.len() + data.len());
    whole.extend((head.len() as u64).to_le_bytes());
    whole.extend(head);
    whole.extend(data);
    Ok(whole)
}

/// The bytes of a file that begins like a model.
pub(super) fn bytes_of(path: &Path) -> io::Result<Result<Vec<u8>, Unreadable>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(LENGTH as u64).read_to_end(&mut bytes)?;
    let Ok(size) = <[u8; LENGTH]>::try_from(&*bytes).map(u64::from_le_bytes) else {
        return Ok(Err(Unreadable::Other(format!("it has {length} bytes"))));
    };
    if size > LONGEST_HEADER || size > length.saturating_sub(LENGTH as u64) {
        return Ok(Err(Unreadable::Other("it has no header, or is cut off in it".to_owned())));
    }
    file.by_ref().take(size).read_to_end(&mut bytes)?;
    let key = format!("\"{KEY}\"");
    if !bytes.windows(key.len()).any(|part| part == key.as_bytes()) {
        return Ok(Err(Unreadable::Other("it has no metadata of kshot".to_owned())));
    }
    file.read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}
