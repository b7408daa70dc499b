//! Downloads: which part of a file a client asks for (RFC 9110, sections 13 and 14), and answers that are streams.

use std::{io, ops::Range};

use domain::rights::export::ExportFormat;
use futures_util::stream::BoxStream;
use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse, ResponseContent,
    payload::Payload,
    registry::{MetaSchema, MetaSchemaRef},
};

use crate::{
    app::rights::download::ExportFile,
    http::{
        problem::Refusal,
        request::{
            etag::{Conditions, Reading, Tag},
            header_field::HeaderText,
        },
    },
};

/// What the header fields of a request ask for.
pub struct Wishes {
    range: Option<String>,
    /// The condition on `range`: a tag, or `Some(None)` for a value that no file of ours matches.
    if_range: Option<Option<Tag>>,
    conditions: Conditions,
}

/// What the header fields mean for a file.
#[derive(Debug, PartialEq, Eq)]
pub enum RangeAnswer {
    /// The file is not one that the caller demands.
    Failed,
    /// The caller has the file already.
    Unchanged,
    /// The caller asks for the whole file.
    Whole,
    /// The caller asks for these bytes.
    Part(Range<u64>),
    /// The caller asks for bytes that the file does not have.
    Outside,
}

impl Wishes {
    /// Reads `If-Range`; refuses a value that looks like a tag and is none.
    pub fn read(range: HeaderText, if_range: &HeaderText, conditions: Conditions) -> Result<Self, Refusal> {
        let if_range = if_range.0.as_deref().map(str::trim);
        let tag = if_range.map(Tag::parse);
        // RFC 9110, 13.1.5: any other value is a date, and our files have no date.
        if tag == Some(None) && if_range.is_some_and(|text| text.is_empty() || text.contains('"')) {
            return Err(Refusal::unreadable("If-Range", "must be one tag in quotes, or a date"));
        }
        Ok(Self { range: range.0, if_range: tag, conditions })
    }

    /// What is asked for of a file with this tag and size, in the order of RFC 9110, 13.2.2.
    pub fn ask(&self, etag: &str, size: u64) -> RangeAnswer {
        match self.conditions.reading(etag) {
            Reading::Failed => return RangeAnswer::Failed,
            Reading::Unchanged => return RangeAnswer::Unchanged,
            Reading::Shown => {}
        }
        // A date or a weak tag never matches.
        let counts = |tag: &Option<Tag>| tag.as_ref().is_some_and(|tag| tag.is_strongly(etag));
        let counts = self.if_range.as_ref().is_none_or(counts);
        match self.range.as_deref().filter(|_| counts).and_then(one_range) {
            None => RangeAnswer::Whole,
            Some((Some(first), _)) if first >= size => RangeAnswer::Outside,
            Some((Some(first), last)) => {
                RangeAnswer::Part(first..last.map_or(size, |last| last.saturating_add(1).min(size)))
            }
            Some((None, None | Some(0))) => RangeAnswer::Outside,
            Some((None, Some(_))) if size == 0 => RangeAnswer::Outside,
            Some((None, Some(count))) => RangeAnswer::Part(size.saturating_sub(count)..size),
        }
    }
}

/// The first and the last byte of a range; without a first byte, the second number says how many bytes from the end.
/// `None` if the text is not one range of bytes.
fn one_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok().map(Some),
        _ => None,
    };
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if last < first => None,
        range => Some(range),
    }
}

/// The bytes of a file, which are opened while they are sent.
type FileStream = BoxStream<'static, io::Result<Vec<u8>>>;

/// An export as JSON.
pub struct JsonFile(FileStream);

/// An export as a zip of tables.
pub struct ZipFile(FileStream);

/// A part of an export, which by itself is no document of any format.
pub struct FilePart(FileStream);

/// An export in its format.
#[derive(ResponseContent)]
pub enum FileContent {
    Json(JsonFile),
    Zip(ZipFile),
}

impl Payload for JsonFile {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")))
    }
}

impl Payload for ZipFile {
    const CONTENT_TYPE: &'static str = "application/zip";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")))
    }
}

impl Payload for FilePart {
    const CONTENT_TYPE: &'static str = "application/octet-stream";

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")))
    }
}

impl IntoResponse for FilePart {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(poem::Body::from_bytes_stream(self.0))
    }
}

impl IntoResponse for JsonFile {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(poem::Body::from_bytes_stream(self.0))
    }
}

impl IntoResponse for ZipFile {
    fn into_response(self) -> Response {
        Response::builder().content_type(Self::CONTENT_TYPE).body(poem::Body::from_bytes_stream(self.0))
    }
}

/// The answer to a download.
#[derive(ApiResponse)]
pub enum Download {
    /// The whole file, in its format.
    #[oai(status = 200)]
    Whole(
        FileContent,
        /// The file's tag.
        #[oai(header = "ETag")]
        String,
        /// How many bytes follow.
        #[oai(header = "Content-Length")]
        u64,
        /// The name under which to save the file.
        #[oai(header = "Content-Disposition")]
        String,
        /// `bytes`: ranges of bytes can be asked for.
        #[oai(header = "Accept-Ranges")]
        String,
    ),
    /// The range that was asked for.
    #[oai(status = 206)]
    Part(
        FilePart,
        /// The file's tag.
        #[oai(header = "ETag")]
        String,
        /// How many bytes follow.
        #[oai(header = "Content-Length")]
        u64,
        /// The name under which to save the file.
        #[oai(header = "Content-Disposition")]
        String,
        /// Which bytes follow, and how many the file has.
        #[oai(header = "Content-Range")]
        String,
    ),
    /// The caller has the file already.
    #[oai(status = 304)]
    Unchanged(
        /// The file's tag.
        #[oai(header = "ETag")]
        String,
    ),
}

impl Download {
    /// The file, or a part of it.
    pub fn of(file: &ExportFile, span: Option<Range<u64>>, stream: FileStream) -> Self {
        let (tag, name) = (tag(file), format!("attachment; filename=\"{}\"", file.name));
        if let Some(span) = span {
            let range = format!("bytes {}-{}/{}", span.start, span.end - 1, file.size);
            return Self::Part(FilePart(stream), tag, span.end - span.start, name, range);
        }
        let body = match file.format {
            ExportFormat::Json => FileContent::Json(JsonFile(stream)),
            ExportFormat::Csv => FileContent::Zip(ZipFile(stream)),
        };
        Self::Whole(body, tag, file.size, name, "bytes".to_owned())
    }

    /// The answer that the caller has the file already.
    pub fn unchanged(file: &ExportFile) -> Self {
        Self::Unchanged(tag(file))
    }
}

fn tag(file: &ExportFile) -> String {
    format!("\"{}\"", file.etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::header_field::HeaderList;

    /// The wishes of a request with these fields: `Range`, `If-Range`, `If-Match`, `If-None-Match`.
    fn wishes(fields: [Option<&str>; 4]) -> Result<Wishes, Refusal> {
        let [range, if_range, if_match, if_none_match] = fields.map(|text| text.map(str::to_owned));
        let conditions = Conditions::read(&HeaderList(if_match), &HeaderList(if_none_match))?;
        Wishes::read(HeaderText(range), &HeaderText(if_range), conditions)
    }

    fn asked(fields: [Option<&str>; 4], size: u64) -> RangeAnswer {
        wishes(fields).unwrap_or_else(|_| panic!("{fields:?} is refused")).ask("t", size)
    }

    fn ask(range: &str) -> RangeAnswer {
        asked([Some(range), None, None, None], 100)
    }

    #[test]
    fn one_range_is_taken_at_its_word_and_what_is_none_means_the_whole() {
        assert_eq!(ask("bytes=0-0"), RangeAnswer::Part(0..1));
        assert_eq!(ask("bytes=10-19"), RangeAnswer::Part(10..20));
        assert_eq!(ask("bytes=90-"), RangeAnswer::Part(90..100));
        assert_eq!(ask("bytes=90-1000"), RangeAnswer::Part(90..100));
        assert_eq!(ask("bytes=-10"), RangeAnswer::Part(90..100));
        assert_eq!(ask("bytes=-1000"), RangeAnswer::Part(0..100));
        assert_eq!(ask("bytes=0-18446744073709551615"), RangeAnswer::Part(0..100));
        for outside in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(ask(outside), RangeAnswer::Outside, "{outside}");
        }
        for whole in ["bytes=9-8", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=+1-2", "", "bytes=1--2"]
        {
            assert_eq!(ask(whole), RangeAnswer::Whole, "{whole}");
        }
        assert_eq!(asked([Some("bytes=-5"), None, None, None], 0), RangeAnswer::Outside);
    }

    #[test]
    fn tags_decide_what_counts() {
        let asked =
            |if_range, if_match, if_none_match| asked([Some("bytes=0-9"), if_range, if_match, if_none_match], 100);
        assert_eq!(asked(Some("\"t\""), None, None), RangeAnswer::Part(0..10));
        for other in ["\"u\"", "W/\"t\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asked(Some(other), None, None), RangeAnswer::Whole, "{other}");
        }
        for same in ["\"t\"", "W/\"t\"", "\"a\", \"t\"", "*"] {
            assert_eq!(asked(None, None, Some(same)), RangeAnswer::Unchanged, "{same}");
        }
        assert_eq!(asked(None, None, Some("\"a\", \"b\"")), RangeAnswer::Part(0..10));
        assert_eq!(asked(None, Some("*"), None), RangeAnswer::Part(0..10));
        for other in ["\"u\"", "W/\"t\""] {
            assert_eq!(asked(None, Some(other), Some("\"t\"")), RangeAnswer::Failed, "{other}");
        }
        for wrong in ["", "\"t", "\"t\", \"u\"", "t\""] {
            assert!(wishes([None, Some(wrong), None, None]).is_err(), "{wrong}");
        }
    }
}
