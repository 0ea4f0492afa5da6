//! Characters that never reach a terminal as they are.

/// True for what a terminal obeys, and for what makes text read otherwise than it is written: the explicit directions of Unicode (UAX #9, 2).
pub fn misleads(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
