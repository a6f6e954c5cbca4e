//! Reading pictures: any format, any depth, the right way up, under limits.
