//! The public list of hospitals. A hospital that is added counts from the next quarter on; the log holds the hash of
//! each list.

use aws_lc_rs::digest;
use context::{Ctx, SubjectId};
use db::{FromRow, Gate};
use domain::{
    quarter::Quarter,
    statistics::hospital::{FixList, HospitalLists, Listing},
};
use event_log::cqrs_es::Aggregate;
use projections::{
    log::audit::stream_newest,
    statistics::{
        hospital::{Hospital, hospital_add, hospital_list},
        release::release_alone,
    },
};

use crate::app::{
    App, AppError, frame,
    statistics::loading::{self, of_rows},
};

/// The id of the stream that holds the lists.
const HOSPITALS: &str = "hospitals";

/// The result of adding hospitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// How many hospitals were not on the list before.
    pub count: usize,
    /// The first quarter whose tables have cells for them.
    pub from: Quarter,
}

/// Adds hospitals to the public list from the next quarter on, or for any quarter as long as the log knows nobody.
pub async fn add(app: &App, hospitals: &[String]) -> Result<Added, AppError> {
    let ctx = &loading::ctx(app);
    let today = ctx.now().date_naive();
    let is_first = loading::nobody_was_here(app).await?;
    let from = HospitalLists::counts_from(today, is_first);
    frame::system_work(app, &app.db.stats, "hospitals_add", ctx, move |work| async move {
        let known = stream_newest(SubjectId::NIL, HospitalLists::TYPE, HOSPITALS);
        let [_, newest, listed] = work.tx.flight([release_alone(), known, hospital_list()]).await?;
        let mut ids: Vec<String> = listed.iter().map(|row| Hospital::from_row(row).hospital_id).collect();
        let mut added: Vec<String> = hospitals.iter().filter(|id| !ids.contains(id)).cloned().collect();
        added.sort_unstable();
        added.dedup();
        if added.is_empty() {
            return Ok(Added { count: 0, from });
        }
        ids.extend(added.iter().cloned());
        ids.sort_unstable();
        let command = FixList { from, listing: listing_of(&ids), today, is_first };
        work.command::<HospitalLists>(HOSPITALS, &newest, command).await?;
        let count = added.len();
        work.queue(hospital_add(added, ctx.now(), from.first_day()));
        Ok(Added { count, from })
    })
    .await
}

/// The hospitals for which a quarter's tables have cells. Refuses a list that differs from the one on record.
pub(crate) async fn hospitals_of(app: &App, ctx: &Ctx, period: Quarter) -> Result<(Vec<String>, Listing), AppError> {
    let work = move |tx: db::Tx| async move {
        let known = stream_newest(SubjectId::NIL, HospitalLists::TYPE, HOSPITALS);
        let [newest, rows] = tx.finish([known, hospital_list()]).await?;
        let listed = rows.iter().map(Hospital::from_row).filter(|hospital| hospital.counts_in(period));
        let ids: Vec<String> = listed.map(|hospital| hospital.hospital_id).collect();
        let listing = listing_of(&ids);
        let lists = of_rows::<HospitalLists>(&newest)?;
        match lists.of(period) {
            Some(known) if *known != listing => Err(AppError::Corrupt(format!(
                "the list of hospitals for {period} is not the one that the log has on record"
            ))),
            _ => Ok((ids, listing)),
        }
    };
    app.db.stats.run_tx("hospital_list", ctx, Gate::snapshot(ctx), work).await
}

/// All lists on record.
pub async fn lists(app: &App) -> Result<HospitalLists, AppError> {
    let query = || stream_newest(SubjectId::NIL, HospitalLists::TYPE, HOSPITALS);
    let [rows] = frame::system_query(app, "hospital_lists", || [query()]).await?;
    of_rows(&rows)
}

/// The list in the form that the log holds: its length and hash. The ids must be in order.
fn listing_of(ids: &[String]) -> Listing {
    let mut context = digest::Context::new(&digest::SHA256);
    for id in ids {
        context.update(id.as_bytes());
        context.update(b"\n");
    }
    Listing { count: u32::try_from(ids.len()).unwrap_or(u32::MAX), sha256: hex::encode(context.finish()) }
}
