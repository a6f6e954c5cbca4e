//! Products of matrices in any layout.

use gemm::Parallelism;

/// A matrix in memory: the floats from row to row and from column to column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) steps: [usize; 2],
}

/// `target = target * keep + left * right`, where `target` is `[rows, columns]` with `line` floats
/// from row to row, and `keep` is zero or one.
pub(crate) fn multiply(
    extents: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: &mut [f32],
    line: usize,
    keep: bool,
) {
    let [rows, depth, columns] = extents;
    if rows == 0 || columns == 0 {
        return;
    }
    let fits = |matrix: &[f32], extents: [usize; 2], steps: [usize; 2]| {
        (extents[0] - 1) * steps[0] + (extents[1] - 1) * steps[1] < matrix.len()
    };
    assert!((rows - 1) * line + columns <= target.len(), "target is too short");
    assert!(depth > 0 && (rows == 1 || line >= columns));
    assert!(fits(left.values, [rows, depth], left.steps), "left operand is too short");
    assert!(fits(right.values, [depth, columns], right.steps), "right operand is too short");
    // SAFETY: every element of the operands and of the target lies inside its slice, by the assertions
    // above; the target's borrow is unique, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            target.as_mut_ptr(),
            1,
            line as isize,
            keep,
            left.values.as_ptr(),
            left.steps[1] as isize,
            left.steps[0] as isize,
            right.values.as_ptr(),
            right.steps[1] as isize,
            right.steps[0] as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
