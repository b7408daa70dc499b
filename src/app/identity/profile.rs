//! The two records of which a person has one each: contact and work profile.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use context::Ctx;
use domain::{
    Kind,
    kinds::{CONTACT, Contact, Shape, WORK_DAY, WORK_PROFILE, WorkProfile},
};
use projections::{
    identity::account::account_get,
    records::{list::record_list, record::record_latest},
};
use vault::SubjectKeys;

use crate::app::{
    App, AppError,
    frame::{self, Frame, Standing},
    records::{
        opened::single,
        record::{self, Batch, Submission, Submitted},
        version::Expected,
    },
};

/// Everything that the account page shows.
pub struct Profile {
    /// When the account was made.
    pub registered_at: DateTime<Utc>,
    pub contact: Contact,
    /// The work profile and the version of its record, as conditions name it; `None` for staff.
    pub work: Option<(WorkProfile, String)>,
    /// When a work day was last submitted or changed; `None` if there is no work day.
    pub last_submission_at: Option<DateTime<Utc>>,
}

/// Reads the account, the contact and the work profile.
pub async fn get(app: &App, ctx: &Ctx) -> Result<(Profile, Arc<SubjectKeys>), AppError> {
    let single_of = |kind: &Kind| record_list(ctx.subject, kind.name());
    let last = || record_latest(ctx.subject, WORK_DAY.name());
    let reads = || [account_get(ctx.subject), single_of(CONTACT), single_of(WORK_PROFILE), last()];
    let frame = Frame::right("account_get", ctx).shared();
    let (Standing { keys, .. }, [account, contact, work, last]) = frame::query(app, frame, reads).await?;
    let registered_at = account.first().ok_or(AppError::NotFound("account"))?.get("registered_at");
    let (contact, _) = single::<Contact>(&keys, &contact)?.ok_or(AppError::NotFound("contact"))?;
    let work = single::<WorkProfile>(&keys, &work)?;
    Ok((Profile { registered_at, contact, work, last_submission_at: last[0].get("recorded_at") }, keys))
}

/// Corrects the work profile (GDPR Art. 16); refuses if its version is not an expected one.
pub async fn rectify(
    app: &App,
    ctx: &Ctx,
    work: &WorkProfile,
    expected: Expected,
    today: NaiveDate,
) -> Result<Submitted, AppError> {
    let submissions = [Submission { body: work.to_body(), expected: Some(expected), within: None }];
    let batch = Batch {
        operation: "account_rectify",
        kind: WORK_PROFILE,
        submissions: &submissions,
        today,
        faults: Vec::new(),
    };
    let mut outcomes = record::submit(app, ctx, &batch, None).await?.value;
    Ok(outcomes.remove(0))
}
