//! Labels in the formats people have them.

pub mod boxes;
pub mod index;
pub mod labelme;
pub mod polygon;
