//! Names: what is built in, and what a misspelt name was meant to be.

/// A row of any of the tables (encoders, methods, losses, ...), for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// The name in commands and recipes.
    pub name: String,
    /// One line on what it is.
    pub summary: String,
    /// Where it comes from: an address, or nothing for our own.
    pub source: Option<String>,
}

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

/// The few-shot segmentation methods as rows, the choice among them first.
pub fn methods() -> Vec<Row> {
    use crate::method::few_shot;
    let auto = Row {
        name: few_shot::AUTO.to_owned(),
        summary: "tries all of the below on held-out labels and takes the best".to_owned(),
        source: None,
    };
    let all = few_shot::methods().into_iter().map(|method| Row {
        name: method.name().to_owned(),
        summary: method.about().to_owned(),
        source: None,
    });
    std::iter::once(auto).chain(all).collect()
}

/// The methods that learn from episodes as rows.
pub fn learners() -> Vec<Row> {
    use crate::method::few_shot::panet;
    let panet = Row {
        name: crate::train::pixel_experiment::PANET.to_owned(),
        summary: panet::SUMMARY.to_owned(),
        source: Some(panet::SOURCE.to_owned()),
    };
    crate::method::learner::Learning::rows().into_iter().chain([panet]).collect()
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

/// The devices compiled into this binary as rows.
pub fn devices() -> Vec<Row> {
    crate::device::KINDS
        .iter()
        .filter(|kind| kind.2)
        .map(|kind| Row { name: kind.0.to_owned(), summary: kind.3.to_owned(), source: None })
        .collect()
}

/// The files kshot reads and writes, as rows.
pub fn formats() -> Vec<Row> {
    let pictures = crate::data::image::EXTENSIONS.join(", ");
    [
        ("pictures", format!("{pictures}; told by content, 8 and 16 bits")),
        (
            "masks/*.png",
            "label (convert: mask): index, palette, gray or binary PNG, 255 = does not count"
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
            "label (convert: labelme): LabelMe polygons, rectangles and circles; __ignore__ = does \
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
            "label (convert: boxes-csv): image,xmin,ymin,xmax,ymax,class, a line a box".to_owned(),
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

/// The message for a name that is not in a table: the nearest valid name, then all of them.
///
/// `what` names the table in the singular, such as `encoder`.
pub fn unknown(what: &str, given: &str, valid: &[&str]) -> String {
    let near = nearest(given, valid).map(|name| format!("; did you mean `{name}`?"));
    format!(
        "unknown {what} `{given}`{} Valid are: {}",
        near.unwrap_or_else(|| ".".to_owned()),
        valid.join(", ")
    )
}

/// The valid name with the fewest edits from the given one, if at most a third of it differs.
pub fn nearest<'a>(given: &str, valid: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    let (edits, name) = valid
        .iter()
        .map(|name| (edits(&given, &name.to_lowercase()), *name))
        .min_by_key(|(edits, _)| *edits)?;
    (edits * 3 <= name.chars().count().max(3)).then_some(name)
}

/// How many characters must be inserted, deleted or replaced to turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("vgg16", "vgg16", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn only_near_names_are_offered() {
        let valid = ["resnet18", "resnet34", "vgg16"];
        assert_eq!(nearest("Resnet-18", &valid), Some("resnet18"));
        assert_eq!(nearest("vgg", &valid), None);
        assert!(unknown("encoder", "x", &valid).starts_with("unknown encoder `x`. Valid are: res"));
    }
}
