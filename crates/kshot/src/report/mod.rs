//! What a run leaves behind: masks, overlays, COCO, a table, a report page and how it was made.
//!
//! Every finished picture becomes one line of the [`journal`]; the files about the whole run
//! ([`coco`], [`table`], [`html`]) are assembled from the journal at the end, so that memory does
//! not grow with the pictures and a second run can go on where the first was stopped.

pub mod atomic;
pub mod classify_csv;
pub mod classify_html;
pub mod classify_judged;
pub mod coco;
pub mod episode_html;
pub mod eval_html;
pub mod html;
mod html_about;
pub mod journal;
pub mod mask_png;
pub mod overlay;
pub mod page;
pub mod palette;
pub mod rle;
pub mod run;
pub mod table;
