//! Reads an initramfs image the way the kernel unpacks it, to prove what a generated image holds.
//!
//! An image is a row of segments: plain newc cpio archives and compressed streams of such archives, with zero bytes
//! between them (Linux 6.12 `init/initramfs.c`, `Documentation/driver-api/early-userspace/buffer-format.rst`).
//! Nothing is held of the unpacked image but names, modes, sizes and the few files the caller asks for.

mod cpio;
mod decoder;
mod error;
mod format;
mod image;
mod limits;
mod lz4;
mod modules;
pub mod newc;
mod path;
mod push;
mod segments;
mod stream;
mod tree;
mod zstd;

pub use error::{Fault, ImageError};
pub use format::Format;
pub use image::{EntryKind, ImageEntry, InitramfsImage, Segment};
pub use limits::Limits;
pub use segments::read_image;
