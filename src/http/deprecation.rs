//! Forms of the API that are on their way out. `docs/versions.md` says how long one lives.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use poem_openapi::auth::{Bearer, BearerAuthorization};

use crate::http::problem;

/// A form that clients should leave, and the days from which it is deprecated and gone.
pub struct Deprecated {
    since: NaiveDate,
    until: NaiveDate,
}

/// The paths without `/v1`, which answer with a redirect.
pub const BARE_PATHS: Deprecated = Deprecated { since: day(2026, 12, 1), until: day(2027, 12, 1) };

/// A guest's token as a bearer token. `Guest-Token` came instead, because clients that are generated could not tell it
/// from an access token.
pub const GUEST_AS_BEARER: Deprecated = Deprecated { since: day(2026, 12, 1), until: day(2027, 12, 1) };

const GUEST_TOKEN: HeaderName = HeaderName::from_static("guest-token");

const fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a day")
}

impl Deprecated {
    /// Adds the header fields `Deprecation` (RFC 9745) and `Sunset` (RFC 8594).
    pub fn tell(&self, headers: &mut HeaderMap) {
        let midnight = |day: NaiveDate| -> DateTime<Utc> { day.and_time(NaiveTime::MIN).and_utc() };
        let text = |text: String| HeaderValue::try_from(text).expect("a date is plain text");
        headers.insert("deprecation", text(format!("@{}", midnight(self.since).timestamp())));
        headers.insert("sunset", text(midnight(self.until).format("%a, %d %b %Y %T GMT").to_string()));
    }

    /// The same, with a link to the address that comes instead.
    pub fn tell_successor(&self, successor: &str, headers: &mut HeaderMap) {
        self.tell(headers);
        // An address may hold letters beyond ASCII, which a header field takes as they are.
        let link = HeaderValue::try_from(format!("<{successor}>; rel=\"successor-version\""));
        headers.insert(header::LINK, link.expect("a target has no control characters"));
    }
}

/// Takes a guest's bearer token as a `Guest-Token`.
pub async fn take_guest_bearer<E: Endpoint>(next: Arc<E>, mut request: Request) -> Result<Response> {
    let is_guests = request.uri().path().starts_with("/v1/guests/");
    let old = if is_guests && !request.headers().contains_key(GUEST_TOKEN) {
        Bearer::from_request(&request).ok()
    } else {
        None
    };
    let Some(token) = old.and_then(|Bearer { token }| HeaderValue::try_from(token).ok()) else {
        return next.call(request).await.map(IntoResponse::into_response);
    };
    request.headers_mut().insert(GUEST_TOKEN, token);
    let mut response = problem::answer_of(next, request).await;
    GUEST_AS_BEARER.tell(response.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_forms_of_their_fields() {
        let mut headers = HeaderMap::new();
        BARE_PATHS.tell_successor("/v1/auth/me", &mut headers);
        assert_eq!(headers["deprecation"], "@1796083200");
        assert_eq!(headers["sunset"], "Wed, 01 Dec 2027 00:00:00 GMT");
        assert_eq!(headers["link"], "</v1/auth/me>; rel=\"successor-version\"");
        BARE_PATHS.tell_successor("/v1/auth/é", &mut headers);
        assert_eq!(headers["link"].as_bytes(), "</v1/auth/é>; rel=\"successor-version\"".as_bytes());
        let page = include_str!("../../docs/versions.md");
        for (form, Deprecated { since, until }) in [("without `/v1`", BARE_PATHS), ("guest's token", GUEST_AS_BEARER)] {
            let line = page.lines().find(|line| line.starts_with('|') && line.contains(form)).unwrap_or_default();
            assert!(line.ends_with(&format!("| {since} | {until} |")), "docs/versions.md: {form} {line}");
        }
    }
}
