//! Every type of problem, each with a page at its address, `/problems/{name}`. The types with which rules refuse stand
//! beside the rules (`Described::CONFLICTS`); the others stand here.

use domain::{ProblemType, aggregates::AGGREGATES};

/// A type of problem with its HTTP status.
#[derive(Clone, Copy)]
pub struct ProblemKind {
    pub status: u16,
    pub kind: ProblemType,
}

macro_rules! kinds {
    ($($constant:ident = $status:literal $name:literal $title:literal $advice:literal;)+) => {
        $(pub const $constant: ProblemKind =
            ProblemKind { status: $status, kind: ProblemType { name: $name, title: $title, advice: $advice } };)+

        const OWN: &[ProblemKind] = &[$($constant),+];
    };
}

kinds! {
    MALFORMED = 400 "malformed" "The request is malformed"
        "The body is not JSON, or a part of the request can't be read. `detail` or `errors` names the place. The same \
         request will be refused again.";
    SIGNED_OUT = 401 "signed-out" "Nobody is signed in, or no longer"
        "The access token is missing, wrong or too old, or its session ended. Refresh it, or sign in again.";
    ERASED = 401 "erased" "The account was erased"
        "The token was good, and the person whom it names was erased, on the day that the certificate names and `detail` \
         repeats. Nothing of them is left that could be shown.";
    CODE_REFUSED = 401 "code-refused" "The code is wrong, used, or too old"
        "A code works once and for ten minutes. Type it as the letter says, or ask for another: POST /v1/auth/code.";
    REFRESH_REFUSED = 401 "refresh-refused" "The refresh token is unknown, used, or too old"
        "A refresh token works once. If an older one is shown again, the session ends, because it may be stolen. Sign in \
         again.";
    FORBIDDEN = 403 "forbidden" "This needs another role"
        "The operation is for people, or for guests, or for the compliance desk, or for auditors, and the caller is not one \
         of them.";
    SIGN_IN_NEEDED = 403 "sign-in-needed" "Guests can't have records of this kind evaluated"
        "Some kinds of records are evaluated for guests, and nothing of them is kept. For all others, sign in.";
    CONSENT_NEEDED = 403 "consent-needed" "Consent is needed"
        "The person has not consented to the purpose that `purpose` names, or the consent no longer counts. See \
         PUT /v1/consents/{purpose}.";
    SUSPENDED = 403 "suspended" "The account is suspended for a while"
        "A rule found a suspicious pattern. `Retry-After` says for how long. Reading, exporting, withdrawing, objecting, \
         restricting, cancelling a deletion and signing out stay possible.";
    MISSING = 404 "missing" "There is no such thing"
        "It does not exist, or it is not the caller's; the answer does not tell which.";
    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "This resource does not know the method"
        "The header field `Allow` lists the methods that it knows.";
    TOO_SLOW = 408 "too-slow" "The body took too long to arrive"
        "The connection is closed. Send the request again.";
    RESTRICTED = 409 "restricted" "Processing of your data is restricted"
        "The person restricted processing (GDPR Art. 18): data is stored, and nothing else is done with it. Lift the \
         restriction first: PUT /v1/privacy/restriction.";
    HELD = 409 "held" "A legal hold stands"
        "The controller has to keep the data for a time (GDPR Art. 17(3)). GET /v1/privacy/restriction says why and until \
         when.";
    IMPORT_RUNNING = 409 "import-running" "Another import of yours is running"
        "A person's imports run one at a time. Wait until the other has been answered.";
    EXPORT_WAITING = 409 "export-waiting" "Another export is waiting or being written"
        "A person's exports are written one at a time. Wait for the other, or cancel it.";
    IN_FLIGHT = 409 "in-flight" "A request with this Idempotency-Key is being worked on"
        "The first request with the key has not been answered yet. Send the same request again in a moment.";
    NOT_COVERED_YET = 409 "not-covered-yet" "No published checkpoint covers it yet; ask again in a few seconds"
        "An event is proved under a published checkpoint, and the newest one is older than this event.";
    CHANGED = 412 "changed" "It was changed since it was read"
        "The version is not one that `If-Match` or `If-None-Match` allows. Read it again, and decide again.";
    TOO_LARGE = 413 "too-large" "The body is too large"
        "A body has at most 256 KiB, an import more. The connection is closed.";
    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "The operation takes no body of this media type"
        "`Content-Type` is missing or says something else than application/json. A PATCH takes \
        application/merge-patch+json too, an import application/octet-stream or application/zip.";
    OUTSIDE = 416 "outside" "The file does not have these bytes"
        "`Range` asks for bytes behind the end of the file; `Content-Range` says how many it has.";
    INVALID_INPUT = 422 "invalid-input" "Fields of the request are wrong"
        "`errors` names each field or parameter with what is wrong. Nothing was changed.";
    KEY_REUSED = 422 "key-reused" "The Idempotency-Key was used with another body"
        "For 24 hours a key belongs to one request. Use another key for another request.";
    LIMITED = 429 "limited" "Too many requests"
        "`Retry-After` says how many seconds to wait.";
    FAILED = 500 "failed" "A fault of ours"
        "The cause is in the server's own log, under the id in `X-Request-Id`.";
    UNAVAILABLE = 503 "unavailable" "The service can't answer now"
        "The database can't be reached, or the server is not ready. `Retry-After` says when another try makes sense.";
    BUSY = 503 "busy" "The service is busy; the same request may succeed in a moment"
        "Something that the request needs is in use by others, or it took too long. Nothing was changed.";
    STORAGE_FULL = 503 "storage-full" "The service's storage is full; its operator must make room"
        "Reads are refused too, because each is recorded. Nothing was changed.";
    OUT_OF_ORDER = 503 "out-of-order" "The service's database is out of order; its operator must mend it"
        "The database lacks files or accepts no writes. Nothing was changed.";
}

/// The problem of a rule's conflict.
pub const fn of_rule(kind: ProblemType) -> ProblemKind {
    ProblemKind { status: 409, kind }
}

/// All types, in the order of their names.
pub fn all() -> Vec<ProblemKind> {
    let of_rules = AGGREGATES.iter().flat_map(|aggregate| aggregate.conflicts).copied().map(of_rule);
    let mut all: Vec<ProblemKind> = OWN.iter().copied().chain(of_rules).collect();
    all.sort_by_key(|it| it.kind.name);
    all
}

/// The type with this name.
pub fn named(name: &str) -> Option<ProblemKind> {
    all().into_iter().find(|it| it.kind.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_type_has_a_name_of_its_own_and_says_what_it_means() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|it| it.kind.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.len() > 40);
        for ProblemKind { kind, .. } in all {
            let plain = kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            // The texts stand in HTML as they are.
            assert!(![kind.title, kind.advice].concat().contains(['<', '&']), "{}", kind.name);
            assert!(plain && !kind.title.is_empty() && kind.advice.ends_with('.'), "{}", kind.name);
        }
    }
}
