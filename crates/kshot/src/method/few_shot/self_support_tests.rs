//! Self-support against the method as it is written down.

use super::*;

/// A picture of two kinds of cells, foreground on the left of `edge`.
fn bank(grid: usize, edge: usize, shift: f32) -> Bank {
    let mut values = vec![0.0f32; 3 * grid * grid];
    for cell in 0..grid * grid {
        let foreground = cell % grid < edge;
        values[cell] = if foreground { 1.0 } else { shift };
        values[grid * grid + cell] = if foreground { shift } else { 1.0 };
        values[2 * grid * grid + cell] = 0.3;
    }
    normalise(&mut values, grid * grid);
    let data = TensorData::new(values, [3, grid * grid]);
    Bank::new(Tensor::from_data(data, &Device::flex()), 3)
}

#[test]
fn finds_the_class_and_void_does_not_matter() {
    let method = SelfSupport { grid: 8, least: 2, ..SelfSupport::default() };
    let support = bank(8, 4, 0.1);
    let mut mask = Mask::filled(16, 16, 0);
    for (index, pixel) in mask.pixels.iter_mut().enumerate() {
        *pixel = match index % 16 {
            0..8 => 1,
            8 | 9 => 255,
            _ => 0,
        };
    }
    for adapt in [false, true] {
        let method = SelfSupport { adapt, ..method.clone() };
        let examples = [SupportExample { bank: &support, shares: method.shares(&mask, 2) }];
        let map = method.scores(&examples, &bank(8, 3, 0.2), [80, 80]);
        for (cell, score) in map.plane(1).iter().enumerate() {
            assert_eq!(*score > 0.0, cell % 8 < 3, "adapt {adapt}, cell {cell}: {score}");
        }
    }
}

#[test]
fn the_same_shot_twice_changes_nothing() {
    let method = SelfSupport { grid: 8, least: 2, ..SelfSupport::default() };
    let (support, query) = (bank(8, 4, 0.1), bank(8, 5, 0.3));
    let mut mask = Mask::filled(8, 8, 0);
    mask.pixels.chunks_exact_mut(8).for_each(|line| line[..4].fill(1));
    let example = SupportExample { bank: &support, shares: method.shares(&mask, 2) };
    let once = method.scores(std::slice::from_ref(&example), &query, [8, 8]);
    let twice = method.scores(&[example.clone(), example], &query, [8, 8]);
    for (a, b) in once.data.iter().zip(&twice.data) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
}

/// The method as it is written down, vector by vector.
fn written_out(method: &SelfSupport, examples: &[SupportExample<'_>], query: &Bank) -> Vec<f32> {
    let columns = |bank: &Bank| -> Vec<Vec<f32>> {
        let [_, cells] = bank.values.dims();
        let values = cpu_values(bank.values.clone());
        let column = |cell| values.iter().skip(cell).step_by(cells).copied().collect();
        (0..cells).map(column).collect()
    };
    let sum = |vectors: &[(&Vec<f32>, f32)]| {
        let mut sum = vec![0.0; vectors[0].0.len()];
        vectors.iter().for_each(|(vector, weight)| add_scaled(&mut sum, vector, *weight));
        sum
    };
    let unit = |mut vector: Vec<f32>| {
        normalise(&mut vector, 1);
        vector
    };
    let cells = columns(query);
    let prototype = |plane| cpu_values(prototype(examples, plane));
    let (front, back) = (prototype(1), prototype(0));
    let first = |cell: &Vec<f32>| dot(cell, &front) - dot(cell, &back);
    let p: Vec<f32> =
        cells.iter().map(|c| 1.0 / (1.0 + (-method.slope * first(c)).exp())).collect();
    let sure = |of: &dyn Fn(f32) -> f32| -> Vec<&Vec<f32>> {
        method.sure_cells(&p, of).iter().map(|&cell| &cells[cell]).collect()
    };
    let equal: Vec<_> = sure(&|p| p).iter().map(|&cell| (cell, 1.0)).collect();
    let front = unit(sum(&[(&front, 1.0), (&unit(sum(&equal)), 1.0)]));
    let kept = |cell: usize| {
        (cell / method.grid).is_multiple_of(2) && (cell % method.grid).is_multiple_of(2)
    };
    let banks: Vec<_> = examples.iter().map(|of| (columns(of.bank), &of.shares[0])).collect();
    let keys: Vec<(&Vec<f32>, f32)> = banks
        .iter()
        .flat_map(|(cells, shares)| cells.iter().zip(*shares).enumerate())
        .filter(|(cell, (_, share))| kept(*cell) && **share > 0.0)
        .map(|(_, (cell, share))| (cell, *share))
        .collect();
    let own: Vec<_> = sure(&|p| 1.0 - p).iter().map(|&cell| (cell, 1.0)).collect();
    let attend = |cell: &Vec<f32>, keys: &[(&Vec<f32>, f32)]| {
        let weighted: Vec<_> = keys
            .iter()
            .map(|&(key, area)| (key, area * (dot(cell, key) / method.temperature).exp()))
            .collect();
        unit(sum(&weighted))
    };
    let scores: Vec<f32> = cells
        .iter()
        .map(|cell| {
            let (support, own) = (attend(cell, &keys), attend(cell, &own));
            dot(&front, cell) - dot(&unit(sum(&[(&support, 1.0), (&own, 1.0)])), cell)
        })
        .collect();
    let mut now = scores.clone();
    for _ in 0..DIFFUSION_STEPS {
        let next = cells.iter().zip(&scores).map(|(cell, score)| {
            let like = |other: &Vec<f32>| (dot(cell, other) / method.temperature).exp();
            let total: f32 = cells.iter().map(like).sum();
            let spread: f32 = cells.iter().zip(&now).map(|(c, now)| like(c) * now).sum();
            spread / total * method.diffusion + score * (1.0 - method.diffusion)
        });
        now = next.collect();
    }
    now.iter().map(|score| score * SCALE).collect()
}

#[test]
fn products_of_cells_give_what_the_vectors_give() {
    let method = SelfSupport { grid: 6, least: 3, ..SelfSupport::default() };
    let mut mask = Mask::filled(6, 6, 0);
    mask.pixels.chunks_exact_mut(6).for_each(|line| line[..2].fill(1));
    let (first, second, query) = (bank(6, 2, 0.1), bank(6, 3, 0.2), bank(6, 4, 0.4));
    let example = |bank| SupportExample { bank, shares: method.shares(&mask, 2) };
    let examples = [example(&first), example(&second)];
    let fast = method.scores(&examples, &query, [6, 6]);
    let slow = written_out(&method, &examples, &query);
    for (fast, slow) in fast.plane(1).iter().zip(&slow) {
        assert!((fast - slow).abs() < 1e-3, "{fast} {slow}");
    }
}
