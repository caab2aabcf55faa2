//! The bucket and the log of a partition.
