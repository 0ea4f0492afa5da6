//! What to say of a host and what to change on it. Pure: no files, no clock, no environment, no printing.
