//! Cells of CSV files that no spreadsheet takes for a formula (OWASP, CSV injection).
//!
//! A text that begins like a formula gets an apostrophe in front. Spreadsheets skip invisible characters, and some read
//! full-width signs as plain ones; an import may also drop a quote and uncover the sign behind it. So the first
//! character decides that is visible and not a quote. Nothing is lost: a reader removes one apostrophe if the rest of
//! the cell begins like a formula, and has every text as it was.

use std::borrow::Cow;

use domain::text::is_seen;

/// The signs that begin a formula: the plain signs; their full-width, small, superscript and subscript forms, which
/// NFKC makes plain; and the mathematical minus.
const SIGNS: &str = "=+-@\u{FF1D}\u{FF0B}\u{FF0D}\u{FF20}\u{FE66}\u{FE62}\u{FE63}\u{FE6B}\u{207C}\u{207A}\u{207B}\u{208C}\u{208A}\u{208B}\u{2212}";
const QUOTES: &str = "'\"\u{FF07}\u{FF02}";

/// The text of a cell, with an apostrophe in front if a spreadsheet would take the text for a formula.
pub fn guarded(cell: &str) -> Cow<'_, str> {
    if is_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

/// The text whose cell [`guarded`] has made.
pub fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

fn is_formula(cell: &str) -> bool {
    let shown = cell.trim_start_matches(|c| QUOTES.contains(c));
    let parting = shown.starts_with(['\t', '\r', '\n']);
    parting || cell.chars().find(|c| is_seen(*c) && !QUOTES.contains(*c)).is_some_and(|c| SIGNS.contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_begins_like_a_formula_is_guarded() {
        for formula in [
            "=1+1",
            "+49",
            "-1+1",
            "@SUM(A1)",
            " =1+1",
            "\u{A0}=1+1",
            "\u{3000}@x",
            "\u{200B}=1+1",
            "\u{FEFF}=1",
            "\u{202E}=1",
            "\u{FF1D}1+1",
            "\u{FF0B}1",
            "\u{FF0D}1",
            "\u{FF20}x",
            "\u{FE66}1",
            "\u{2212}1",
            "\t1",
            "\r1",
            "\n1",
            " \t=1",
            "\"=1+1\"",
            "'=1",
            "\u{301}=1",
            "' \"\u{AD}=1",
        ] {
            assert_eq!(guarded(formula), format!("'{formula}"), "{formula:?}");
        }
        for text in [
            "",
            " ",
            "a=1",
            "1-1",
            "'",
            "\"",
            "'a",
            "Ó Súilleabháin",
            "2025-10-25T00:00:00Z",
            "[-1]",
            "{\"a\":\"=1\"}",
            "(-1)",
        ] {
            assert_eq!(guarded(text), text, "{text:?}");
        }
    }

    fn cells() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec!["'", "\"", "=", "+", "-", "@", " ", "\t", "\u{200B}", "\u{FF1D}", "a", "\u{A0}"])
                .prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_guard_comes_off_without_loss(cell in cells()) {
            let guarded = guarded(&cell);
            prop_assert_eq!(unguarded(&guarded), &cell);
            prop_assert!(guarded.starts_with('\'') || !is_formula(&cell));
        }
    }
}
