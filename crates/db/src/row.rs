//! Rows that are read by name.

use tokio_postgres::Row;

/// What is read from one row; derived.
///
/// ```
/// # use db::FromRow;
/// #[derive(FromRow)]
/// struct Newest {
///     sequence: i64,
///     #[row(sql = "payload::text")]
///     payload: String,
/// }
/// const SQL: &str = db::sql!("-- newest\nSELECT ", Newest::COLUMNS, " FROM log.events");
/// assert_eq!(SQL, "-- newest\nSELECT sequence, payload::text AS payload FROM log.events");
/// ```
pub trait FromRow: Sized {
    /// The columns, as a statement selects them.
    const COLUMNS: &'static str;

    /// Reads a row that has [`FromRow::COLUMNS`]. Panics where one is missing or has another type, because then the statement is
    /// wrong and not the data.
    fn from_row(row: &Row) -> Self;

    /// Reads all rows.
    fn from_rows(rows: &[Row]) -> Vec<Self> {
        rows.iter().map(Self::from_row).collect()
    }
}
