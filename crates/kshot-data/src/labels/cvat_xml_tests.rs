use super::*;
use crate::labels::runs;
use crate::mask::Mask;

fn read(text: &str) -> (LabelFile, Findings) {
    let document = Document::parse(text).unwrap();
    assert!(is(&document));
    let mut findings = Findings::default();
    (super::read(Path::new("annotations.xml"), &document, &mut findings).unwrap(), findings)
}

/// A picture of 4 x 3 pixels with these shapes.
fn image(shapes: &str) -> (Vec<Object>, Findings) {
    let (mut file, mut findings) = read(&format!(
        r#"<annotations><image id="0" name="a.png" width="4" height="3">{shapes}</image></annotations>"#
    ));
    let picture = file.pictures.remove(0);
    tell(&picture, &mut findings);
    (picture.objects, findings)
}

/// What leaves a picture out, as a finding.
fn tell(picture: &Outlines, findings: &mut Findings) {
    if let Some(what) = &picture.damaged {
        findings.add(Severity::Error, Path::new("annotations.xml"), what, "");
    }
}

fn painted(object: &Object, width: usize, height: usize) -> Vec<u8> {
    let mut mask = Mask::filled(width, height, 0);
    object.shape.paint(&mut mask, 1);
    mask.pixels
}

#[test]
fn what_cvats_own_code_writes_is_read() {
    let text = include_str!("../../../../golden/cvat.xml");
    let (file, findings) = read(text);
    assert_eq!(file.classes, ["bar", "disk", "leaf"]);
    let [picture] = file.pictures.as_slice() else { panic!("{} pictures", file.pictures.len()) };
    assert_eq!((picture.picture.as_deref(), picture.size), (Some("sub/a.jpg"), Some((12, 9))));
    let objects = &picture.objects;
    let said: Vec<_> = objects.iter().map(|object| (&*object.class, object.id)).collect();
    let disk = ("disk", Some(4));
    assert_eq!(said, [disk, disk, ("leaf", None), ("bar", None), ("leaf", None)]);
    // 4 x 2 about 6, 4 lies upright after a quarter.
    assert_eq!(objects[0].shape.bounds(9), Some([5.0, 2.0, 7.0, 6.0]));
    assert_eq!(objects[1].shape, ObjectShape::Box([6.0, 2.0, 10.0, 5.0]));
    let square = vec![[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]];
    assert_eq!(objects[3].shape, ObjectShape::Polygons(vec![square]));
    let truth = text.rsplit("<!-- ").next().unwrap();
    for (object, pixels) in [&objects[2], &objects[4]].into_iter().zip(truth.split(' ')) {
        let pixels: Vec<u8> = pixels.bytes().map(|digit| digit - b'0').collect();
        assert_eq!(painted(object, 12, 9), pixels);
    }
    assert_eq!(findings.0.len(), 1);
    assert!(findings.0[0].what.starts_with("3 items passed over"), "{:?}", findings.0);
}

#[test]
fn a_mask_is_row_by_row_in_its_box() {
    let (objects, findings) = image(
        r#"<mask label="a" rle="1, 2, 1" left="1" top="1" width="2" height="2"/>
           <mask label="a" rle="0,2" left="3" top="0" width="1" height="2"/>
           <mask label="a" rle="4,0" left="0" top="0" width="2" height="2"/>"#,
    );
    assert_eq!(findings.0, []);
    // `. X` over `X .` at 1, 1; columns are 3 high.
    assert_eq!(objects[0].shape, ObjectShape::Runs(vec![5, 1, 1, 1, 4]));
    assert_eq!(painted(&objects[0], 4, 3), [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
    assert_eq!(objects[1].shape, ObjectShape::Runs(vec![9, 2, 1]));
    assert_eq!(objects[2].shape, ObjectShape::Runs(vec![12]));
}

#[test]
fn columns_are_those_of_the_whole_mask() {
    let pixels: Vec<u8> = (0..37u32 * 23).map(|i| u8::from((i * i / 7) % 5 == 0)).collect();
    let mask = Mask::from_pixels(37, 23, pixels).unwrap();
    let inside: Vec<Range<usize>> =
        (0..37 * 23).filter(|&at| mask.pixels[at] == 1).map(|at| at..at + 1).collect();
    let counts = runs::encode(&mask, |value| value == 1);
    assert_eq!(by_columns(&inside, 37, [0, 0], (37, 23)), counts);
    let all = Mask::filled(5, 4, 1);
    let counts = runs::encode(&all, |value| value == 1);
    assert_eq!(by_columns(&[0..7, 7..20], 5, [0, 0], (5, 4)), counts);
    assert_eq!(by_columns(&[], 5, [0, 0], (5, 4)), [20]);
}

#[test]
fn turned_boxes_and_ellipses_are_outlines() {
    let (objects, findings) = image(
        r#"<box label="a" xtl="0" ytl="1" xbr="4" ybr="2" rotation="0.00"/>
           <box label="a" xtl="0" ytl="0" xbr="2" ybr="2" rotation="45"/>
           <ellipse label="a" cx="5" cy="5" rx="4" ry="2"/>
           <ellipse label="a" cx="5" cy="5" rx="4" ry="2" rotation="90"/>
           <ellipse label="a" cx="2" cy="1" rx="1" ry="1"/>"#,
    );
    assert_eq!(findings.0, []);
    assert_eq!(objects[0].shape, ObjectShape::Box([0.0, 1.0, 4.0, 2.0]));
    // The corner at the upper left goes to the top: clockwise, where y grows downwards.
    let ObjectShape::Polygons(rings) = &objects[1].shape else { panic!("{:?}", objects[1]) };
    let [x, y] = rings[0][0];
    assert!((x - 1.0).abs() < 1e-9 && (y - 1.0 + 2f64.sqrt()).abs() < 1e-9, "{x}, {y}");
    assert_eq!(objects[2].shape.bounds(9), Some([1.0, 3.0, 9.0, 7.0]));
    assert_eq!(objects[3].shape.bounds(9), Some([3.0, 1.0, 7.0, 9.0]));
    // Rows of 6, 8, 8 and 6 pixels.
    assert_eq!(painted(&objects[2], 10, 10).iter().filter(|&&pixel| pixel == 1).count(), 28);
    assert_eq!(objects[4].shape, ObjectShape::Circle([2.0, 1.0], 1.0));
}

#[test]
fn frames_of_a_video_are_pictures() {
    let (file, findings) = read(
        r#"<annotations><version>1.1</version><meta><job><id>3</id>
            <labels>
              <label><name>Background</name></label>
              <label><name>car</name><type>any</type></label>
              <label><name>body</name><type>skeleton</type></label>
              <label><name>knee</name><type>points</type><parent>body</parent></label>
            </labels>
            <original_size><width>40</width><height>30</height></original_size></job></meta>
          <track id="0" label="car" source="manual" group_id="2">
            <polygon frame="7" keyframe="1" outside="0" occluded="0" points="0,0;4,0;0,4" z_order="1"/>
            <polygon frame="8" keyframe="0" outside="0" occluded="0" points="1,0;5,0;1,4" z_order="1"/>
            <polygon frame="9" keyframe="1" outside="1" occluded="0" points="1,0;5,0;1,4" z_order="1"/>
          </track>
          <track id="1" label="car" source="manual">
            <mask frame="8" outside="0" rle="0, 1" left="39" top="29" width="1" height="1" z_order="0"/>
            <skeleton frame="10" keyframe="1" z_order="0"><points label="knee" points="1,1"/></skeleton>
          </track></annotations>"#,
    );
    assert_eq!(file.classes, ["car", "body"]);
    let names: Vec<_> = file.pictures.iter().filter_map(|one| one.picture.as_deref()).collect();
    assert_eq!(names, ["frame_000007", "frame_000008"]);
    assert!(file.pictures.iter().all(|picture| picture.size == Some((40, 30))));
    let [mask, polygon] = file.pictures[1].objects.as_slice() else { panic!() };
    assert_eq!((&mask.shape, mask.id), (&ObjectShape::Runs(vec![1199, 1]), None));
    let ring = vec![[1.0, 0.0], [5.0, 0.0], [1.0, 4.0]];
    assert_eq!((&polygon.shape, polygon.id), (&ObjectShape::Polygons(vec![ring]), Some(2)));
    assert!(findings.0[0].what.contains("1 skeleton,"), "{:?}", findings.0);
}

#[test]
fn projects_have_folders_and_sizes_of_their_own() {
    let (file, _) = read(
        r#"<annotations><meta><project><tasks>
            <task><id>5</id><original_size><width>4</width><height>3</height></original_size></task>
            <task><id>6</id><original_size><width>8</width><height>6</height></original_size></task>
            </tasks></project></meta>
          <image id="0" name="x\y.png" subset="train" task_id="4" width="2" height="2"/>
          <track id="0" label="a" task_id="6" subset="val">
            <box frame="0" outside="0" xtl="0" ytl="0" xbr="1" ybr="1"/></track></annotations>"#,
    );
    let said: Vec<_> =
        file.pictures.iter().map(|one| (one.picture.as_deref().unwrap(), one.size)).collect();
    assert_eq!(said, [("train/x/y.png", Some((2, 2))), ("val/frame_000000", Some((8, 6)))]);
    assert!(file.pictures[0].objects.is_empty());
}

#[test]
fn what_has_no_inside_is_passed_over() {
    for (shape, word) in [
        (r#"<polyline label="a" points="0,0;1,1;2,0"/>"#, "1 line,"),
        (r#"<points label="a" points="0,0;1,1;2,0"/>"#, "1 point,"),
        (r#"<tag label="a"/>"#, "whole picture"),
        (r#"<skeleton label="a"><points label="b" points="0,0"/></skeleton>"#, "1 skeleton,"),
        (r#"<cuboid label="a" xtl1="0" ytl1="0"/>"#, "1 cuboid,"),
        (r#"<spiral label="a"/>"#, "kind kshot does not read"),
        (r#"<polygon label="a" points="0,0;1,1"/>"#, "fewer than 3"),
        (r#"<box label="a" xtl="1" ytl="1" xbr="1" ybr="2"/>"#, "1 empty box"),
        (r#"<box label="a" xtl="3" ytl="1" xbr="1" ybr="2"/>"#, "1 empty box"),
        (r#"<ellipse label="a" cx="1" cy="1" rx="-2" ry="2"/>"#, "1 circle or ellipse"),
    ] {
        let (objects, findings) = image(shape);
        assert_eq!((objects.len(), findings.0[0].severity), (0, Severity::Warning), "{shape}");
        let what = &findings.0[0].what;
        assert!(what.contains("passed over") && what.contains(word), "{what}");
    }
}

#[test]
fn what_is_damaged_is_said() {
    let mask = |rle: &str, sides: [&str; 4]| {
        let [left, top, width, height] = sides;
        format!(
            r#"<mask label="a" rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}"/>"#
        )
    };
    let huge = "18446744073709551615";
    for (shape, word) in [
        (r#"<polygon label="a" points="0,0;1;2,0"/>"#.to_owned(), "x,y"),
        (r#"<polygon label="a" points="0,0;NaN,1;2,0"/>"#.to_owned(), "x,y"),
        (r#"<polygon label="a" points="0,0;1e99,1;2,0"/>"#.to_owned(), "x,y"),
        (r#"<polygon label="a"/>"#.to_owned(), "`points` is missing"),
        (r#"<polygon points="0,0;4,0;0,4"/>"#.to_owned(), "no label"),
        (r#"<box label="a" xtl="inf" ytl="1" xbr="1" ybr="2"/>"#.to_owned(), "`xtl` is `inf`"),
        (mask("1, 2", ["0", "0", "2", "2"]), "of 3 pixels"),
        (mask("1, 4", ["0", "0", "2", "2"]), "longer"),
        (mask("-1, 5", ["0", "0", "2", "2"]), "run 0"),
        (mask("", ["0", "0", "2", "2"]), "run 0"),
        (mask("4", ["-1", "0", "2", "2"]), "`left` is `-1`"),
        (mask("4", ["3", "0", "2", "2"]), "its picture 4 x 3"),
        (mask("4", [huge, "0", "2", "2"]), "its picture 4 x 3"),
        (mask("4", ["0", "0", huge, huge]), "its picture 4 x 3"),
        (mask("0", ["0", "0", "0", "2"]), "its picture 4 x 3"),
    ] {
        let (objects, findings) = image(&shape);
        assert_eq!((objects.len(), findings.errors()), (0, 1), "{shape}");
        let what = &findings.0[0].what;
        assert!(what.contains(word) && what.contains("`a.png`"), "{what}");
    }
    for (sides, word) in [
        (r#"width="60000" height="60000""#, "200 million"),
        (r#"width="18446744073709551615" height="9""#, "200 million"),
        (r#"width="-4" height="3""#, "missing"),
    ] {
        let mask = mask("1", ["0", "0", "1", "1"]);
        let (file, _) = read(&format!(
            r#"<annotations><image name="a.png" {sides}>{mask}</image></annotations>"#
        ));
        let damaged = file.pictures[0].damaged.as_ref();
        assert!(damaged.is_some_and(|what| what.contains(word)), "{damaged:?}");
    }
    let (file, findings) = read(
        r#"<annotations><image id="0"/><track label="a"><box xtl="0"/></track></annotations>"#,
    );
    assert_eq!((file.pictures.len(), findings.errors()), (0, 2));
}

#[test]
fn other_xml_is_told_apart() {
    let is = |text| super::is(&Document::parse(text).unwrap());
    assert!(is("<annotations><meta/></annotations>"));
    assert!(!is("<annotations/>") && !is("<annotation><image/></annotation>"));
}
