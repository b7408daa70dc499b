//! What the OpenAPI document states of requests is what the server enforces: every bound, pattern, choice and required
//! field of every body and query is broken once, and the refusal names the field.

use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    documented::{Documented, operations, resolved},
    operations::{Call, Stage, Who},
    steps::{Answer, fields},
};

/// A value that breaks a schema in one place, and the field that the refusal has to name.
type Breach = (Value, String);

/// The schema behind references and behind the choice between a value and `null`.
fn inner(schema: &'static Value) -> &'static Value {
    let schema = resolved(schema);
    let only = ["allOf", "anyOf"].into_iter().find_map(|word| schema[word].get(0).filter(|_| schema["type"].is_null()));
    only.map_or(schema, inner)
}

fn kind(schema: &Value) -> &str {
    schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default()
}

/// Values that break a schema by themselves. `good` keeps it.
fn bad_values(schema: &Value, good: &Value) -> Vec<Value> {
    let mut bad = vec![if kind(schema) == "object" { json!(7) } else { json!({}) }];
    let number = |word: &str| schema[word].as_f64();
    let count = |word: &str| schema[word].as_u64().and_then(|count| usize::try_from(count).ok());
    bad.extend(schema.get("enum").map(|_| json!("no_such_name")));
    bad.extend(number("maximum").map(|most| json!(most + 1.0)));
    bad.extend(number("minimum").map(|least| json!(least - 1.0)));
    bad.extend(count("maxLength").map(|most| json!("a".repeat(most + 1))));
    bad.extend(count("minLength").map(|least| json!("a".repeat(least - 1))));
    bad.extend(schema.get("pattern").map(|_| json!("\u{7}")));
    bad.extend(count("minItems").map(|_| json!([])));
    let entry = good.get(0);
    bad.extend(count("maxItems").zip(entry).map(|(most, entry)| json!(vec![entry; most + 1])));
    bad.extend(schema.get("uniqueItems").zip(entry).map(|(_, entry)| json!([entry, entry])));
    let formed = ["date", "date-time", "uuid", "email", "time-zone", "reason", "sign-in-code"];
    bad.extend(schema["format"].as_str().filter(|format| formed.contains(format)).map(|_| json!("~")));
    bad
}

/// Everything that breaks the schema of an object, field by field.
fn breaches(schema: &'static Value, good: &Value) -> Vec<Breach> {
    let schema = inner(schema);
    let mut found: Vec<Breach> = Vec::new();
    let mut replace = |name: &str, value: Option<Value>, field: String| {
        let mut body = good.clone();
        let fields = body.as_object_mut().expect("an object");
        fields.remove(name);
        fields.extend(value.map(|value| (name.to_owned(), value)));
        found.push((body, field));
    };
    replace("no_such_field", Some(json!(1)), "no_such_field".to_owned());
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        replace(name, None, name.to_owned());
        replace(name, Some(Value::Null), name.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let (property, empty) = (inner(property), json!({}));
        let good = good.get(name).unwrap_or(&empty);
        for bad in bad_values(property, good) {
            replace(name, Some(bad), name.clone());
        }
        if kind(property) == "object" {
            for (inner, field) in breaches(property, good) {
                replace(name, Some(inner), format!("{name}.{field}"));
            }
        }
        let Some((items, entry)) = property.get("items").zip(good.get(0)) else { continue };
        let items = inner(items);
        for bad in bad_values(items, entry) {
            replace(name, Some(json!([bad])), format!("{name}[0]"));
        }
        if kind(items) == "object" {
            for (inner, field) in breaches(items, entry) {
                replace(name, Some(json!([inner])), format!("{name}[0].{field}"));
            }
        }
    }
    found
}

/// What is wrong with the answer to a breach.
async fn complaint(stage: &Stage, person: &crate::support::Person, call: &Call, field: &str) -> Option<String> {
    let answer = Answer::of(stage.send(person, call).await).await;
    if answer.status != StatusCode::UNPROCESSABLE_ENTITY {
        return Some(format!("{}: {}", answer.status, answer.text));
    }
    let problem = answer.problem(answer.status);
    let named = fields(&problem);
    // Where one of two fields must be there, the object as a whole may be named too.
    let sound = named.contains(&field) && named.iter().all(|name| *name == field || name.is_empty());
    (!sound).then(|| format!("names {named:?}"))
}

#[tokio::test]
async fn every_documented_bound_is_enforced_by_its_name() {
    let stage = Stage::new().await;
    let (mut sent, mut bodies, mut complaints) = (0, 0, Vec::new());
    for documented in operations() {
        let id = documented.id;
        let content = &documented.says["requestBody"]["content"];
        let schema = content.as_object().and_then(|content| content.values().next()).map(|it| &it["schema"]);
        // The body of an import is a document of its own, and that of a record is checked against its kind.
        let schema = schema.filter(|schema| inner(schema)["properties"].is_object());
        let person = stage.newcomer().await;
        // What nobody prepares is about nobody, and takes no body.
        let call = stage.prepare(&person, id).await.unwrap_or_else(|| Call::plain(&documented));
        assert!(schema.is_none() || call.body().is_object(), "{id} has a body that nobody prepares");
        bodies += usize::from(schema.is_some());
        for (body, field) in schema.map(|schema| breaches(schema, &call.body())).unwrap_or_default() {
            sent += 1;
            let complaint = complaint(&stage, &person, &call.with(&body), &field).await;
            complaints.extend(complaint.map(|it| format!("{id} {body:.200}\n    {field}: {it}")));
        }
        sent += 1;
        let unknown = complaint(&stage, &person, &call.asking("no_such_parameter", "1"), "no_such_parameter").await;
        complaints.extend(unknown.map(|it| format!("{id}?no_such_parameter\n    {it}")));
        for parameter in documented.parameters().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a name");
            let schema = inner(&parameter["schema"]);
            for bad in bad_values(schema, &Value::Null) {
                // An object is no value of a parameter; as a text it breaks whatever is no plain text.
                let text = bad.as_str().map_or_else(|| bad.to_string(), str::to_owned);
                if text == "{}" && kind(schema) == "string" && schema.get("format").or(schema.get("enum")).is_none() {
                    continue;
                }
                sent += 1;
                let complaint = complaint(&stage, &person, &call.asking(name, &text), name).await;
                complaints.extend(complaint.map(|it| format!("{id}?{name}={text:.60}\n    {it}")));
            }
        }
    }
    assert!(complaints.is_empty(), "{} of {sent}:\n{}", complaints.len(), complaints.join("\n"));
    assert!(bodies >= 20 && sent >= 400, "only {sent} requests to {bodies} operations with a body");
}

#[tokio::test]
async fn what_is_made_is_found_at_its_location() {
    let stage = Stage::new().await;
    let mut found = 0;
    for Documented { id, says, .. } in operations() {
        let responses = says["responses"].as_object().expect("responses");
        let says = |status: &str| responses.get(status).is_some_and(|it| it["headers"]["Location"].is_object());
        let Some(status) = ["201", "202"].into_iter().find(|status| says(status)) else { continue };
        let person = stage.newcomer().await;
        let call = stage.prepare(&person, id).await.expect("every operation is known");
        let made = Answer::of(stage.send(&person, &call).await).await;
        assert_eq!(made.status.as_str(), status, "{id}: {}", made.text);
        let address = made.header("location").unwrap_or_else(|| panic!("{id} does not say where")).to_owned();
        let reader = if call.who() == Who::Staff { &stage.staff } else { &person };
        let there = stage.world.get(reader, address.clone()).await;
        assert_eq!(there.0.status(), StatusCode::OK, "{id}: {address}");
        found += 1;
    }
    assert_eq!(found, 6, "operations that say where what they make is found");
}
