//! What is done to pixels before a network sees them.

use image::RgbImage;

/// What is taken from each pixel before a network sees it: `(pixel - mean) / std` per channel (red,
/// green, blue), where pixels count from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// Taken away from each channel.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
}

impl Normalization {
    /// The mean and standard deviation of ImageNet's pixels, as torchvision's networks expect.
    pub const IMAGENET: Self =
        Self { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] };

    /// Pixels to -1..1.
    pub const HALF: Self = Self { mean: [127.5; 3], std: [127.5; 3] };
}

impl Normalization {
    /// A part of a picture (`[top, left, height, width]`) as the encoder wants it, `[3, height, width]`; beyond
    /// the picture its border is repeated, which keeps false edges out of the features.
    pub fn planes(&self, image: &RgbImage, [top, left, rows, columns_of]: [usize; 4]) -> Vec<f32> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let table: Vec<[f32; 256]> = (0..3)
            .map(|c| std::array::from_fn(|v| (v as f32 - self.mean[c]) / self.std[c]))
            .collect();
        let area = rows * columns_of;
        let mut planes = vec![0.0f32; 3 * area];
        let columns: Vec<usize> = (left..left + columns_of).map(|x| x.min(width - 1) * 3).collect();
        for y in 0..rows {
            let source = (top + y).min(height - 1);
            let line = &image.as_raw()[source * width * 3..][..width * 3];
            for (channel, table) in table.iter().enumerate() {
                let out = &mut planes[channel * area + y * columns_of..][..columns_of];
                for (out, &column) in out.iter_mut().zip(&columns) {
                    *out = table[line[column + channel] as usize];
                }
            }
        }
        planes
    }

    /// All of a picture as the encoder wants it: `planes` is `[3, height, width]`.
    pub fn whole(&self, picture: &RgbImage, planes: &mut [f32]) {
        let area = (picture.width() * picture.height()) as usize;
        let (red, rest) = planes.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        let pixels = picture.as_raw().as_chunks::<3>().0;
        let value =
            |channel: usize, level: u8| (f32::from(level) - self.mean[channel]) / self.std[channel];
        for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
            [*red, *green, *blue] = [value(0, pixel[0]), value(1, pixel[1]), value(2, pixel[2])];
        }
    }

    /// A square picture as the encoder wants it, `[3, side, side]`, perhaps mirrored.
    pub(crate) fn square(&self, picture: &RgbImage, mirrored: bool, planes: &mut [f32]) {
        let side = picture.width() as usize;
        let area = side * side;
        for (at, pixel) in picture.as_raw().chunks_exact(3).enumerate() {
            let (y, x) = (at / side, at % side);
            let to = y * side + if mirrored { side - 1 - x } else { x };
            for channel in 0..3 {
                planes[channel * area + to] =
                    (f32::from(pixel[channel]) - self.mean[channel]) / self.std[channel];
            }
        }
    }

    /// The picture that planes `[3, height, width]` were made from; `None` where they are too few.
    pub fn picture(&self, planes: &[f32], height: usize, width: usize) -> Option<RgbImage> {
        let area = height * width;
        let byte = |channel: usize, at: usize| {
            planes.get(channel * area + at).map(|value| {
                (value * self.std[channel] + self.mean[channel]).round().clamp(0.0, 255.0) as u8
            })
        };
        let mut pixels = Vec::with_capacity(3 * area);
        for at in 0..area {
            for channel in 0..3 {
                pixels.push(byte(channel, at)?);
            }
        }
        RgbImage::from_raw(width as u32, height as u32, pixels)
    }
}
