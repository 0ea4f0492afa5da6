//! `cede`: give PCI devices to virtual machines, and take them back.

fn main() {}
