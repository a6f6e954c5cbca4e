//! Labels in the formats people have them.
