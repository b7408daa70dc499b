//! Columns whose values are a closed list, which a CHECK of the table holds.

use domain::Choice;

/// Reads the value of a column. Panics where it is none of the list, because then the table lacks its CHECK.
pub(crate) fn choice<C: Choice>(text: &str) -> C {
    C::parse(text).expect("the table allows no other value")
}

/// The same for a column that may be empty.
pub(crate) fn choice_if_any<C: Choice>(text: Option<&str>) -> Option<C> {
    text.map(choice)
}
