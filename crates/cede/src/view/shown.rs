//! What JSON has as text and the model as numbers.

use serde::{Serialize, Serializer};
use std::fmt::Display;

/// A value written as people read it, without a string made for it first.
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(pub T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
