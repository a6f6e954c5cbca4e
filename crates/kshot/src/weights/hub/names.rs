//! Which names may become parts of a path in the cache: a user's, and those that a server sends.

use crate::error::{Error, Result};
use crate::transfer::web::escaped;
use crate::weights::source::RepositoryFile;

/// No name of a file or folder is longer on any usual file system.
const LONGEST: usize = 255;

/// Commits have 40 characters and hashes 64; other servers' tags are not much longer.
const LONGEST_SENT: usize = 128;

/// Whether a repository, its revision and its file have names that stay inside the cache.
///
/// # Errors
/// If one has not; the message says what is valid.
pub(super) fn check(wanted: &RepositoryFile) -> Result<()> {
    let RepositoryFile { repository, revision, file } = wanted;
    let parts: Vec<&str> = repository.split('/').collect();
    // Folders are named `models--owner--name`, so that `--` within a name would be ambiguous.
    let apart = |part: &&str| is_plain(part) && !part.contains("--") && !part.contains("..");
    if parts.len() > 2 || !parts.iter().all(apart) {
        return Err(Error::config(format!(
            "`{}` is no repository; give owner/name, of letters, digits, `-`, `_` and `.` (not `--` \
             or `..`)",
            escaped(repository.as_bytes())
        )));
    }
    if !revision.split('/').all(is_plain) || revision.contains("..") {
        return Err(Error::config(format!(
            "`{}` is no revision; give a branch, a tag, a commit or refs/pr/NUMBER, of letters, \
             digits, `-`, `_` and `.`",
            escaped(revision.as_bytes())
        )));
    }
    match file {
        Some(file) if !is_inside(file) => Err(Error::config(format!(
            "`{}` is no file of a repository; give its path below the repository, such as \
             model.safetensors or sub/model.safetensors: without `..`, backslashes, colons and \
             control characters",
            escaped(file.as_bytes())
        ))),
        _ => Ok(()),
    }
}

/// Whether a path is relative, with `/` between its parts, and stays below where it starts.
fn is_inside(path: &str) -> bool {
    let legal = |part: &str| {
        let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
        // Windows takes `.. ` for `..`.
        let ends_well = !part.ends_with(['.', ' ']);
        !part.is_empty() && part.len() <= LONGEST && ends_well && !part.contains(odd)
    };
    path.len() <= 4 * LONGEST && path.split('/').all(legal)
}

/// Whether a name can stand as one part of a path anywhere: `[A-Za-z0-9_-.]`, without a point at either
/// end.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty()
        && name.len() <= LONGEST_SENT
        && name.chars().all(allowed)
        && !name.starts_with('.')
        && !name.ends_with('.')
}

/// The name inside an `ETag`: without quotes and the mark of a weak one.
pub(super) fn of_tag(sent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(sent).ok()?.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    // That ending marks what is not yet whole.
    (is_plain(text) && !text.ends_with(".part") && !text.ends_with(".incomplete"))
        .then(|| text.to_owned())
}

/// A commit that the server names.
pub(super) fn of_commit(sent: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(sent).ok()?.trim();
    is_plain(text).then(|| text.to_owned())
}

/// Whether a blob is named by the SHA-256 of its content.
pub(super) fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(repository: &str, revision: &str, file: Option<&str>) -> RepositoryFile {
        RepositoryFile {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        }
    }

    #[test]
    fn names_of_users() {
        for (repository, revision, file) in [
            ("timm/resnet18.tv_in1k", "main", None),
            ("gpt2", "v1.0", Some("model.safetensors")),
            ("a/b", "refs/pr/1", Some("sub/some model (1).pth")),
            ("a/b", "607a30d783dfa663caf39e06633721c8d4cfcd7e", Some("modèle.bin")),
        ] {
            check(&wanted(repository, revision, file)).unwrap();
        }
        for repository in
            ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", "a/b--c", "a\\b", "C:/a", "a/b\n", "a/."]
        {
            let error = check(&wanted(repository, "main", None)).unwrap_err().to_string();
            assert!(error.contains("is no repository; give owner/name"), "{repository}: {error}");
        }
        for revision in ["", "..", "../main", "refs//1", "a/../b", "/main", "a b", "a..b", "x\0"] {
            let error = check(&wanted("a/b", revision, None)).unwrap_err().to_string();
            assert!(error.contains("is no revision"), "{revision}: {error}");
        }
        let long = "x".repeat(300);
        for file in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../x",
            "a//x",
            "a/",
            "a\\..\\x",
            "C:x",
            "x\n",
            "a/.. /x",
            ".",
            "./x",
            &long,
        ] {
            let error = check(&wanted("a/b", "main", Some(file))).unwrap_err().to_string();
            assert!(error.contains("is no file of a repository"), "{file}: {error}");
        }
    }

    #[test]
    fn names_of_servers() {
        for (sent, name) in [
            ("\"0123abcd\"", Some("0123abcd")),
            ("W/\"a-b_c.1\"", Some("a-b_c.1")),
            (" 0123 ", Some("0123")),
            ("\"\"", None),
            ("\"", None),
            ("..", None),
            ("\"../../evil\"", None),
            ("/etc/passwd", None),
            ("a\\b", None),
            ("C:a", None),
            ("a.part", None),
            ("a b", None),
        ] {
            assert_eq!(of_tag(sent.as_bytes()).as_deref(), name, "{sent}");
        }
        assert_eq!(of_tag(&[0xff, 0xfe]), None);
        assert_eq!(of_tag("a".repeat(129).as_bytes()), None);
        assert_eq!(of_commit(b"../x"), None);
        assert_eq!(of_commit(b"0123").as_deref(), Some("0123"));
    }
}
