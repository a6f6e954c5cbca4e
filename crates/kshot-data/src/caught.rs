//! Panics in decoders that others wrote, as errors: a damaged file must not end the work on all others.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder that works on this thread alone; a panic in it is an error, in its words.
///
/// # Errors
/// If it panics.
pub fn caught<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    let before = INSIDE.replace(true);
    // Whatever it was given is not used again after a panic.
    let done = catch_unwind(AssertUnwindSafe(decode));
    INSIDE.set(before);
    done.map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason").to_owned()
    })
}

/// Whether a panic on this thread is about to become an error: hooks have nothing to tell of it then.
pub fn is_inside() -> bool {
    INSIDE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_and_the_next_call_works() {
        assert_eq!(
            caught(|| -> u8 { panic!("row {} is too long", 3) }),
            Err("row 3 is too long".into())
        );
        assert!(!is_inside());
        assert_eq!(caught(is_inside), Ok(true));
    }
}
