//! Records of every kind that clients may submit: listing the kinds, and submitting, seeing and removing single
//! records. Called by a person on their own data.
//!
//! A body is any JSON object here. Only its kind decides what is wrong with it, so that a new kind is served without a
//! change in this file.

use std::{borrow::Cow, sync::Arc};

use chrono::{DateTime, NaiveDate, Utc};
use context::{Personal, RecordId};
use domain::{
    Kind,
    filter::Days,
    kinds::{KINDS, WORK_DAY, kind},
    rights::consent::Purpose,
};
use poem::web::Data;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        frame::Once,
        log::access,
        records::{
            list::{self, Records},
            opened::OpenRecord,
            record::{self, Batch, Change, Submission},
        },
    },
    http::{
        problem::Refusal,
        repeatable::Repeatable,
        request::{
            caller::Subject,
            cursor,
            etag::{Conditions, quoted, tag},
            header_field::{HeaderList, IdempotencyKey},
            input::{Body, Input, days},
            number::Whole,
        },
        tag::Tag,
        types::{OneOf, in_utc, one_value},
    },
};

/// The body of a record: a JSON object in the form of its kind.
#[derive(Clone, Debug, Default)]
pub struct RecordBody(pub domain::Body);

impl RecordBody {
    const NAME: &'static str = "RecordBody";
}

/// The path of a record.
pub(crate) fn address(kind: &str, record: Uuid) -> String {
    format!("/v1/records/{kind}/{record}")
}

impl Type for RecordBody {
    const IS_REQUIRED: bool = true;
    one_value!();

    fn name() -> Cow<'static, str> {
        Self::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(Self::NAME.to_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(Self::NAME.to_owned(), |_| MetaSchema {
            description: Some("What a record says: an object of its kind's form, of which `kind_list` shows a sample."),
            additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
            example: Some(WORK_DAY.example().into_inner()),
            ..MetaSchema::new("object")
        });
    }
}

impl ToJSON for RecordBody {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.reveal().clone())
    }
}

impl ParseFromJSON for RecordBody {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self(Personal::new(value.unwrap_or_default())))
    }
}

impl Input for RecordBody {}

/// A kind of record.
#[derive(Object)]
pub struct KindAnswer {
    /// The name of the kind, as it stands in the path.
    name: String,
    /// What a record of this kind is, in plain words.
    title: String,
    /// The purpose whose consent a submission needs; absent: it needs none.
    #[oai(skip_serializing_if_is_none)]
    purpose: Option<OneOf<Purpose>>,
    /// How many days a record is kept after its last change, if the person sets no other rule; absent: as long as the
    /// account.
    #[oai(skip_serializing_if_is_none)]
    retention_days: Option<u32>,
    /// Whether records of this kind have a date, by which they can be listed.
    dated: bool,
    /// The field by which a submission finds the record that it amends; absent if a person has only one record of this
    /// kind.
    #[oai(skip_serializing_if_is_none)]
    key_field: Option<String>,
    /// Whether a guest may have a record of this kind evaluated.
    for_guests: bool,
    /// An example of a body.
    sample: RecordBody,
}

/// All kinds that clients may submit.
#[derive(Object)]
pub struct KindsAnswer {
    /// One entry for each kind.
    kinds: Vec<KindAnswer>,
}

/// A stored record.
#[derive(Object)]
pub struct RecordAnswer {
    /// The record's own id.
    record_id: Uuid,
    /// The name of the record's kind.
    kind: String,
    /// When it was submitted first.
    #[oai(serialize_with = "in_utc")]
    submitted_at: DateTime<Utc>,
    /// When it was changed last.
    #[oai(serialize_with = "in_utc")]
    updated_at: DateTime<Utc>,
    /// The body as it is stored: times in UTC to the second, absent fields left out.
    body: RecordBody,
}

/// A page of records.
#[derive(Object)]
pub struct RecordsAnswer {
    /// The records, oldest first: by date, or by first submission if their kind has no dates.
    records: Vec<RecordAnswer>,
    /// The `cursor` that asks for the next page; absent on the last page.
    #[oai(skip_serializing_if_is_none)]
    next_cursor: Option<String>,
}

impl KindAnswer {
    fn of(kind: &Kind) -> Self {
        Self {
            name: kind.name().to_owned(),
            title: kind.title().to_owned(),
            purpose: kind.purpose().map(OneOf),
            retention_days: kind.retention_days(),
            dated: kind.is_dated(),
            key_field: Some(kind.key_field()).filter(|field| !field.is_empty()).map(str::to_owned),
            for_guests: kind.for_guests(),
            sample: RecordBody(kind.example()),
        }
    }
}

impl RecordAnswer {
    fn of(kind: &Kind, record: OpenRecord) -> Self {
        Self {
            record_id: record.record.0,
            kind: kind.name().to_owned(),
            submitted_at: record.submitted_at,
            updated_at: record.recorded_at,
            body: RecordBody(record.body),
        }
    }
}

/// The answer to a submission.
#[derive(ApiResponse)]
pub enum RecordSubmitted {
    /// The record existed already: it was amended, or it stays as it was.
    #[oai(status = 200)]
    Amended(
        Json<RecordAnswer>,
        /// The record's version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
    /// The record is new.
    #[oai(status = 201)]
    Created(
        Json<RecordAnswer>,
        /// The record's version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
        /// Where it is found.
        #[oai(header = "Location")]
        String,
    ),
}

/// One record, and its version.
#[derive(ApiResponse)]
pub enum RecordShown {
    /// The record.
    #[oai(status = 200)]
    Ok(
        Json<RecordAnswer>,
        /// The record's version, for `If-Match`.
        #[oai(header = "ETag")]
        String,
    ),
    /// The caller has this version already.
    #[oai(status = 304)]
    Unchanged(
        /// The record's version.
        #[oai(header = "ETag")]
        String,
    ),
}

/// The answer to a removal.
#[derive(ApiResponse)]
pub enum RecordRemoved {
    /// The record is gone, and its key destroyed.
    #[oai(status = 204)]
    Done,
}

pub struct RecordApi;

#[OpenApi(prefix_path = "/v1/records", tag = "Tag::Records")]
impl RecordApi {
    /// See the kinds
    ///
    /// Every kind of record that clients may submit, with a sample of its body. Says nothing about anybody.
    #[oai(path = "/kinds", method = "get", operation_id = "kind_list")]
    async fn kinds(&self) -> Result<Json<KindsAnswer>, Refusal> {
        let open = KINDS.iter().filter(|kind| kind.open_to_clients());
        Ok(Json(KindsAnswer { kinds: open.map(|kind| KindAnswer::of(kind)).collect() }))
    }

    /// Submit a record
    ///
    /// A second submission with the same key field amends the record; the same body again changes nothing. Needs
    /// consent to the purpose of the kind.
    #[oai(path = "/:kind", method = "put", operation_id = "record_submit")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn submit(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// The name of the kind.
        #[oai(name = "kind")]
        kind_name: Path<String>,
        /// Tags of versions, one of which the record must have, or `*` for any; otherwise nothing is changed and the
        /// answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the record must not have; with `*` a record can be created, but none is changed.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
        /// A key of the client's choice, 1 to 255 characters: for 24 hours, a repeated request with it gets the answer
        /// of the first.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: Body<RecordBody>,
    ) -> Result<Repeatable<RecordSubmitted>, Refusal> {
        let (kind, conditions) = (open_kind(&kind_name)?, Conditions::read(&if_match, &if_none_match)?);
        let body = kind.normal(body.0.0);
        let request = key.request(&(kind.name(), body.reveal(), &if_match.0, &if_none_match.0));
        let submissions = [Submission { body, expected: Some(conditions.expected()), within: None }];
        let batch = Batch {
            operation: "record_submit",
            kind,
            submissions: &submissions,
            today: caller.today(),
            faults: Vec::new(),
        };
        let Once { value: outcomes, replayed, .. } =
            record::submit(&app, caller.ctx(), &batch, request.as_ref()).await?;
        let outcome = outcomes.first().ok_or_else(|| AppError::Corrupt("a stored answer is empty".to_owned()))?;
        let [Submission { body, .. }] = submissions;
        let answer = Json(RecordAnswer {
            record_id: outcome.record.0,
            kind: kind.name().to_owned(),
            submitted_at: outcome.submitted_at,
            updated_at: outcome.recorded_at,
            body: RecordBody(body),
        });
        let etag = tag(outcome.record, outcome.version);
        let answer = match outcome.change {
            Change::Created => RecordSubmitted::Created(answer, etag, address(kind.name(), outcome.record.0)),
            Change::Amended | Change::Unchanged => RecordSubmitted::Amended(answer, etag),
        };
        Ok(Repeatable { answer, replayed })
    }

    /// See own records
    ///
    /// The caller's records of a kind. If the kind has dates, `from` and `to` choose the days, both included. Days are
    /// those of the time zone in the caller's work profile.
    #[oai(path = "/:kind", method = "get", operation_id = "record_list")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// The name of the kind.
        #[oai(name = "kind")]
        kind_name: Path<String>,
        /// The first day; absent: no bound.
        from: Query<Option<NaiveDate>>,
        /// The last day, included; absent: no bound.
        to: Query<Option<NaiveDate>>,
        /// The `next_cursor` of the page before; absent: the first page.
        cursor: Query<Option<String>>,
        /// How many records at most, 1 to 1000; if absent, 100.
        limit: Query<Option<Whole<1, 1000>>>,
    ) -> Result<Json<RecordsAnswer>, Refusal> {
        let kind = open_kind(&kind_name)?;
        let page = cursor::page(&cursor, &limit, 100)?;
        let (range, asked) = days(from.0, to.0)?;
        if range.is_some() && !kind.is_dated() {
            let named = if from.0.is_some() { "from" } else { "to" };
            return Err(AppError::parameter(named, "asks for days, and records of this kind have none").into());
        }
        let range = range.map(|(first, last)| Days { first, last, zone: caller.zone() });
        let Records { records, next, keys } =
            list::of_kind(&app, caller.ctx(), "record_list", kind, range, &page).await?;
        access::note_read(&app, caller.ctx(), keys, kind.name(), records.len(), asked).await?;
        let records = records.into_iter().map(|record| RecordAnswer::of(kind, record)).collect();
        Ok(Json(RecordsAnswer { records, next_cursor: next.map(cursor::make) }))
    }

    /// See a record
    ///
    /// One record of the caller's, as it is today.
    #[oai(path = "/:kind/:record_id", method = "get", operation_id = "record_get")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// The name of the kind.
        #[oai(name = "kind")]
        kind_name: Path<String>,
        /// The record's id.
        record_id: Path<Uuid>,
        /// Tags of versions, one of which the record must have, or `*` for any; otherwise the answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the caller has; if the record has one of them, the answer is 304 without a body.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
    ) -> Result<RecordShown, Refusal> {
        let (kind, conditions) = (open_kind(&kind_name)?, Conditions::read(&if_match, &if_none_match)?);
        let (record, keys) = record::get(&app, caller.ctx(), kind, RecordId(record_id.0)).await?;
        let version = record.version_name();
        let (unchanged, etag) = (conditions.has(&version)?, quoted(&version));
        let shown = usize::from(!unchanged);
        access::note_read(&app, caller.ctx(), keys, kind.name(), shown, record_id.0.to_string()).await?;
        if unchanged {
            return Ok(RecordShown::Unchanged(etag));
        }
        Ok(RecordShown::Ok(Json(RecordAnswer::of(kind, record)), etag))
    }

    /// Remove a record
    ///
    /// Destroys the record's key for good, so that nothing can read the record any more. A copy of the database that
    /// still holds the wrapped key becomes useless when the server's own key is rotated and its old version destroyed.
    #[oai(path = "/:kind/:record_id", method = "delete", operation_id = "record_remove")]
    async fn remove(
        &self,
        app: Data<&Arc<App>>,
        caller: Subject,
        /// The name of the kind.
        #[oai(name = "kind")]
        kind_name: Path<String>,
        /// The record's id.
        record_id: Path<Uuid>,
        /// Tags of versions, one of which the record must have, or `*` for any; otherwise nothing is removed and the
        /// answer is 412.
        #[oai(name = "If-Match")]
        if_match: HeaderList,
        /// Tags of versions that the record must not have.
        #[oai(name = "If-None-Match")]
        if_none_match: HeaderList,
    ) -> Result<RecordRemoved, Refusal> {
        let (kind, conditions) = (open_kind(&kind_name)?, Conditions::read(&if_match, &if_none_match)?);
        record::remove(&app, caller.ctx(), kind, RecordId(record_id.0), &conditions.expected()).await?;
        Ok(RecordRemoved::Done)
    }
}

/// The kind with this name; refuses a kind that clients may not submit.
fn open_kind(name: &str) -> Result<&'static Kind, AppError> {
    kind(name).filter(|kind| kind.open_to_clients()).ok_or(AppError::NotFound("kind"))
}
