//! How an export shows one thing: a record, a decision, an entry of the log.

use chrono::{DateTime, SecondsFormat, Utc};
use context::UserId;
use domain::{
    Choice,
    log::access::STATS_CONSIDERED,
    records::record::RecordEvent,
    rights::consent::{ConsentEvent, NOTICES},
};
use event_log::Event;
use projections::rights::export::ExportedEvent;
use serde_json::{Value, json};
use vault::SubjectKeys;

use crate::app::{AppError, records::opened::OpenRecord, statistics::considered::owners_trail};

/// A time in RFC 3339, to the microsecond.
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A time in RFC 3339 to the second, the form of requirements 332 to 335.
pub fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A record, with its body as it is stored.
pub fn record(record: &OpenRecord) -> Value {
    json!({
        "id": record.record.to_string(), "submittedAt": time(record.submitted_at), "updatedAt": time(record.recorded_at),
        "version": record.version, "body": record.body.reveal(),
    })
}

/// The person's settings for learning words, in the form of requirement 334.
pub fn settings(record: &OpenRecord) -> Value {
    let body = record.body.reveal();
    json!({
        "autoNewReview": body["auto_new_review"], "dailyNewReviewCount": body["daily_new_review_count"],
        "updatedAt": seconds(record.recorded_at),
    })
}

/// A word, in the form of requirement 335.
pub fn word(record: &OpenRecord) -> Value {
    let body = record.body.reveal();
    json!({
        "id": record.record.to_string(), "wordId": body["word_id"], "lemma": body["lemma"],
        "partOfSpeech": body["part_of_speech"], "passiveReviewCount": body["passive_review_count"],
        "nextPassiveReviewTime": body["next_passive_review_time"], "activeReviewCount": body["active_review_count"],
        "nextActiveReviewTime": body["next_active_review_time"], "addedAt": seconds(record.submitted_at),
    })
}

/// A decision on a purpose, with the notice it was made on.
pub fn decision(event: &Event) -> Result<Value, AppError> {
    let decided: ConsentEvent = serde_json::from_str(&event.payload)
        .map_err(|_| AppError::Corrupt("a consent has another shape".to_owned()))?;
    let (decision, name) = (
        decided.decision(),
        match decided {
            ConsentEvent::Granted(_) => "granted",
            ConsentEvent::Withdrawn(_) => "withdrawn",
            ConsentEvent::Objected(_) => "objected",
            ConsentEvent::ObjectionLifted(_) => "objection_lifted",
            ConsentEvent::Lapsed(_) => "lapsed",
        },
    );
    let shown = |notice: &&domain::rights::consent::Notice| {
        notice.purpose == decision.purpose && notice.version == decision.notice_version
    };
    Ok(json!({
        "purpose": decision.purpose.as_str(), "decision": name, "noticeVersion": decision.notice_version,
        "noticeSha256": decision.notice_hash, "noticeText": NOTICES.iter().find(shown).map(|notice| notice.text),
        "decidedAt": time(event.recorded_at),
    }))
}

/// An entry of the log: what it said, where its record lives; where it came from, where that was sealed for this person.
pub fn event(user: UserId, keys: &SubjectKeys, exported: &ExportedEvent) -> Result<Value, AppError> {
    let ExportedEvent { event, entry } = exported;
    let data = match entry {
        Some(entry) => {
            let text = event.open(&keys.open_record(entry)?)?;
            let said: RecordEvent = serde_json::from_slice(text.reveal())
                .map_err(|_| AppError::Corrupt("a record has another shape".to_owned()))?;
            said.body().map(context::Personal::into_inner)
        }
        // The key of its record is destroyed, so nobody can read what the event said.
        None if event.aggregate_type == "record" => None,
        None => serde_json::from_str(&event.payload).ok(),
    };
    // Clients see a person only by the public id.
    let stream = event.aggregate_id.replace(&event.subject_id.to_string(), &user.to_string());
    let actor = event.actor().ok_or_else(|| AppError::Corrupt("an event does not say who acted".to_owned()))?;
    // The trail of a staff member's act is sealed for that member, so it does not open here.
    let trail = if event.event_type == STATS_CONSIDERED {
        Some(owners_trail(event, keys))
    } else {
        event.open_trail(keys).ok().flatten()
    };
    let (address, agent) = trail.as_ref().map(|trail| (trail.address.reveal(), trail.agent.reveal())).unzip();
    let details = trail.as_ref().and_then(|trail| trail.details.as_ref()).map(context::Personal::reveal);
    Ok(json!({
        "eventId": event.event_id.to_string(), "type": event.event_type, "version": event.event_version,
        "recordedAt": time(event.recorded_at), "streamType": event.aggregate_type, "streamId": stream,
        "sequence": event.sequence, "kind": event.kind, "actor": actor.role, "request": actor.request,
        "session": actor.session, "address": address, "agent": agent, "details": details, "data": data,
    }))
}
