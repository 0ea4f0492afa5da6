//! What is true of a host. Pure: no files, no clock, no environment, no printing.

pub mod boot;
pub mod initramfs_image;
