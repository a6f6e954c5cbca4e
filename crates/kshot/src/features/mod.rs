//! What a frozen encoder and classical filters say of a picture: working size, tiles, maps, vectors.

pub mod embed;
pub mod extract;
pub mod filter_bank;
pub mod intensity;
pub mod look;
pub mod score_map;
pub mod tile;
