//! Tables for people: columns as wide as their widest cell, three blanks between them, as kubectl prints them.

/// Lays rows out, the heading first; the last column is not filled up.
pub fn table<const COLUMNS: usize>(heading: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(heading.get(column).map(|cell| cell.len())).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let line = |cells: [&str; COLUMNS]| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("   ").trim_end())
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|column| row.get(column).map_or("", String::as_str))));
    std::iter::once(line(heading)).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["a".to_owned(), "größer".to_owned(), "z".to_owned()],
            ["longer".to_owned(), String::new(), String::new()],
        ];
        assert_eq!(table(["NAME", "X", "LAST"], &rows), "NAME     X        LAST\na        größer   z\nlonger\n");
    }
}
