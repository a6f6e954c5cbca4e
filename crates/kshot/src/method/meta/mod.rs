//! Meta-learning by inner loops: parameters that a few gradient steps adapt to a new task.

pub mod abml;
pub mod anil;
pub mod check;
pub mod classifier;
pub mod maml;
pub mod meta_sgd;
pub mod rates;
pub mod reptile;
pub mod second_order;
#[cfg(test)]
mod tiny;
