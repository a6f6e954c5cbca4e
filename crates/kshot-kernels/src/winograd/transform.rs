//! The matrices of F(4x4, 3x3) at the points 0, ±1/√2, ±√2 and infinity, applied to vectors.
//!
//! These points lose 4 to 7 times less precision than 0, ±1, ±2 and infinity, and cost the same.
//! Each function is one dimension; a tile is transformed along its columns, then along its rows.

use std::f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};

use crate::simd::Simd;

/// Rows and columns of an input tile: as many points as there are in a dimension.
pub(super) const SIDE: usize = 6;
/// Rows and columns of an output tile.
pub(super) const OUT: usize = 4;
/// Points of a tile.
pub(super) const POINTS: usize = SIDE * SIDE;

/// `Bᵀ d`: pixels to points.
#[inline(always)]
pub(super) fn input<S: Simd>(simd: S, d: [S::Vector; 6]) -> [S::Vector; 6] {
    let factor = |value: f32| simd.splat(value);
    let (two, half, mixed) = (factor(2.0), factor(0.5), factor(2.5));
    let inner = [simd.fnma(two, d[2], d[4]), simd.fnma(two, d[1], d[3])];
    let outer = [simd.fnma(half, d[2], d[4]), simd.fnma(half, d[1], d[3])];
    [
        simd.fnma(mixed, d[2], simd.add(d[0], d[4])),
        simd.fma(factor(A), inner[1], inner[0]),
        simd.fnma(factor(A), inner[1], inner[0]),
        simd.fma(factor(B), outer[1], outer[0]),
        simd.fnma(factor(B), outer[1], outer[0]),
        simd.fnma(mixed, d[3], simd.add(d[1], d[5])),
    ]
}

/// `Aᵀ m`: points to results.
#[inline(always)]
pub(super) fn output<S: Simd>(simd: S, m: [S::Vector; 6]) -> [S::Vector; 4] {
    let factor = |value: f32| simd.splat(value);
    let inner = [simd.add(m[1], m[2]), simd.sub(m[1], m[2])];
    let outer = [simd.add(m[3], m[4]), simd.sub(m[3], m[4])];
    [
        simd.add(m[0], simd.add(inner[0], outer[0])),
        simd.fma(factor(A), inner[1], simd.mul(factor(B), outer[1])),
        simd.fma(factor(0.5), inner[0], simd.mul(factor(2.0), outer[0])),
        simd.fma(factor(A / 2.0), inner[1], simd.fma(factor(2.0 * B), outer[1], m[5])),
    ]
}

/// `A y`: a result's gradient to points.
#[inline(always)]
pub(super) fn gradient<S: Simd>(simd: S, y: [S::Vector; 4]) -> [S::Vector; 6] {
    let factor = |value: f32| simd.splat(value);
    let inner = [simd.fma(factor(0.5), y[2], y[0]), simd.fma(factor(0.5), y[3], y[1])];
    let outer = [simd.fma(factor(2.0), y[2], y[0]), simd.fma(factor(2.0), y[3], y[1])];
    [
        y[0],
        simd.fma(factor(A), inner[1], inner[0]),
        simd.fnma(factor(A), inner[1], inner[0]),
        simd.fma(factor(B), outer[1], outer[0]),
        simd.fnma(factor(B), outer[1], outer[0]),
        y[3],
    ]
}

/// `G g`: a kernel to points.
#[inline(always)]
pub(super) fn weight<S: Simd>(simd: S, g: [S::Vector; 3]) -> [S::Vector; 6] {
    let factor = |value: f32| simd.splat(value);
    let scaled = |value: f32, v: S::Vector| simd.mul(factor(value), v);
    let inner =
        [scaled(-2.0 / 3.0, simd.fma(factor(0.5), g[2], g[0])), scaled(-2.0 / 3.0 * A, g[1])];
    let outer = [scaled(1.0 / 6.0, simd.fma(factor(2.0), g[2], g[0])), scaled(1.0 / 6.0 * B, g[1])];
    [
        g[0],
        simd.add(inner[0], inner[1]),
        simd.sub(inner[0], inner[1]),
        simd.add(outer[0], outer[1]),
        simd.sub(outer[0], outer[1]),
        g[2],
    ]
}

/// `Gᵀ u`: points to a kernel's gradient.
#[inline(always)]
pub(super) fn weight_gradient<S: Simd>(simd: S, u: [S::Vector; 6]) -> [S::Vector; 3] {
    let factor = |value: f32| simd.splat(value);
    let inner = [simd.add(u[1], u[2]), simd.sub(u[1], u[2])];
    let outer = [simd.add(u[3], u[4]), simd.sub(u[3], u[4])];
    let sum = |i: f32, inner: S::Vector, o: f32, outer: S::Vector| {
        simd.fma(factor(i), inner, simd.mul(factor(o), outer))
    };
    [
        simd.add(u[0], sum(-2.0 / 3.0, inner[0], 1.0 / 6.0, outer[0])),
        sum(-2.0 / 3.0 * A, inner[1], 1.0 / 6.0 * B, outer[1]),
        simd.add(u[5], sum(-1.0 / 3.0, inner[0], 1.0 / 3.0, outer[0])),
    ]
}
