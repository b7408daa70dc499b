//! The steps of a sequence, in the words in which a sequence that failed is printed.

use domain::rights::consent::Purpose;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Anna,
    Ben,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A person asks for something with the newest access token of their session.
    Ask(Who, Ask),
    /// The same with an `Idempotency-Key`, of which each person has a few.
    AskOnce(Who, Ask, u8),
    /// A member of the compliance desk looks at the overview and at the open requests.
    StaffLooksAtTheDesk,
    /// A member of staff lists work days as if they were a person.
    StaffListsDays,
    /// A member of the compliance desk opens a person's data for a reason, and reads their days.
    StaffOpens(Who),
    /// The operator places a legal hold for so many hours.
    PlaceHold(Who, u64),
    LiftHold(Who),
    /// A guest gets a token.
    GuestArrives,
    GuestAsks(Evaluation),
    /// So many hours pass.
    LetPass(u64),
    /// The server plans the daily work and does all that is due.
    RunJobs,
}

/// What a person asks for. Days are numbered; the times of a day are actual minutes. A range of days includes both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Gives consent (true), or withdraws it.
    Consent(Purpose, bool),
    /// Objects (true), or takes the objection back.
    Object(Purpose, bool),
    Submit {
        day: u8,
        minutes: u16,
        by: Route,
        on: Condition,
    },
    SubmitBatch(Vec<(u8, u16)>),
    /// A batch whose last day has a fault.
    SubmitWrong(Wrong, Vec<(u8, u16)>),
    /// A word for the wordbook, and how often it was reviewed.
    SubmitWord(u8, u8),
    ListDays(Option<(u8, u8)>),
    /// Reads the day of this person.
    GetDay(Who, u8),
    RemoveDay(Who, u8, Condition),
    RemoveAllDays,
    /// Asks for a file of everything, or of a range of days.
    Export(Option<(u8, u8)>),
    /// About the export that is so many behind the newest.
    CancelExport(u8),
    /// Downloads this person's export that is so many behind the newest.
    Download(Who, u8),
    /// Asks to delete the whole account, or a range of days.
    Delete(Option<(u8, u8)>),
    /// Confirms with the token of this person's request that is so many behind the newest, and with the right phrase or a
    /// wrong one.
    Confirm(Who, u8, bool),
    CancelDeletion(Who, u8),
    Restrict(bool),
    /// Sets for how many days work days are kept; `None`: as long as the account.
    Keep(Option<u32>),
    /// Exchanges the newest refresh token.
    Refresh,
    /// Exchanges it twice at once, as if the first answer had got lost.
    RefreshTwice,
    /// Shows the refresh token before the newest after half a minute.
    ShowUsedRefreshToken,
    SignOut,
    /// Signs in with a mailed code.
    SignIn,
    SignInWithAWrongCode,
    /// Lists work days with the access token of a session that has ended.
    UseAnEndedSession,
    /// Looks at the overview of the compliance desk.
    LookAtTheDesk,
}

/// By which operation a day is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /v1/work-events/daily`
    Daily,
    /// `PUT /v1/records/work_day`
    Record,
}

/// What a change demands of the stored version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Nothing,
    /// `If-Match` with the newest tag.
    Newest,
    /// `If-Match` with a tag that the record had before, or never had.
    Older,
    /// `If-None-Match: *`
    Absent,
}

/// What is wrong with the last day of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    InTheFuture,
    TooLong,
    Repeated,
}

/// What a guest has evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Screening,
    /// A screening that lacks most fields.
    Incomplete,
    /// A kind of record that is not for guests.
    WorkDay,
}

impl Who {
    pub const BOTH: [Self; 2] = [Self::Anna, Self::Ben];

    pub fn other(self) -> Self {
        match self {
            Self::Anna => Self::Ben,
            Self::Ben => Self::Anna,
        }
    }
}

impl Ask {
    /// The operation, if it takes an `Idempotency-Key`.
    pub fn operation(&self) -> Option<&'static str> {
        Some(match self {
            Self::Submit { by: Route::Daily, .. } => "work_day_submit",
            Self::Submit { by: Route::Record, .. } | Self::SubmitWord(..) => "record_submit",
            Self::SubmitBatch(_) => "work_day_submit_batch",
            Self::Export(_) => "export_request",
            Self::Delete(_) => "deletion_request",
            Self::Confirm(..) => "deletion_confirm",
            _ => return None,
        })
    }

    /// Whether it is asked with an access token.
    pub fn needs_session(&self) -> bool {
        let without =
            [Self::Refresh, Self::RefreshTwice, Self::ShowUsedRefreshToken, Self::SignIn, Self::SignInWithAWrongCode];
        !without.contains(self)
    }
}
