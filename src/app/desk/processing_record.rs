//! The record of processing activities (GDPR Art. 30) and the draft of a data protection impact assessment (Art. 35).
//! They are made from what the server knows: kinds, purposes, notices, retention, and who is responsible. Both come as
//! JSON-LD in the terms of the Data Privacy Vocabulary (DPV 2) and as a page to read. What only the controller knows is
//! marked as open.

use domain::{
    Choice, Kind,
    kinds::KINDS,
    rights::consent::{Notice, Purpose},
};
use serde_json::{Value, json};

use crate::app::{
    App,
    rights::decision::{recipients, title},
};

/// Stands where the controller must fill something in.
const OPEN: &str = "to be completed by the controller";

/// The security measures of this server (Art. 32), each under its class of the vocabulary.
const MEASURES: [(&str, &str); 8] = [
    ("Encryption", "every personal value is sealed with one person's key before it reaches the database (AES-256-GCM)"),
    (
        "Pseudonymisation",
        "the database holds random ids and keyed hashes; the link to a person goes with the person's key",
    ),
    (
        "CryptographicKeyManagement",
        "to erase a person is to destroy the person's keys; copies under an older version of the key ring end with it",
    ),
    (
        "AccessControlMethod",
        "row-level security that trusts signed tickets only, and a filter by person in every query",
    ),
    (
        "RecordsOfActivities",
        "every command and every read is an event of an append-only log, in a signed Merkle tree that auditors verify",
    ),
    ("DataStoragePolicy", "retention by kind, in days, shortened by the person at will"),
    ("DifferentialPrivacy", "what is published is drawn once a quarter with exact noise, under one budget a person"),
    (
        "IncidentManagementProcedures",
        "rules raise alerts on suspicious patterns, and suspend the account that shows them",
    ),
];

/// The risks of the assessment: what may happen, what is done against it, and what risk remains.
const RISKS: [(&str, &str, &str); 6] = [
    (
        "somebody copies the database, a backup or a disk",
        "what is copied is sealed, pseudonymous, and useless without the key ring, which is kept apart",
        "sizes, times and counts of events beside a random id can be seen",
    ),
    (
        "somebody copies the key ring and the database together",
        "the ring is a file of mode 0600, locked with a passphrase where the operator gives one, and never in a backup of the log",
        "who holds both reads everything: the ring has to be guarded as the data itself",
    ),
    (
        "a member of staff reads what is none of their business",
        "an opening needs a reason, lasts a quarter of an hour, and is seen by the person; many raise an alert and suspend",
        "a plausible reason can be untrue: somebody has to read the trail",
    ),
    (
        "the operator or a database administrator changes the past",
        "the log is a signed Merkle tree; auditors verify it offline, witnesses cosign it",
        "what was never logged cannot be proved by it",
    ),
    (
        "an application asks for data of somebody else",
        "policies of the database and filters of the server both refuse; many attempts raise an alert and suspend",
        "a stolen token acts as its owner until it runs out",
    ),
    (
        "published statistics tell something about a person",
        "exact noise, thresholds and one budget a quarter bound what they can tell (see the privacy parameters)",
        "over many quarters a person's losses add up",
    ),
];

/// How sensitive a kind of data is (requirement R6.1).
pub fn sensitivity(kind: &Kind) -> &'static str {
    match kind.purpose() {
        Some(purpose) if purpose.is_about_health() => "special category: data concerning health (GDPR Art. 9)",
        None if !kind.open_to_clients() => "identifying",
        _ => "personal",
    }
}

fn legal_basis(purpose: Option<Purpose>) -> (&'static str, &'static str) {
    match purpose {
        Some(purpose) if purpose.is_about_health() => {
            ("dpv:ExplicitlyExpressedConsent", "explicit consent, GDPR Art. 6(1)(a) and 9(2)(a)")
        }
        Some(_) => ("dpv:Consent", "consent, GDPR Art. 6(1)(a)"),
        None => ("dpv:Contract", "performance of a contract, GDPR Art. 6(1)(b)"),
    }
}

/// The record of processing activities, as JSON-LD. The same server gives the same bytes.
pub fn make(app: &App) -> Value {
    let purposes = Purpose::ALL.map(Some).into_iter().chain([None]);
    let activities: Vec<Value> = purposes.map(activity).collect();
    let measures: Vec<Value> =
        MEASURES.iter().map(|(kind, text)| json!({ "@type": format!("dpv:{kind}"), "description": text })).collect();
    let controller = &app.controller;
    json!({
        "@context": {
            "@vocab": "https://w3id.org/dpv#",
            "dpv": "https://w3id.org/dpv#",
            "description": "http://purl.org/dc/terms/description",
            "title": "http://purl.org/dc/terms/title",
            "version": "https://schema.org/version",
            // The values of these members are terms, not texts.
            "hasDataSubject": { "@type": "@id" },
            "hasProcessing": { "@type": "@id" },
        },
        "@type": "dpv:DataProcessingRecord",
        "title": "Record of processing activities (GDPR Art. 30)",
        "hasDataController": {
            "@type": "dpv:DataController",
            "hasName": controller.name,
            "hasContact": controller.contact.as_deref().unwrap_or(OPEN),
            "hasJurisdiction": controller.jurisdiction.as_deref().unwrap_or(OPEN),
        },
        "hasDataProtectionOfficer": OPEN,
        "hasLocation": locations(&controller.locations),
        "hasThirdCountry": OPEN,
        "hasTechnicalOrganisationalMeasure": measures,
        "hasProcess": activities,
    })
}

/// One purpose: the data processed for it, the legal basis, the retention and the recipients. `None` is running the
/// account.
fn activity(purpose: Option<Purpose>) -> Value {
    let of_purpose = |kind: &&&Kind| match purpose {
        Some(Purpose::Statistics) => kind.name() == "work_day" || kind.name() == "work_profile",
        other => kind.purpose() == other,
    };
    let data: Vec<Value> = KINDS
        .iter()
        .filter(of_purpose)
        .map(|kind| {
            json!({
                "@type": "dpv:PersonalData",
                "hasIdentifier": kind.name(),
                "title": kind.title(),
                "hasSensitivityLevel": sensitivity(kind),
                "hasDuration": { "@type": "dpv:StorageDuration", "title": retention(kind) },
            })
        })
        .collect();
    let (basis, words) = legal_basis(purpose);
    let (name, heading) = match purpose {
        Some(purpose) => (purpose.as_str(), title(Notice::current(purpose))),
        None => ("account", "Running the account"),
    };
    let mut activity = json!({
        "@type": "dpv:Process",
        "@id": format!("#{name}"),
        "title": heading,
        "hasPurpose": name,
        "hasLegalBasis": { "@type": basis, "description": words },
        "hasPersonalData": data,
        "hasDataSubject": "dpv:User",
        "hasRecipient": recipients(purpose),
        "hasProcessing": ["dpv:Collect", "dpv:Store", "dpv:Use", "dpv:Erase"],
    });
    if let Some(purpose) = purpose {
        activity["hasNotice"] = json!({ "@type": "dpv:ConsentNotice", "version": Notice::current(purpose).version });
    }
    activity
}

/// The draft of an impact assessment, as JSON-LD.
pub fn impact_assessment(app: &App) -> Value {
    let health: Vec<&str> = Purpose::ALL.into_iter().filter(|it| it.is_about_health()).map(Choice::as_str).collect();
    let risks: Vec<Value> = RISKS
        .iter()
        .map(|(risk, measure, residual)| {
            json!({
                "@type": "dpv:Risk",
                "description": risk,
                "isMitigatedByMeasure": measure,
                "hasResidualRisk": residual,
                "hasLikelihood": OPEN,
                "hasSeverity": OPEN,
            })
        })
        .collect();
    let record = make(app);
    json!({
        "@context": record["@context"],
        "@type": "dpv:DPIA",
        "title": "Data protection impact assessment, draft (GDPR Art. 35)",
        "hasStatus": "draft",
        "hasDataController": record["hasDataController"],
        "hasJustification": {
            "description": "special categories of data on a large scale (Art. 35(3)(b))",
            "hasPurpose": health,
        },
        "hasProcess": record["hasProcess"],
        "hasNecessity": [
            "each purpose is consented to by itself; nothing is taken for it before, or after a withdrawal",
            "each kind of data has its own retention, which the person can shorten",
            "statistics are made of clamped means of one quarter, and of nobody's single days",
        ],
        "hasRight": "access, rectification, erasure, restriction, portability and objection are operations of the API",
        "hasRisk": risks,
        "hasTechnicalOrganisationalMeasure": record["hasTechnicalOrganisationalMeasure"],
        "hasOrganisationalMeasure": [
            consultation("ConsultationWithDataSubject", "Views of the data subjects (Art. 35(9))"),
            consultation("ConsultationWithDPO", "Advice of the data protection officer (Art. 35(2))"),
        ],
        "hasOutcome": OPEN,
    })
}

/// Where the data is stored.
fn locations(known: &[String]) -> Vec<Value> {
    let open = [OPEN.to_owned()];
    let known = if known.is_empty() { &open[..] } else { known };
    known.iter().map(|location| json!({ "@type": "dpv:StorageLocation", "title": location })).collect()
}

/// A view that the controller has to ask for before it decides.
fn consultation(kind: &str, title: &str) -> Value {
    json!({ "@type": format!("dpv:{kind}"), "title": title, "description": OPEN })
}

fn retention(kind: &Kind) -> String {
    match kind.retention_days() {
        Some(days) => format!("{days} days after the last change, or fewer where the person says so"),
        None => "as long as the account, or fewer days where the person says so".to_owned(),
    }
}

/// One of these documents as an HTML page: headings, and tables with the values below them.
pub fn page(document: &Value) -> String {
    let title = document["title"].as_str().unwrap_or_default();
    let mut body = String::new();
    section(document, 2, &mut body);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{0}</title>\n<style>{STYLE}</style></head>\n\
         <body>\n<main>\n<h1>{0}</h1>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#1d2733;background:#fff;margin:0}\
main{max-width:60rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.7rem}h2{font-size:1.25rem;margin-top:2rem;\
border-top:1px solid #d5dbe1;padding-top:1rem}h3{font-size:1.05rem}h4{font-size:1rem}dl{display:grid;grid-template-columns:14rem 1fr;\
gap:.25rem 1rem;margin:.5rem 0}dt{color:#55616e}dd{margin:0}ul{margin:.25rem 0}@media(max-width:40rem){dl{display:block}}";

/// The hash of the page's style, as a source for `Content-Security-Policy`.
pub fn style_source() -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash))
}

fn section(value: &Value, level: usize, body: &mut String) {
    let Some(object) = value.as_object() else { return };
    let fields = object.iter().filter(|(name, _)| !name.starts_with('@') && *name != "title");
    let (nested, plain): (Vec<_>, Vec<_>) = fields.partition(|(_, value)| {
        value.is_object() || value.as_array().is_some_and(|list| list.iter().any(Value::is_object))
    });
    if !plain.is_empty() {
        *body += "<dl>\n";
        for (name, value) in plain {
            *body += &format!("<dt>{}</dt><dd>{}</dd>\n", escaped(&words(name)), simple(value));
        }
        *body += "</dl>\n";
    }
    for (name, value) in nested {
        let tag = format!("h{}", level.min(4));
        *body += &format!("<{tag}>{}</{tag}>\n", escaped(&words(name)));
        let items = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
        for item in items {
            if let Some(title) = item["title"].as_str() {
                let tag = format!("h{}", (level + 1).min(4));
                *body += &format!("<{tag}>{}</{tag}>\n", escaped(title));
            }
            section(item, level + 2, body);
        }
    }
}

fn simple(value: &Value) -> String {
    match value {
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => {
            let items: String = list.iter().map(|item| format!("<li>{}</li>", simple(item))).collect();
            format!("<ul>{items}</ul>")
        }
        Value::String(text) => escaped(text.trim_start_matches("dpv:")),
        other => escaped(&other.to_string()),
    }
}

/// The name of a member in words: `hasDataController` becomes `Data controller`.
fn words(name: &str) -> String {
    let name = name.strip_prefix("has").filter(|rest| rest.starts_with(char::is_uppercase)).unwrap_or(name);
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words_and_text_is_escaped() {
        assert_eq!(words("hasDataController"), "Data controller");
        assert_eq!(words("decision"), "Decision");
        let page = page(&json!({ "title": "A <b>", "hasRisk": [{ "description": "x & y" }], "list": ["a", "b"] }));
        assert!(
            page.contains("<h1>A &lt;b&gt;</h1>") && page.contains("x &amp; y") && page.contains("<li>a</li>"),
            "{page}"
        );
    }

    #[test]
    fn every_kind_has_a_sensitivity() {
        let found: Vec<(&str, &str)> = KINDS.iter().map(|kind| (kind.name(), sensitivity(kind))).collect();
        assert!(found.contains(&("screening", "special category: data concerning health (GDPR Art. 9)")));
        assert!(found.contains(&("contact", "identifying")), "{found:?}");
    }
}
