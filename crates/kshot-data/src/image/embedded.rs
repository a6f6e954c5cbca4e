//! Pictures inside label files: LabelMe keeps them in `imageData`, in base64.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::text_file::text_of;

/// The part of a label file that holds a picture.
#[derive(Deserialize)]
struct Holder {
    #[serde(rename = "imageData")]
    data: Option<String>,
}

/// Whether a file may hold a picture in this way.
pub fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"))
}

/// The picture's own file, as it was before.
///
/// # Errors
/// If there is none, or it is no base64.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let holder: Holder = serde_json::from_str(&text_of(path)?).map_err(|error| {
        Error::data(format!("not JSON with a picture: {error}")).caused_by(error)
    })?;
    let data = holder.data.ok_or_else(|| Error::data("its imageData holds no picture"))?;
    // Some tools write it as a data URL.
    let data = data.rsplit_once("base64,").map_or(data.as_str(), |(_, data)| data);
    STANDARD.decode(data.trim()).map_err(|error| {
        Error::data(format!("its imageData is no base64: {error}")).caused_by(error)
    })
}

/// How the name of the picture's own file ends.
///
/// # Errors
/// As [`bytes`]; if it is of no format that is known.
pub fn ending(bytes: &[u8]) -> Result<&'static str> {
    let format = image::guess_format(bytes)
        .map_err(|error| Error::data("its imageData is no picture").caused_by(error))?;
    Ok(format.extensions_str().first().copied().unwrap_or("png"))
}
