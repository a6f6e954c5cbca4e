//! Random changes to training pictures.

use rand::Rng;

/// Which changes; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Half of the pictures are mirrored left to right.
    pub flip: bool,
    /// Pictures are moved by up to so many pixels each way; what comes in repeats the edge.
    pub shift: usize,
}

impl Augment {
    /// Changes a picture `[channels, height, width]` in place.
    pub fn apply(self, picture: &mut [f32], [height, width]: [usize; 2], random: &mut impl Rng) {
        if self.flip && random.random_bool(0.5) {
            for row in picture.chunks_exact_mut(width) {
                row.reverse();
            }
        }
        if self.shift == 0 {
            return;
        }
        let most = self.shift as i64;
        let [down, right] = [(); 2].map(|()| random.random_range(-most..=most));
        let from = |place: usize, by: i64, size: usize| {
            (place as i64 - by).clamp(0, size as i64 - 1) as usize
        };
        let mut before = vec![0.0; height * width];
        for plane in picture.chunks_exact_mut(height * width) {
            before.copy_from_slice(plane);
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                let source = &before[from(y, down, height) * width..][..width];
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = source[from(x, right, width)];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_shift_keeps_values_and_nothing_is_done_by_default() {
        let picture: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut same = picture.clone();
        Augment::default().apply(&mut same, [3, 4], &mut random);
        assert_eq!(same, picture);
        let mut seen_other = false;
        for _ in 0..20 {
            let mut moved = picture.clone();
            Augment { flip: true, shift: 1 }.apply(&mut moved, [3, 4], &mut random);
            assert!(moved.iter().all(|value| picture.contains(value)));
            seen_other |= moved != picture;
        }
        assert!(seen_other);
    }
}
