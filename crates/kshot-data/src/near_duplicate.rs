//! Pictures that look the same, by a hash of what they show.

use image::RgbImage;
use image::imageops::{self, FilterType};

/// Pictures count as near-duplicates when their hashes differ in at most this many of 64 bits.
pub const NEAR: u32 = 4;
/// A hash with fewer bits set or clear than this comes from a picture with next to no structure: it
/// says nothing of similarity.
const STRUCTURE: u32 = 6;

/// 64 bits that stay the same when a picture is scaled, recompressed or brightened: whether each
/// pixel of a 9 x 8 gray version is brighter than its right neighbour.
pub fn difference_hash(picture: &RgbImage) -> u64 {
    let gray = imageops::grayscale(picture);
    let small = imageops::resize(&gray, 9, 8, FilterType::Triangle);
    let mut hash = 0;
    for y in 0..8 {
        for x in 0..8 {
            let brighter = small.get_pixel(x, y).0[0] > small.get_pixel(x + 1, y).0[0];
            hash = hash << 1 | u64::from(brighter);
        }
    }
    hash
}

/// Whether two pictures of these hashes look the same.
pub fn alike(a: u64, b: u64) -> bool {
    let structured = |hash: u64| (STRUCTURE..=64 - STRUCTURE).contains(&hash.count_ones());
    structured(a) && structured(b) && (a ^ b).count_ones() <= NEAR
}
