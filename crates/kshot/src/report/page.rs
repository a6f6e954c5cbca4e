//! What all report pages share: the document, tiles, bars, links. Everything is in one file and
//! nothing is fetched, which a Content-Security-Policy in the page makes sure of.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kshot_data::query::slashed;
use maud::{Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page from its doctype to the opening of `main`; [`close`] ends it. In two parts, so that long
/// pages can be streamed to a file.
pub fn open(title: &str) -> String {
    open_with(title, &html! {})
}

/// [`open`] with more in its head, such as a style sheet.
pub fn open_with(title: &str, more: &Markup) -> String {
    // Only this very script may run, and pictures come from the page itself or from files beside it.
    let hash = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
    let policy = format!(
        "default-src 'none'; img-src data: file: 'self'; style-src 'unsafe-inline'; \
         script-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    let head = html! {
        (maud::DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="generator" content=(concat!("kshot ", env!("CARGO_PKG_VERSION")));
            title { (title) }
            style { (PreEscaped(STYLE)) }
            (more)
        }
        (PreEscaped("<body><main>"))
    };
    head.into_string()
}

/// The end of the page that [`open`] began.
pub fn close(footer: &str) -> String {
    let foot = html! {
        footer { (footer) }
        (PreEscaped("</main>"))
        dialog id="viewer" {
            div.bar {
                span {}
                button type="button" aria-label="previous picture" { "←" }
                button type="button" aria-label="next picture" { "→" }
                button type="button" { "Close" }
            }
            div.pair {
                img alt="the picture itself" hidden;
                img alt="";
            }
        }
        script { (PreEscaped(SCRIPT)) }
        (PreEscaped("</body></html>\n"))
    };
    foot.into_string()
}

/// Tiles with a name, a large value and a small word each.
pub fn tiles(tiles: &[(&str, String, String)]) -> Markup {
    html! {
        dl.stats {
            @for (name, value, note) in tiles {
                div {
                    dt { (name) }
                    dd { (value) @if !note.is_empty() { " " small { (note) } } }
                }
            }
        }
    }
}

/// A bar filled to `share` (0..1; anything else is clamped, not-a-number is empty).
pub fn meter(share: f32, colour: Option<&str>) -> Markup {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut style = format!("width:{:.1}%", share * 100.0);
    if let Some(colour) = colour {
        let _ = write!(style, ";background:{colour}");
    }
    html! { div.meter { i style=(style) {} } }
}

/// The address of a JPEG in base64 as it stands in `src`.
pub fn jpeg_uri(base64: &str) -> String {
    format!("data:image/jpeg;base64,{base64}")
}

/// A relative address for a file, with `/` between folders: everything but letters, digits and
/// `-._~/` is percent-encoded, so that no name can be taken for a scheme, a query or markup.
pub fn href(file: &str) -> String {
    let mut address = String::with_capacity(file.len() + 8);
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            address.push(char::from(byte));
        } else {
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address
}

/// The address of a file on this machine, from the page's own folder or any other.
pub fn file_href(file: &Path) -> String {
    let path = slashed(file);
    let root = if path.starts_with('/') { "" } else { "/" };
    // A drive's colon stays as it is.
    format!("file://{root}{}", href(&path).replacen("%3A", ":", 1))
}

/// A share of one as a percentage: `41.3 %`, with more digits where there is little.
pub fn percent(share: f32) -> String {
    let value = share * 100.0;
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        0.0 => "0 %".into(),
        small if small < 0.01 => "< 0.01 %".into(),
        small if small < 1.0 => format!("{value:.2} %"),
        large if large > 99.95 => format!("{value:.0} %"),
        _ => format!("{value:.1} %"),
    }
}

/// A duration as one reads it: `0.42 s`, `12.3 s`, `3 min 05 s`, `2 h 04 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        _ if seconds < 99.95 => format!("{seconds:.1} s"),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_cannot_leave_their_attribute() {
        assert_eq!(href("overlays/a b.jpg"), "overlays/a%20b.jpg");
        assert_eq!(href("javascript:x\"<é"), "javascript%3Ax%22%3C%C3%A9");
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(percent(0.4131), "41.3 %");
        assert_eq!(percent(0.0012), "0.12 %");
        assert_eq!(percent(0.00001), "< 0.01 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(f32::NAN), "–");
        assert_eq!(duration(0.421), "0.42 s");
        assert_eq!(duration(185.2), "3 min 05 s");
        assert_eq!(duration(7440.0), "2 h 04 min");
        assert!(meter(f32::NAN, None).into_string().contains("width:0.0%"));
    }

    #[test]
    fn the_policy_names_the_script_that_stands_in_the_page() {
        let page = open("<t>") + &close("");
        assert!(page.contains("<title>&lt;t&gt;</title>"));
        let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
        let hash = STANDARD.encode(Sha256::digest(script.as_bytes()));
        assert!(page.contains(&hash));
        assert!(!page.contains("http:") && !page.contains("https:"));
    }
}
