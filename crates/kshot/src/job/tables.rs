//! What is built in, as rows for lists and pages.

use crate::data::DatasetConfig;
use crate::decoder::DecoderConfig;
use crate::method::episodic::Episodic;
use crate::method::few_shot::HeadConfig;
use crate::method::learner::Learning;
use crate::method::trained::TrainedConfig;
use crate::names::Row;

/// The encoders as rows.
pub fn encoders() -> Vec<Row> {
    crate::encoder::EncoderConfig::all()
        .iter()
        .map(|config| {
            let about = config.describe();
            let millions = about.parameters as f64 / 1e6;
            Row {
                name: about.name.to_owned(),
                summary: format!("{} ({millions:.1} M parameters)", about.note),
                source: Some(about.url.to_owned()),
            }
        })
        .collect()
}

/// The methods that label pixels and are fitted to labelled pictures, as rows, the choice among them first.
pub fn methods() -> Vec<Row> {
    HeadConfig::rows()
}

/// The methods that steps of an optimiser train, as rows.
pub fn learners() -> Vec<Row> {
    [Learning::rows(), Episodic::rows(), TrainedConfig::rows()].concat()
}

/// The decoders as rows.
pub fn decoders() -> Vec<Row> {
    DecoderConfig::rows()
}

/// The losses as rows.
pub fn losses() -> Vec<Row> {
    crate::loss::rows()
}

/// The metrics as rows.
pub fn metrics() -> Vec<Row> {
    crate::metric::rows()
}

/// The transforms of training pictures as rows.
pub fn transforms() -> Vec<Row> {
    crate::data::transforms::rows()
}

/// The data sets of recipes as rows.
pub fn datasets() -> Vec<Row> {
    DatasetConfig::rows()
}

/// The optimisers as rows.
pub fn optimizers() -> Vec<Row> {
    crate::recipe::optimizer::rows()
}

/// The schedules of the learning rate as rows.
pub fn schedules() -> Vec<Row> {
    crate::recipe::schedule::rows()
}

/// The heads of `kshot classify` as rows, the choice among them first.
pub fn heads() -> Vec<Row> {
    use crate::classify::heads;
    let auto = Row {
        name: heads::AUTO.to_owned(),
        summary: "tries all of the below on held-out pictures and takes the best".to_owned(),
        source: None,
    };
    let all = heads::methods().into_iter().map(|method| Row {
        name: method.name().to_owned(),
        summary: method.about().to_owned(),
        source: None,
    });
    std::iter::once(auto).chain(all).collect()
}

/// The devices as rows: those that can be used here, then what the other kinds lack. GPUs are opened for it.
pub fn devices() -> Vec<Row> {
    let row = |found: crate::device::FoundDevice| {
        let summary = match found.lacks {
            Some(lacks) => format!("{}: {lacks}", found.about),
            None => found.about,
        };
        Row { name: found.name, summary, source: None }
    };
    crate::device::found().into_iter().map(row).collect()
}

/// The files kshot reads and writes, as rows.
pub fn formats() -> Vec<Row> {
    let pictures = kshot_data::image::EXTENSIONS.join(", ");
    [
        ("pictures", format!("{pictures}; told by content, 8 and 16 bits")),
        (
            "masks/*.png",
            "label (convert: mask): index, palette, gray or binary PNG, 255 = does not count"
                .to_owned(),
        ),
        (
            "masks/*.tif",
            "label (convert: tiff-masks): class numbers in one band of any width (napari, Fiji, GIS tools)"
                .to_owned(),
        ),
        (
            "masks/CLASS/*.png",
            "label (convert: class-masks): one mask a class, also masks/NAME_CLASS.png; not 0 = the \
             class"
                .to_owned(),
        ),
        (
            "colors.csv",
            "label (convert: color-masks): name,r,g,b of coloured masks/*.png, or labelmap.txt"
                .to_owned(),
        ),
        ("scribbles/*.png", "label: index PNG of strokes, 255 = unlabelled".to_owned()),
        (
            "images/*.json",
            "label (convert: labelme): LabelMe polygons, rectangles, circles and masks; __ignore__ = does \
             not count"
                .to_owned(),
        ),
        (
            "*.json",
            "label (convert: coco): COCO polygons, run lengths and boxes, here or in annotations/; \
             a crowd does not count"
                .to_owned(),
        ),
        (
            "*.json, ann/*.json, *.geojson",
            "label: Label Studio, VIA, Supervisely, Darwin (V7), Datumaro, CreateML, QuPath's GeoJSON".to_owned(),
        ),
        ("annotations.xml", "label: CVAT for images and for video".to_owned()),
        (
            "labels/*.txt",
            "label (convert: yolo-seg): YOLO outlines and boxes, names in data.yaml".to_owned(),
        ),
        (
            "Annotations/*.xml",
            "label (convert: voc-xml): Pascal VOC boxes, also annotations/ or beside the picture"
                .to_owned(),
        ),
        (
            "boxes.csv",
            "label (convert: boxes-csv): image,xmin,ymin,xmax,ymax,class (or ; tab |), a line a box".to_owned(),
        ),
        ("classes.txt", "names of the classes, one a line, the first is number 1".to_owned()),
        ("weights", ".safetensors, or .pth and the like as PyTorch saves them".to_owned()),
        (
            "results",
            "masks/*.png, overlays/*.jpg, report.html, labels.csv, coco.json, run.toml".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, summary)| Row { name: name.to_owned(), summary, source: None })
    .collect()
}
