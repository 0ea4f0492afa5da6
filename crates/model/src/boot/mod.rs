//! Generated boot loader files, read to prove what the next boot will do.



