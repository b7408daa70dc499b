//! Groups of operations, as the OpenAPI document has them.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Codes, registration, login, refresh and logout.
    SignIn,
    /// The caller's own account.
    Account,
    /// Purposes, notices and decisions.
    Consent,
    /// Confirmed work days.
    WorkDays,
    /// Records of any kind.
    Records,
    /// Evaluations without an account, of which nothing is kept.
    Guests,
    /// The rights of the data subject: overview, export, import, deletion, restriction, objection, retention.
    Privacy,
    /// Who did what with the caller's data.
    Audit,
    /// Published statistics, without a sign-in.
    Statistics,
    /// The tree over the log: checkpoints, tiles and proofs, without a sign-in.
    Log,
    /// The compliance desk: deadlines, alerts, openings, the list of events, breaches, and the documents that the law
    /// asks for.
    Compliance,
    /// The state of the service, for staff.
    Admin,
    /// The service itself.
    Service,
}
