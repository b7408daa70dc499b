//! Answers as CSV: the same columns as in JSON, in the order of the document.

use csv::{Terminator, WriterBuilder};
use poem_openapi::{
    registry::Registry,
    types::{ToJSON, Type},
};
use serde_json::Value;

use crate::{app::AppError, export::spreadsheet::guarded};

/// Writes rows; no cell begins in a way that a spreadsheet takes for a formula.
pub fn csv<T: Type + ToJSON>(rows: &[T], end_of_line: Terminator) -> Result<String, AppError> {
    write::<T>(rows, end_of_line).ok_or_else(|| AppError::Corrupt("a table can't be written".to_owned()))
}

fn write<T: Type + ToJSON>(rows: &[T], end_of_line: Terminator) -> Option<String> {
    let schema = Registry::new().create_fake_schema::<T>();
    let columns: Vec<&str> = schema.properties.iter().map(|(name, _)| *name).collect();
    let mut writer = WriterBuilder::new().terminator(end_of_line).from_writer(Vec::new());
    writer.write_record(&columns).ok()?;
    for row in rows {
        let row = row.to_json().unwrap_or_default();
        let cell = |name: &&str| match &row[*name] {
            Value::Null => String::new(),
            Value::String(text) => guarded(text).into_owned(),
            other => other.to_string(),
        };
        writer.write_record(columns.iter().map(cell)).ok()?;
    }
    String::from_utf8(writer.into_inner().ok()?).ok()
}
