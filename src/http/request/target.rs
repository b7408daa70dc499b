//! Checks a request's target: parameters of path and query are texts, and each parameter of the query stands there once
//! and keeps the schema that the document states. What a path leads to is asked after the sign-in.
//!
//! Promises: only parameters that are UTF-8 without control characters reach an operation. PostgreSQL stores no U+0000,
//! and a reader that replaces bytes that it can't decode would look for something else than what was asked for.
//! Refuses other bytes in a path (404, because nothing has such a name) and in a query, by the parameter's name: bytes
//! that are not UTF-8 and a name that stands there twice (400, because two readers may take two different values), and
//! control characters, names that the operation does not know, and values that break the schema (422, all at once, as
//! in bodies).

use std::sync::Arc;

use domain::{Fault, json};
use poem::{Endpoint, IntoResponse, Request, Response, Result, http::Uri};

use crate::{
    app::AppError,
    http::{
        problem::Refusal,
        request::contract::{Operation, Path},
    },
};

/// The most parameters of a query, so that it stays cheap to compare each with all others. No operation has a third of
/// them.
const MOST_PAIRS: usize = 32;

/// Lets a request pass if its target can be read.
pub async fn check<E: Endpoint>(next: Arc<E>, request: Request) -> Result<Response> {
    if let Some(path) = request.data::<Arc<Path>>() {
        read(path, request.method().as_str(), request.uri())?;
    }
    next.call(request).await.map(IntoResponse::into_response)
}

/// Reads a target, and refuses it for its faults. A path without an operation has none, because nothing reads its
/// parameters.
fn read(path: &Path, method: &str, uri: &Uri) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    let operation = path.operation(method);
    for (_, segment) in path.parameters(uri.path()) {
        let is_plain = |text: String| !text.chars().any(char::is_control);
        if !String::from_utf8(decode(segment, false)).is_ok_and(is_plain) {
            return Err(AppError::NotFound("resource").into());
        }
    }
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    if pairs.clone().nth(MOST_PAIRS).is_some() {
        return Err(Refusal::unreadable("query", "has too many parameters"));
    }
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, true);
        let shown = json::plain(&String::from_utf8_lossy(&name));
        if seen.contains(&name) {
            return Err(Refusal::unreadable(&shown, "must stand there once"));
        }
        seen.push(name.clone());
        let pair = text(&shown, name, &mut faults)?.zip(text(&shown, decode(value, true), &mut faults)?);
        if let Some((operation, (name, value))) = operation.zip(pair) {
            faults.extend(operation.query_faults(&name, &shown, &value));
        }
    }
    let required = operation.into_iter().flat_map(Operation::required);
    let absent = required.filter(|name| seen.iter().all(|seen| seen != name.as_bytes()));
    faults.extend(absent.map(|name| Fault::new(name, "is required")));
    if faults.is_empty() { Ok(()) } else { Err(AppError::Invalid(faults).into()) }
}

/// The text of a parameter; `None` if it holds a control character, which is noted as a fault.
fn text(name: &str, bytes: Vec<u8>, faults: &mut Vec<Fault>) -> Result<Option<String>, Refusal> {
    let text = String::from_utf8(bytes).map_err(|_| Refusal::unreadable(name, "must be UTF-8"))?;
    if !text.chars().any(char::is_control) {
        return Ok(Some(text));
    }
    if faults.iter().all(|fault| fault.field != name) {
        faults.push(Fault::new(name, "must not hold control characters"));
    }
    Ok(None)
}

/// The bytes that a percent-encoded text stands for; in a query a plus is a blank. A percent sign without two digits
/// stands for itself, as it does for the framework that reads the text later.
fn decode(text: &str, plus_is_blank: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', ..) if plus_is_blank => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use poem::http::StatusCode;

    use super::*;
    use crate::http::request::contract::Contract;

    fn status(target: &str) -> Option<StatusCode> {
        let [get, head] = ["GET", "HEAD"].map(|method| status_of(method, target));
        assert_eq!(get, head, "a HEAD is answered by the GET: {target}");
        get
    }

    fn status_of(method: &str, target: &str) -> Option<StatusCode> {
        let uri: Uri = target.parse().expect("a target");
        let document = serde_json::from_str(&crate::http::document()).expect("JSON");
        let path = Contract::of(&document).path(uri.path())?;
        read(&path, method, &uri).err().map(|refusal| refusal.into_response().status())
    }

    fn many(parameters: usize) -> String {
        (0..parameters).map(|number| format!("p{number}=1")).collect::<Vec<_>>().join("&")
    }

    #[test]
    fn texts_are_decoded_as_those_do_who_read_them_after_us() {
        for (text, plus_is_blank, expected) in [
            ("a%20b+c", true, &b"a b c"[..]),
            ("a%20b+c", false, b"a b+c"),
            ("%00%ff%C3%a9", true, b"\0\xff\xc3\xa9"),
            ("100%", true, b"100%"),
            ("%zz%4", true, b"%zz%4"),
            ("%%41", true, b"%A"),
        ] {
            assert_eq!(decode(text, plus_is_blank), expected, "{text}");
        }
    }

    #[test]
    fn a_target_is_text_and_says_each_thing_once() {
        let (unreadable, wrong) = (Some(StatusCode::BAD_REQUEST), Some(StatusCode::UNPROCESSABLE_ENTITY));
        let missing = Some(StatusCode::NOT_FOUND);
        for (target, expected) in [
            ("/v1/analytics/by-hospital?hospital_id=%00", wrong),
            ("/v1/analytics/by-hospital?hospital_id=a%0Ab", wrong),
            ("/v1/analytics/by-hospital?hospital_id=%ff", unreadable),
            ("/v1/analytics/by-hospital?hospital_id=%ED%A0%80", unreadable),
            ("/v1/analytics/by-hospital?hospital_id=a&hospital_id=a", unreadable),
            ("/v1/analytics/by-hospital?hospital_id=a&hospital%5Fid=b", unreadable),
            ("/v1/analytics/by-hospital?%00=a", wrong),
            ("/v1/records/%00", missing),
            ("/v1/log/consistency", wrong),
            ("/v1/log/consistency?from=3", None),
            ("/v1/records/%FF", missing),
            ("/v1/records/kinds?a=1&b=1", wrong),
            ("/v1/analytics/by-hospital?hospital_id=%C3%A9+%F0%9F%98%80", None),
            ("/v1/analytics/by-state?format=xml&state=XX&suppressed=1", wrong),
            ("/v1/analytics/by-state?format=csv&state=BY&suppressed=true", None),
            ("/v1/work-events/me?limit=0", wrong),
            ("/v1/work-events/me?limit=1001", wrong),
            ("/v1/work-events/me?limit=10.5", wrong),
            ("/v1/work-events/me?limit=1e3&from=2026-03-02", None),
            ("/v1/work-events/me?from=2026-02-30", wrong),
            ("/v1/nothing?a=%00&a=%ff", None),
            (&format!("/v1/records/kinds?{}", many(MOST_PAIRS)), wrong),
            (&format!("/v1/records/kinds?{}", many(MOST_PAIRS + 1)), unreadable),
        ] {
            assert_eq!(status(target), expected, "{target}");
        }
    }
}
