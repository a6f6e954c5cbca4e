//! A training's scalars and previews as an event file that TensorBoard reads: `tensorboard --logdir runs/mine`.
//!
//! The file is a row of records, each a length, a checksum of it, an `Event` message and a checksum of that (CRC-32C,
//! rotated and shifted as TensorFlow's record format asks).

use std::io::Write;
use std::path::Path;

use kshot_data::atomic;
use prost::Message;

use crate::error::{Error, Result};
use crate::train::curve::CurvePoint;

/// The file in the run's folder; TensorBoard knows event files by the beginning of their name.
pub const EVENTS: &str = "events.out.tfevents.kshot";

/// One event of the file.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// What is told at a step.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

/// A number or a picture by its name.
#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, optional, tag = "1")]
    tag: Option<String>,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<SummaryImage>,
}

/// An encoded picture.
#[derive(Clone, PartialEq, Message)]
struct SummaryImage {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// Brings the event file of a run's folder up to its curve: what is there already stays, so that a TensorBoard that
/// is open goes on; a file of another curve is written anew.
///
/// # Errors
/// If the file cannot be written.
pub fn write(run: &Path, points: &[CurvePoint]) -> Result<()> {
    let file = run.join(EVENTS);
    let before = std::fs::read(&file).unwrap_or_default();
    let began = first(&before).map_or_else(now, |event| event.wall_time);
    let mut bytes = record(&Event {
        wall_time: began,
        file_version: Some("brain.Event:2".to_owned()),
        ..Event::default()
    });
    for point in points {
        bytes.extend(record(&event(run, point, began)));
    }
    if before.is_empty() || !bytes.starts_with(&before) {
        return atomic::write(&file, &bytes);
    }
    let added = &bytes[before.len()..];
    let appended = std::fs::OpenOptions::new().append(true).open(&file);
    appended
        .and_then(|mut file| file.write_all(added))
        .map_err(|error| Error::io("add to the event file", &file, error))
}

/// A validation's metrics, and its previews where they are still there.
fn event(run: &Path, point: &CurvePoint, began: f64) -> Event {
    let parts = [("train", &point.train), ("validation", &point.validation)];
    let mut value: Vec<SummaryValue> = Vec::new();
    for (part, metrics) in parts {
        for (name, number) in metrics {
            value.push(SummaryValue {
                tag: Some(format!("{part}/{name}")),
                simple_value: Some(*number as f32),
                image: None,
            });
        }
    }
    let preview = run.join("previews").join(format!("step-{:06}.jpg", point.step));
    if let (Ok(encoded), Ok((width, height))) =
        (std::fs::read(&preview), image::image_dimensions(&preview))
    {
        value.push(SummaryValue {
            tag: Some("previews".to_owned()),
            simple_value: None,
            image: Some(SummaryImage {
                height: height as i32,
                width: width as i32,
                colorspace: 3,
                encoded,
            }),
        });
    }
    Event {
        wall_time: began + point.seconds,
        step: point.step as i64,
        file_version: None,
        summary: Some(Summary { value }),
    }
}

/// The first event of a file, if it is whole.
fn first(bytes: &[u8]) -> Option<Event> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    Event::decode(bytes.get(12..12usize.checked_add(length)?)?).ok()
}

fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(&data);
    bytes.extend(masked(&data).to_le_bytes());
    bytes
}

/// The checksum as the format keeps it.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn point(number: usize, loss: f64) -> CurvePoint {
        let metrics = BTreeMap::from([("loss".to_owned(), loss)]);
        let (train, validation) = (metrics.clone(), metrics);
        CurvePoint { number, step: 10 * number, train, validation, seconds: number as f64 }
    }

    fn events(bytes: &[u8]) -> Vec<Event> {
        let (mut rest, mut all) = (bytes, Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let data = &rest[12..12 + length];
            let sum = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!([sum(8), sum(12 + length)], [masked(&rest[..8]), masked(data)]);
            all.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        all
    }

    /// The examples of RFC 3720, appendix B.4.
    #[test]
    fn checksums_are_castagnoli_s() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn points_are_appended_and_another_curve_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let read = || std::fs::read(folder.path().join(EVENTS)).unwrap();
        write(folder.path(), &[point(1, 2.0)]).unwrap();
        let first = read();
        write(folder.path(), &[point(1, 2.0), point(2, 1.0)]).unwrap();
        assert!(read().starts_with(&first) && read().len() > first.len());
        let all = events(&read());
        assert_eq!(all[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = &all[2].summary.as_ref().unwrap().value;
        assert_eq!(values[1].tag.as_deref(), Some("validation/loss"));
        assert_eq!((values[1].simple_value, all[2].step), (Some(1.0), 20));
        assert!((all[2].wall_time - all[1].wall_time - 1.0).abs() < 1e-3);
        write(folder.path(), &[point(1, 5.0)]).unwrap();
        assert_eq!(events(&read()).len(), 2);
    }
}
