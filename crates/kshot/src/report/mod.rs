//! What a run leaves behind for people and other tools: COCO, tables, pages, and how it was made.
//!
//! Every finished picture becomes one line of the [`journal`](kshot_data::journal); the files about the
//! whole run ([`coco`], [`table`], [`objects`], [`html`]) are assembled from the journal at the end, so that memory does
//! not grow with the pictures and a second run can go on where the first was stopped.

pub mod chosen;
mod classify_about;
pub mod classify_csv;
pub mod classify_html;
pub mod classify_judged;
pub mod coco;
mod confusion_table;
pub mod correct;
pub mod curve_html;
pub mod episode_html;
pub mod eval_html;
pub mod evaluation;
pub mod html;
mod html_about;
pub mod next;
pub mod objects;
pub mod page;
mod plot;
mod reliability;
pub mod run;
mod segmented;
pub mod table;
pub mod tensorboard;
pub mod training_html;

#[cfg(test)]
pub(crate) mod tests {
    use kshot_data::journal::PictureRecord;
    use kshot_data::objects::measure::ObjectRecord;
    use kshot_data::rle::ClassRecord;

    /// An object of four pixels.
    pub(crate) fn object(id: u32, class: u8) -> ObjectRecord {
        ObjectRecord {
            id,
            class,
            area: 4,
            centroid: [3.0, 1.0],
            bbox: [2, 0, 2, 2],
            colour: [10.0, 20.5, 30.0],
            confidence: 0.75,
            rle: "82202b0".into(),
        }
    }

    /// A record to test with: class 1 on a quarter of a picture of 8 x 4 pixels.
    pub(crate) fn record(name: &str) -> PictureRecord {
        PictureRecord {
            name: name.into(),
            path: format!("{name}.png"),
            width: 8,
            height: 4,
            mask: format!("masks/{name}.png"),
            overlay: String::new(),
            fingerprint: "f".into(),
            run: "r".into(),
            classes: vec![ClassRecord {
                class: 1,
                area: 8,
                fraction: 0.25,
                confidence: 0.75,
                rle: "88`0".into(),
                bbox: [2, 0, 2, 4],
            }],
            confidence: 0.5,
            distance: Some(1.5),
            position: vec![0.25, -0.5],
            estimates: vec![Some(0.625)],
            expected_accuracy: 0.9,
            flags: vec!["uncertain".into()],
            seconds: 0.25,
            thumbnail: String::new(),
            objects: None,
        }
    }
}
