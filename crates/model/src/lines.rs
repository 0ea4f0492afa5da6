//! Cutting large tables into records.

/// The records between separators; tables of a megabyte are cut at the speed of the machine's widest instructions.
pub(crate) fn records(table: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(separator, table).chain(std::iter::once(table.len()));
    ends.map(move |end| {
        let record = table.get(start..end).unwrap_or_default();
        start = end + 1;
        record
    })
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn records_are_what_split_gives() {
        for table in ["", "\n", "a", "a\n", "a\n\nb", "\na\n"] {
            let expected: Vec<&[u8]> = table.as_bytes().split(|byte| *byte == b'\n').collect();
            assert_eq!(records(table.as_bytes(), b'\n').collect::<Vec<_>>(), expected, "{table:?}");
        }
    }
}
