//! A network's parameters as a list of vectors, so that methods can step, mix and sample them.

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::prelude::*;

use crate::nn::dual::Dual;

/// One parameter, flattened.
#[derive(Debug, Clone)]
pub struct FlatWeight {
    /// Which parameter it is.
    pub id: ParamId,
    /// Its shape, for gradients.
    pub shape: Vec<usize>,
    /// Its values, `[elements]`; tracked if the parameter is.
    pub value: Tensor<1>,
}

/// The parameters of a network in the order in which it uses them.
#[derive(Debug, Clone, Default)]
pub struct FlatWeights(pub Vec<FlatWeight>);

impl FlatWeights {
    /// Appends a parameter.
    pub fn push<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let shape = value.dims().to_vec();
        let value = value.reshape([shape.iter().product::<usize>()]);
        self.0.push(FlatWeight { id: parameter.id, shape, value });
    }

    /// Their values.
    pub fn values(&self) -> Vec<Tensor<1>> {
        self.0.iter().map(|weight| weight.value.clone()).collect()
    }

    /// Their values as duals without tangents.
    pub fn duals(&self) -> Vec<Dual<1>> {
        self.values().into_iter().map(Dual::from).collect()
    }

    /// Gradients (without autodiff) for the optimiser, one for each parameter in order.
    pub fn gradients(&self, gradients: Vec<Tensor<1>>) -> GradientsParams {
        let mut all = GradientsParams::new();
        for (weight, gradient) in self.0.iter().zip(gradients) {
            match *weight.shape.as_slice() {
                [a] => all.register(weight.id, gradient.reshape([a])),
                [a, b] => all.register(weight.id, gradient.reshape([a, b])),
                [a, b, c] => all.register(weight.id, gradient.reshape([a, b, c])),
                [a, b, c, d] => all.register(weight.id, gradient.reshape([a, b, c, d])),
                _ => unreachable!("parameters have one to four axes"),
            }
        }
        all
    }
}

/// Reads parameters in order.
#[derive(Debug)]
pub struct Cursor<'a>(std::slice::Iter<'a, Dual<1>>);

impl<'a> Cursor<'a> {
    /// From the first.
    pub fn new(weights: &'a [Dual<1>]) -> Self {
        Self(weights.iter())
    }

    /// The next, in its shape.
    ///
    /// # Panics
    /// If there is none, or it has another number of elements: network and list do not belong
    /// together.
    pub fn take<const D: usize>(&mut self, shape: [usize; D]) -> Dual<D> {
        match self.0.next() {
            Some(weight) => weight.clone().reshape(shape),
            None => panic!("the network has more parameters than it was given"),
        }
    }
}

/// Fresh leaves to differentiate by, on the autodiff side.
pub fn leaves(values: &[Tensor<1>]) -> Vec<Tensor<1>> {
    values.iter().map(|value| Tensor::from_inner(plain(value.clone())).require_grad()).collect()
}

/// The tensor without autodiff.
pub fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.is_autodiff() { tensor.inner() } else { tensor }
}

/// The tensor on the autodiff side, as a constant.
pub fn constant<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(plain(tensor))
}

/// A copy that shares nothing with its original. `clone` alone would share the running statistics of
/// batch normalisations.
pub fn deep_copy<M: Module>(module: &M) -> M {
    module.clone().valid().train()
}
