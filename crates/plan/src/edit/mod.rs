//! Lossless readers and editors of configuration files. Each edit changes the bytes that it must and no others.

pub mod cmdline;
pub mod modprobe;
pub mod shell;
