//! The list of formats.

use domain::rights::export::ExportFormat;

use crate::export::{contents::Format, csv, json};

pub fn format_of(format: ExportFormat) -> Box<dyn Format> {
    match format {
        ExportFormat::Json => Box::new(json::Json::new()),
        ExportFormat::Csv => Box::new(csv::Archive::new()),
    }
}
