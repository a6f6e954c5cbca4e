//! Whether frozen networks multiply in bf16 on the CPU.

pub use kshot_kernels::{NoBf16, is_bf16, set_bf16};

/// Does some work in 32 bits, whatever was chosen before and is again afterwards. The choice is that of the
/// whole process: work that other threads do meanwhile is in 32 bits too.
pub fn in_32_bits<T>(work: impl FnOnce() -> T) -> T {
    struct Again(bool);
    impl Drop for Again {
        fn drop(&mut self) {
            // Only what was on before is turned on again: it is not refused.
            let _ = set_bf16(self.0);
        }
    }
    let _again = Again(is_bf16());
    let _ = set_bf16(false);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_comes_back_after_a_panic_too() {
        let before = is_bf16();
        assert!(!in_32_bits(is_bf16));
        assert!(std::panic::catch_unwind(|| in_32_bits(|| panic!("on purpose"))).is_err());
        assert_eq!(is_bf16(), before);
    }
}
