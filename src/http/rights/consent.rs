//! Consents: seeing the notices, giving and withdrawing consent, looking back. Called by anybody who is signed in, on
//! their own consents.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::EventId;
use domain::{
    Choice,
    rights::consent::{Notice, Purpose},
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};
use projections::rights::consent::ConsentRow;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        log::access,
        rights::{consent, decision::notice_hash, receipt},
    },
    http::{
        json_ld::JsonLd,
        problem::Refusal,
        request::{
            caller::SignedIn,
            cursor,
            input::{Body, Input},
            number::Whole,
        },
        tag::Tag,
        types::{OneOf, in_utc},
    },
};

/// A purpose, its current notice, and what the caller decided.
#[derive(Object)]
pub struct ConsentAnswer {
    /// The name of the purpose.
    purpose: OneOf<Purpose>,
    /// Whether consent is given on the current notice.
    granted: bool,
    /// Whether the caller objected to the purpose. As long as they do, no consent can be given.
    objected: bool,
    /// The version of the current notice.
    notice_version: String,
    /// SHA-256 of the current notice's text, in hexadecimal.
    notice_hash: String,
    /// The text of the current notice, in Markdown.
    notice_text: String,
    /// The version of the notice that the last decision was made on; absent if there was no decision.
    #[oai(skip_serializing_if_is_none)]
    decided_notice_version: Option<String>,
    /// When the last decision was made; absent if there was none.
    #[oai(skip_serializing_if_is_none, serialize_with = "in_utc")]
    decided_at: Option<DateTime<Utc>>,
}

/// All purposes.
#[derive(Object)]
pub struct ConsentsAnswer {
    /// One entry for each purpose.
    consents: Vec<ConsentAnswer>,
}

/// A decision on a purpose.
#[derive(Object)]
pub struct ConsentDecision {
    /// True to give consent, false to withdraw it.
    granted: bool,
    /// The version of the notice that was shown; if absent, the current one. An outdated version is refused.
    #[oai(skip_serializing_if_is_none)]
    notice_version: Option<String>,
}

/// One decision of the past.
#[derive(Object)]
pub struct PastDecision {
    /// The id of the decision's receipt: `GET /v1/consents/receipts/{receipt_id}`.
    receipt_id: Uuid,
    /// True if this decision gave consent.
    granted: bool,
    /// True if the person objected to the purpose.
    objected: bool,
    /// True if nobody decided: the notice had changed, so that the consent no longer counted, and the person was told.
    lapsed: bool,
    /// The version of the notice that the decision was made on.
    notice_version: String,
    /// SHA-256 of that notice's text, in hexadecimal.
    notice_hash: String,
    /// When the decision was made.
    #[oai(serialize_with = "in_utc")]
    decided_at: DateTime<Utc>,
}

/// A page of the decisions on a purpose.
#[derive(Object)]
pub struct ConsentHistory {
    /// The decisions, newest first.
    decisions: Vec<PastDecision>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl Input for ConsentDecision {}

/// A receipt.
#[derive(ApiResponse)]
pub enum ReceiptAnswer {
    /// The signed receipt.
    #[oai(status = 200)]
    Ok(
        JsonLd,
        /// The name under which to save the receipt.
        #[oai(header = "Content-Disposition")]
        String,
    ),
}

pub struct ConsentApi;

#[OpenApi(prefix_path = "/v1/consents", tag = "Tag::Consent")]
impl ConsentApi {
    /// See all consents
    ///
    /// Every purpose with its current notice and the caller's decision. No consent is given in advance.
    #[oai(path = "/", method = "get", operation_id = "consent_list")]
    async fn list(&self, app: Data<&Arc<App>>, caller: SignedIn) -> Result<Json<ConsentsAnswer>, Refusal> {
        Ok(Json(ConsentsAnswer { consents: consents(&app, &caller).await? }))
    }

    /// Decide on a purpose
    ///
    /// Gives consent, or withdraws it; withdrawing is as easy as giving. A decision that was made already changes
    /// nothing.
    #[oai(path = "/:purpose", method = "put", operation_id = "consent_decide")]
    async fn decide(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The name of the purpose.
        purpose: Path<String>,
        body: Body<ConsentDecision>,
    ) -> Result<Json<ConsentAnswer>, Refusal> {
        let purpose = known(&purpose.0)?;
        if body.0.granted {
            // Withdrawing is never counted, so that nobody can keep the person from it by using up the letters.
            caller.count_letter(&app).await?;
        }
        consent::decide(&app, caller.ctx(), purpose, body.0.granted, body.0.notice_version.as_deref()).await?;
        let all = consents(&app, &caller).await?;
        let one = all.into_iter().find(|consent| consent.purpose.0 == purpose);
        Ok(Json(one.ok_or(AppError::NotFound("purpose"))?))
    }

    /// Look back on a purpose
    ///
    /// Every decision that the caller made on the purpose, newest first.
    #[oai(path = "/:purpose/history", method = "get", operation_id = "consent_history")]
    async fn history(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The name of the purpose.
        purpose: Path<String>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many decisions at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<ConsentHistory>, Refusal> {
        let page = cursor::page(&cursor, &limit, 100)?;
        let (past, next, keys) = consent::history(&app, caller.ctx(), known(&purpose.0)?, &page).await?;
        access::note_read(&app, caller.ctx(), keys, "consent", past.len(), purpose.0).await?;
        let decisions = past
            .into_iter()
            .map(|decision| PastDecision {
                receipt_id: decision.event.0,
                granted: decision.granted,
                objected: decision.objected,
                lapsed: decision.lapsed,
                notice_version: decision.notice_version,
                notice_hash: decision.notice_hash,
                decided_at: decision.decided_at,
            })
            .collect();
        Ok(Json(ConsentHistory { decisions, next_cursor: next.map(cursor::make) }))
    }

    /// Get the receipt of a decision
    ///
    /// A signed JSON-LD document with the fields of ISO/IEC TS 27560, in the terms of the W3C Data Privacy Vocabulary;
    /// the public key is at `/.well-known/receipt-keys.json`.
    #[oai(path = "/receipts/:receipt_id", method = "get", operation_id = "receipt_get")]
    async fn receipt(
        &self,
        app: Data<&Arc<App>>,
        caller: SignedIn,
        /// The id of the receipt, as the history names it.
        receipt_id: Path<Uuid>,
    ) -> Result<ReceiptAnswer, Refusal> {
        let (receipt, keys) = receipt::get(&app, caller.ctx(), EventId(receipt_id.0)).await?;
        access::note_read(&app, caller.ctx(), keys, "receipt", 1, String::new()).await?;
        let name = format!("attachment; filename=\"consent-receipt-{}.jsonld\"", receipt_id.0);
        Ok(ReceiptAnswer::Ok(JsonLd(receipt), name))
    }
}

/// The purpose with this name.
pub(crate) fn known(name: &str) -> Result<Purpose, AppError> {
    Purpose::parse(name).ok_or(AppError::NotFound("purpose"))
}

async fn consents(app: &App, caller: &SignedIn) -> Result<Vec<ConsentAnswer>, AppError> {
    let (rows, keys) = consent::list(app, caller.ctx()).await?;
    access::note_read(app, caller.ctx(), keys, "consent", rows.len(), String::new()).await?;
    let answer = |purpose: Purpose| {
        let notice = Notice::current(purpose);
        let row = rows.iter().find(|row| row.purpose == purpose.as_str());
        ConsentAnswer {
            purpose: OneOf(purpose),
            granted: row.is_some_and(ConsentRow::counts_today),
            objected: row.is_some_and(|row| row.objected),
            notice_version: notice.version.to_owned(),
            notice_hash: notice_hash(notice).to_owned(),
            notice_text: notice.text.to_owned(),
            decided_notice_version: row.map(|row| row.notice_version.clone()),
            decided_at: row.map(|row| row.changed_at),
        }
    };
    Ok(Purpose::ALL.into_iter().map(answer).collect())
}
