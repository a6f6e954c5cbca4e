//! What is said of an error, and the exit status that it means.

use kshot_data::atomic;

use crate::{NO_ROOM, WRONG_USE, interrupt};

/// An error with its causes, but for those whose words it has.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let words = cause.to_string();
        // Which error of the system it was is said in better words.
        let is_absent = cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if !is_absent && !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}

/// The exit status that an error means.
pub fn status(error: &anyhow::Error) -> u8 {
    let no_room = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(atomic::no_room)
    };
    let stopped = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<kshot::Error>();
        error.is_some_and(|error| error.kind() == kshot::ErrorKind::Cancelled)
    };
    if error.chain().any(no_room) {
        NO_ROOM
    } else if interrupt::asked() && error.chain().any(stopped) {
        interrupt::status()
    } else {
        WRONG_USE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = kshot::Error::io("read the recipe", "a.toml", denied);
        let text = told(&error.into());
        assert_eq!(text, "a.toml: could not read the recipe: permission denied");
        let absent = std::io::Error::from(std::io::ErrorKind::NotFound);
        let text = told(&kshot::Error::io("read the recipe", "nowhere/a.toml", absent).into());
        assert_eq!(
            text,
            "nowhere/a.toml: could not read the recipe: there is no such file; check the path"
        );
        let other = kshot::Error::config("not so").caused_by(std::io::Error::other("a reason"));
        assert_eq!(told(&other.into()), "not so: a reason");
    }
}
