//! What is said where kshot itself is wrong: a panic.

use std::sync::atomic::{AtomicBool, Ordering};

use kshot::report::correct;
use kshot_data::visible::visible;

use crate::table::say;

/// kshot panicked.
const FAULT: i32 = 101;

/// Libraries of graphics processors panic and catch it themselves, while they try what a device can do.
const PANICS_ARE_CAUGHT: bool = cfg!(any(
    feature = "cuda",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal",
    feature = "rocm"
));

/// From now on a panic is one line, and ends the process. With `RUST_BACKTRACE` all is told as Rust does.
pub fn tell_in_one_line() {
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        // A decoder that others wrote, at a damaged file, or a driver that lacks something: it becomes an error.
        if kshot_data::caught::is_inside() || kshot::device::is_opening() {
            return;
        }
        // Other threads may stumble over the first.
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::SeqCst) {
            let place = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str().unwrap_or("no message");
            say(&told(place.as_deref(), message, &crate::command()));
        }
        if !PANICS_ARE_CAUGHT {
            std::process::exit(FAULT);
        }
    }));
}

fn told(place: Option<&str>, message: &str, command: &[String]) -> String {
    let place = place.map_or_else(String::new, |place| format!(" at {place}"));
    let text = format!(
        "kshot: kshot panicked{place}: {message}; this is a fault of kshot, not of your data, and what was finished is \
         kept; please report it with what this says: RUST_BACKTRACE=1 {}",
        correct::line(command)
    );
    visible(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_with_the_command_to_repeat() {
        let command = ["kshot", "list", "my file"].map(str::to_owned);
        let text = told(Some("src/a.rs:3:5"), "left: 1\nright: 2", &command);
        assert_eq!(text.lines().count(), 1);
        for part in ["src/a.rs:3:5", "left: 1\\nright: 2", "RUST_BACKTRACE=1 kshot list 'my file'"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
