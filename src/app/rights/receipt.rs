//! Consent receipts: what a person decided, on which text, about which data, signed so that anybody can check it
//! without us.
//!
//! The fields are those of ISO/IEC TS 27560:2023, in the terms of the W3C Data Privacy Vocabulary (DPV), as JSON-LD
//! with a Data Integrity proof. The receipt carries its own JSON-LD context, so that it means the same in twenty years.
//! No receipt is stored. Decision, time, text and the retention that the text promises follow from the event;
//! controller, kinds and recipients are those of the server that is asked. As long as these and the evidence key do not change, every receipt has the same
//! bytes.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use context::{Ctx, EventId, UserId};
use domain::{
    Choice, Kind,
    kinds::KINDS,
    rights::consent::{ConsentEvent, Decision, NOTICES, Notice},
};
use event_log::Event;
use projections::rights::consent::consent_event;
use serde_json::{Value, json};
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Work, newest_of},
        identity::known,
        rights::decision::{self, decided, recipients},
    },
    auth::accounts::user_get,
    mail::Letter,
};

/// What is done with submitted data, in the vocabulary's terms.
const METHODS: [&str; 4] = ["Collect", "Store", "Use", "Erase"];
/// The rights of a person who consented, each with the operation that exercises it.
const RIGHTS: [&str; 8] = [
    "access (GDPR Art. 15): GET /v1/privacy/data-overview",
    "rectification (Art. 16): submit a record again",
    "erasure (Art. 17): POST /v1/privacy/delete-data",
    "restriction of processing (Art. 18): PUT /v1/privacy/restriction",
    "data portability (Art. 20): POST /v1/privacy/export-data",
    "objection (Art. 21): PUT /v1/privacy/objections/{purpose}",
    "withdrawal of consent (Art. 7(3)): PUT /v1/consents/{purpose}",
    "a complaint to a supervisory authority (Art. 77)",
];

/// The notice that a decision was made on.
fn notice(decision: &Decision) -> Result<&'static Notice, AppError> {
    let same = |notice: &&Notice| notice.purpose == decision.purpose && notice.version == decision.notice_version;
    NOTICES.iter().find(same).ok_or_else(|| AppError::Corrupt("a consent names an unknown notice".to_owned()))
}

/// The meaning of each member and term. A term that no other vocabulary has is named as in the standard.
fn context() -> Value {
    let meanings = serde_json::from_str(include_str!("receipt.context.json")).expect("the context is JSON");
    Value::Array(vec![meanings, json!("https://w3id.org/security/data-integrity/v2")])
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The name of a decision in the vocabulary.
fn state(event: &ConsentEvent) -> &'static str {
    match event {
        ConsentEvent::Granted(_) => "ConsentGiven",
        ConsentEvent::Withdrawn(_) => "ConsentWithdrawn",
        ConsentEvent::Objected(_) => "ConsentRefused",
        ConsentEvent::ObjectionLifted(_) => "ConsentRequested",
        ConsentEvent::Lapsed(_) => "ConsentExpired",
    }
}

/// The signed receipt of a decision.
pub(crate) fn make(app: &App, event: &Event, user: UserId) -> Result<Value, AppError> {
    let decided = decided(event)?;
    let decision = decided.decision();
    let notice = notice(decision)?;
    let kinds: Vec<&&Kind> = KINDS.iter().filter(|kind| kind.purpose() == Some(decision.purpose)).collect();
    let health = decision.purpose.is_about_health();
    let information = |kind: &&&Kind| {
        json!({
            "piiType": kind.name(),
            "description": kind.title(),
            "piiOptional": true,
            "specialPiiCategory": if health { json!("pd:Health") } else { json!(false) },
        })
    };

    let information: Vec<Value> = kinds.iter().map(information).collect();
    // As the notice promised that the person consented to, whatever holds today.
    let retention = notice.retention_days();
    let name = decision.purpose.as_str();
    let mut receipt = json!({
        "@context": context(),
        "@type": "ConsentReceipt",
        "schemaVersion": "ISO/IEC TS 27560:2023",
        "receiptId": format!("urn:uuid:{}", event.event_id),
        "consentRecordId": format!("{user}/{name}"),
        "piiPrincipalId": user,
        "piiController": { "name": app.controller.name },
        "privacyNotice": {
            "id": format!("/v1/consents/{name}"),
            "version": decision.notice_version,
            "sha256": decision.notice_hash,
            "language": "en",
            "text": notice.text,
        },
        "purposes": [{
            "purpose": name,
            "description": decision::title(notice),
            // Health data needs explicit consent (Art. 9(2)(a)); all other data needs consent (Art. 6(1)(a)).
            "lawfulBasis": if health { "eu-gdpr:A9-2-a" } else { "eu-gdpr:A6-1-a" },
            "piiInformation": information,
            "collectionMethod": "submitted by the person",
            "processingMethods": METHODS,
            "storageLocations": app.controller.locations,
            "recipients": recipients(Some(decision.purpose)),
            "retentionPeriod": match retention {
                Some(days) => format!("P{days}D after the last change, or as the person sets it"),
                None => "as long as the account, or as the person sets it".to_owned(),
            },
            "withdrawalMethod": format!("PUT /v1/consents/{name} with granted false"),
            "privacyRights": RIGHTS,
        }],
        "consentEvents": [{
            "eventType": "ExplicitlyExpressedConsent",
            "eventState": state(&decided),
            "eventTime": time(event.recorded_at),
            "entity": if matches!(decided, ConsentEvent::Lapsed(_)) { "DataController" } else { "DataSubject" },
            "validity": "until it is withdrawn, or the notice changes",
        }],
    });
    for (name, value) in [("contact", &app.controller.contact), ("jurisdiction", &app.controller.jurisdiction)] {
        if let Some(value) = value {
            receipt["piiController"][name] = json!(value);
        }
    }
    Ok(vault::seal_document(app.vault.ring(), receipt, event.recorded_at)?)
}

/// Mails the receipt of a decision, in the transaction that makes the decision.
pub(crate) fn post(work: &Work<'_>, to: &str, event: &Event, user: UserId) -> Result<(), AppError> {
    let decided = decided(event)?;
    let granted = match decided {
        ConsentEvent::Granted(_) => true,
        ConsentEvent::Withdrawn(_) | ConsentEvent::Objected(_) => false,
        ConsentEvent::ObjectionLifted(_) | ConsentEvent::Lapsed(_) => return Ok(()),
    };
    let text = serde_json::to_string_pretty(&make(work.app, event, user)?).expect("a receipt can be written as JSON");
    work.post(&Letter::receipt(to, granted, decision::title(notice(decided.decision())?), &text))
}

/// The receipt of one of a person's decisions.
pub async fn get(app: &App, ctx: &Ctx, event: EventId) -> Result<(Value, Arc<SubjectKeys>), AppError> {
    let reads = || [consent_event(ctx.subject, event), user_get(ctx.subject)];
    let (standing, [rows, user]) = frame::query(app, Frame::right("receipt_get", ctx), reads).await?;
    let event = newest_of(&rows).ok_or(AppError::NotFound("receipt"))?;
    let user = known::user_id(app, ctx.subject, &user)?;
    Ok((make(app, &event, user)?, standing.keys))
}
