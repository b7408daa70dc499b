//! How answers to `GET` travel: not at all if the caller has them already (RFC 9110, 13), and compressed if the caller
//! reads gzip.
//!
//! Promises: a text that has no tag of its own gets one made of its bytes, so that a `GET` of it can be conditional.
//! Answers to other methods are never compressed, because tokens and secrets are in them: the length of a compressed
//! text tells how much of it repeats what a caller wrote into it. No answer to a `GET` holds a secret that lets
//! somebody in. Files are sent as they are.

use std::{io::Write, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use poem::{
    Endpoint, Request, Response, Result,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

use crate::{
    app::AppError,
    http::{
        problem::{self, Refusal},
        request::{
            etag::{Conditions, Reading},
            header_field::HeaderList,
        },
    },
};

/// The shortest answer that is compressed, in bytes: a shorter one fits into one packet.
const WORTH_IT: usize = 1_200;

/// Tags an answer, and sends no more of it than the caller needs.
pub async fn spare<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    // The body of an answer to `HEAD` is gone already, so no tag can be made of it.
    let is_read = request.method() == Method::GET;
    let is_gzip_read = reads_gzip(request.headers());
    let condition = HeaderList::read(&request, "If-None-Match");
    let response = problem::answer_of(next, request).await;
    let is_whole_text = response.status() == StatusCode::OK && is_text(response.headers());
    if !is_read || !is_whole_text || response.headers().contains_key(header::ETAG) {
        return Ok(response);
    }
    // A fault of the condition is named only where nothing else is wrong with the request (RFC 9110, 13.2.1).
    let conditions = Conditions::read(&HeaderList(None), &condition?)?;
    let (mut parts, body) = response.into_parts();
    let bytes =
        body.into_bytes().await.map_err(|_| Refusal::from(AppError::Corrupt("an answer broke off".to_owned())))?;
    let tag = URL_SAFE_NO_PAD.encode(&digest(&SHA256, &bytes).as_ref()[..12]);
    // A weak tag, because the same tag stands for the compressed bytes too.
    let etag = HeaderValue::try_from(format!("W/\"{tag}\"")).expect("base64 is plain text");
    parts.headers.insert(header::ETAG, etag);
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if conditions.reading(&tag) == Reading::Unchanged {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        return Ok(Response::from_parts(parts, ().into()));
    }
    if !is_gzip_read || bytes.len() < WORTH_IT {
        return Ok(Response::from_parts(parts, bytes.into()));
    }
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(Response::from_parts(parts, gzip(&bytes).into()))
}

fn gzip(bytes: &Bytes) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all bytes")
}

/// Whether an answer is a text, which may be tagged and compressed; files and tiles are sent as they are.
fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default();
    media_type.starts_with("text/") || media_type.ends_with("json")
}

/// Whether a client reads gzip (RFC 9110, 12.5.3): it names `gzip` or `*`, and not with the weight 0.
fn reads_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = listed.flat_map(|list| list.split(',')).map(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().to_ascii_lowercase();
        let weight = weight.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        (name.trim(), weight.is_none_or(|weight| weight > 0.0))
    });
    let named: Vec<_> = codings.collect();
    let of = |wanted: &str| named.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, wanted)| *wanted);
    of("gzip").or_else(|| of("*")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use poem::{EndpointExt, endpoint::make_sync};

    use super::*;

    #[tokio::test]
    async fn only_answers_to_get_are_compressed() {
        let long = "the same again, ".repeat(WORTH_IT);
        let endpoint = make_sync(move |_| Response::builder().content_type("application/json").body(long.clone()));
        let endpoint = endpoint.around(spare);
        for (method, is_compressed) in [(Method::GET, true), (Method::POST, false), (Method::PUT, false)] {
            let request = Request::builder().method(method.clone()).header(header::ACCEPT_ENCODING, "gzip").finish();
            let response = endpoint.call(request).await.expect("an answer");
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), is_compressed, "{method}");
            assert_eq!(response.headers().contains_key(header::ETAG), is_compressed, "{method}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_read_it() {
        let reads = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            reads_gzip(&headers)
        };
        for yes in ["gzip", "GZIP", "br, gzip;q=0.5", "deflate , gzip", "*", "br;q=1, *;q=0.1"] {
            assert!(reads(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip;q=0.0, *", "gzip;Q=0", "*;q=0", "identity"] {
            assert!(!reads(no), "{no}");
        }
        assert!(!reads_gzip(&HeaderMap::new()));
    }
}
