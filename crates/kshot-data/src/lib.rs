//! Pictures and labels as people have them, without a tensor.
//!
//! ```text
//! folder -> LabelFolder (finds pictures and labels) -> Annotation (objects or values) -> Mask (a class a pixel)
//!        -> check (what is wrong) · convert (another format, read back) · Support (K labelled pictures)
//! objects: what can be counted: instance labels, touching things told apart, numbers of each
//! query  -> items (pictures with unique names) -> masks, overlays, journal (what is finished)
//! ```
//! Pictures are read under limits; what is wrong with a label is a finding with a place and a way out.

pub mod annotation;
pub mod atomic;
pub mod caught;
pub mod check;
pub mod checksum;
pub mod class_folder;
pub mod components;
pub mod convert;
pub mod csv_text;
pub mod deep;
pub mod error;
pub mod finding;
pub mod found_pictures;
pub mod hash;
pub mod image;
pub mod journal;
pub mod label_folder;
pub mod labels;
pub mod lock;
pub mod mask;
pub mod mask_png;
pub mod mask_tiff;
pub mod matlab;
pub mod names;
pub mod near_duplicate;
pub mod near_names;
pub mod objects;
pub mod overlay;
pub mod palette;
pub mod path_pairs;
pub mod pixel_size;
mod png_rows;
pub mod predicted;
pub mod query;
pub mod resize;
pub mod result_folder;
pub mod rle;
pub mod scribble;
pub mod support;
pub mod text_file;
pub mod visible;
pub mod weak;

pub use error::{Error, ErrorKind, Result};
