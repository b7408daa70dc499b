use serde_json::{Value, json};

use super::{change::Place, *};

fn base() -> Value {
    json!({
        "openapi": "3.1.0",
        "servers": [],
        "paths": {
            "/days/{day}": {
                "put": {
                    "operationId": "day_put",
                    "summary": "Keep a day",
                    "security": [{ "bearer": [] }],
                    "parameters": [
                        { "name": "day", "in": "path", "required": true, "schema": { "type": "string", "format": "date" } },
                        { "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 100 } },
                    ],
                    "requestBody": {
                        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Day" } } },
                    },
                    "responses": {
                        "200": {
                            "headers": { "ETag": { "required": true, "schema": { "type": "string" } } },
                            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Day" } } },
                        },
                        "404": { "description": "Unknown" },
                    },
                },
            },
        },
        "components": {
            "schemas": {
                "Day": {
                    "type": "object",
                    "required": ["hours"],
                    "additionalProperties": false,
                    "properties": {
                        "hours": { "type": "integer", "minimum": 0, "maximum": 24 },
                        "note": { "type": ["string", "null"], "maxLength": 80, "pattern": "^a" },
                        "source": { "allOf": [{ "$ref": "#/components/schemas/Source" }], "description": "Whence" },
                        "breaks": { "type": "array", "items": { "type": "integer" }, "maxItems": 4 },
                    },
                },
                "Source": { "type": "string", "enum": ["manual", "import"] },
            },
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The changes that an edit of the document makes, as they are printed.
fn after(edit: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut new = base();
    edit(&mut new);
    changes(&Document(base()), &Document(new)).iter().map(Change::to_string).collect()
}

/// The same, where the edit sets one value.
fn set(pointer: &str, value: Value) -> Vec<String> {
    after(|document| {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = document.pointer_mut(parent).expect("it is there");
        match parent {
            Value::Array(entries) => entries[name.parse::<usize>().expect("an index")] = value,
            parent => parent[name.replace("~1", "/")] = value,
        }
    })
}

fn remove(pointer: &str) -> Vec<String> {
    after(|document| {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = document.pointer_mut(parent).expect("it is there");
        match parent {
            Value::Array(entries) => drop(entries.remove(name.parse().expect("an index"))),
            parent => drop(parent.as_object_mut().expect("an object").remove(&name.replace("~1", "/")).expect("there")),
        }
    })
}

const OPERATION: &str = "/paths/~1days~1{day}/put";
const DAY: &str = "/components/schemas/Day";

fn operation(rest: &str) -> String {
    format!("{OPERATION}{rest}")
}

fn day(rest: &str) -> String {
    format!("{DAY}{rest}")
}

#[test]
fn the_same_document_and_other_texts_are_no_change() {
    assert_eq!(after(|_| ()), [""; 0]);
    assert_eq!(set(&operation("/summary"), json!("Another")), [""; 0]);
    assert_eq!(set(&day("/properties/hours/description"), json!("Hours")), [""; 0]);
    assert_eq!(set(&day("/properties/hours/example"), json!(8)), [""; 0]);
}

#[test]
fn the_same_schema_written_another_way_is_no_change() {
    assert_eq!(set(&day("/properties/source"), json!({ "$ref": "#/components/schemas/Source" })), [""; 0]);
    let note = json!({ "anyOf": [{ "type": "string", "maxLength": 80, "pattern": "^a" }, { "type": "null" }] });
    assert_eq!(set(&day("/properties/note"), note), [""; 0]);
    let shared = after(|document| {
        let answer = document.pointer_mut(&operation("/responses/404")).expect("there").take();
        document["components"]["responses"] = json!({ "Unknown": answer });
        *document.pointer_mut(&operation("/responses/404")).expect("there") =
            json!({ "$ref": "#/components/responses/Unknown" });
    });
    assert_eq!(shared, [""; 0]);
    let of_the_path = after(|document| {
        let parameters = document.pointer_mut(&operation("/parameters")).expect("there").take();
        document["paths"]["/days/{day}"]["parameters"] = parameters;
    });
    assert_eq!(of_the_path, [""; 0]);
    let renamed = after(|document| {
        let mut item = document["paths"]["/days/{day}"].take();
        item["put"]["parameters"][0]["name"] = json!("date");
        document["paths"] = json!({ "/days/{date}": item });
    });
    assert_eq!(renamed, [""; 0]);
}

#[test]
fn operations() {
    assert_eq!(remove(OPERATION), ["breaking    day_put: `PUT /days/{day}` is gone"]);
    assert_eq!(remove("/paths/~1days~1{day}"), ["breaking    day_put: `PUT /days/{day}` is gone"]);
    let get = json!({ "operationId": "day_show", "responses": { "200": {} } });
    assert_eq!(set("/paths/~1days~1{day}/get", get), ["compatible  day_show: `GET /days/{day}` is new"]);
    assert_eq!(set(&operation("/operationId"), json!("put")), ["breaking    day_put: its id is now `put`"]);
    assert_eq!(set(&operation("/deprecated"), json!(true)), ["compatible  day_put: is deprecated"]);
    assert_eq!(set("/servers", json!([{ "url": "/" }])), [""; 0]);
    assert_eq!(
        set("/servers", json!([{ "url": "/" }, { "url": "/api" }])),
        ["compatible  servers: the server `/api` is new"]
    );
    assert_eq!(set("/servers", json!([{ "url": "/api" }])).len(), 2);
}

#[test]
fn who_may_call() {
    let bearer = "sign-in by `bearer [] {\"scheme\":\"bearer\",\"type\":\"http\"}`";
    let open = [
        "breaking    day_put: ".to_owned() + bearer + " is gone",
        "compatible  day_put: sign-in by `nobody` is new".to_owned(),
    ];
    assert_eq!(set(&operation("/security"), json!([])), open);
    assert_eq!(remove(&operation("/security")), open);
    assert_eq!(
        set(&operation("/security"), json!([{ "bearer": [] }, {}])),
        ["compatible  day_put: sign-in by `nobody` is new"]
    );
    assert_eq!(set("/components/securitySchemes/bearer/scheme", json!("basic")).len(), 2);
    assert_eq!(set("/components/securitySchemes/bearer/description", json!("A token")), [""; 0]);
}

#[test]
fn parameters() {
    assert_eq!(remove(&operation("/parameters/1")), ["breaking    day_put.limit: the parameter of the query is gone"]);
    let more = |parameter: Value| {
        after(|document| {
            let parameters = document.pointer_mut(&operation("/parameters")).expect("there");
            parameters.as_array_mut().expect("a list").push(parameter);
        })
    };
    let zone = more(json!({ "name": "zone", "in": "query", "schema": {} }));
    assert_eq!(zone, ["compatible  day_put.zone: a parameter of the query is new"]);
    let zone = more(json!({ "name": "zone", "in": "header", "required": true, "schema": {} }));
    assert_eq!(zone, ["breaking    day_put.zone: a required parameter of the header is new"]);
    let limit = |word: &str, value: Value| set(&operation(&format!("/parameters/1/{word}")), value);
    assert_eq!(limit("required", json!(true)), ["breaking    day_put.limit: the parameter is required"]);
    assert_eq!(limit("explode", json!(false)), ["breaking    day_put.limit: the parameter is written another way"]);
    assert_eq!(limit("style", json!("form")), [""; 0]);
    assert_eq!(
        limit("schema", json!({ "type": "integer", "minimum": 1, "maximum": 50 })),
        ["breaking    day_put.limit in requests: `maximum` was 100 and is 50"]
    );
    assert_eq!(
        limit("schema", json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 20 })),
        [
            "breaking    day_put.limit in requests: absent meant null, and means 20",
            "compatible  day_put.limit in requests: `maximum` was 100 and is 200",
        ]
    );
}

#[test]
fn bodies_and_media_types() {
    assert_eq!(remove(&operation("/requestBody")), ["breaking    day_put: takes no body any more"]);
    assert_eq!(set(&operation("/requestBody/required"), json!(true)), ["breaking    day_put: the body is required"]);
    let media = |of: &str| set(&operation(of), json!({ "text/csv": {} }));
    assert_eq!(
        media("/requestBody/content"),
        [
            "breaking    day_put: the media type `application/json` is gone",
            "compatible  day_put: the media type `text/csv` is new",
        ]
    );
    assert_eq!(
        media("/responses/200/content"),
        [
            "breaking    day_put.200: the media type `application/json` is gone",
            "widening    day_put.200: the media type `text/csv` is new",
        ]
    );
}

#[test]
fn answers_and_their_header_fields() {
    assert_eq!(remove(&operation("/responses/404")), ["compatible  day_put.404: is not answered any more"]);
    let created = after(|document| {
        let responses = document.pointer_mut(&operation("/responses")).expect("there");
        responses["201"] = responses["200"].take();
        responses.as_object_mut().expect("an object").remove("200");
    });
    let expected = ["breaking    day_put.200: is not answered any more", "widening    day_put.201: is a new answer"];
    assert_eq!(created, expected);
    assert_eq!(set(&operation("/responses/409"), json!({})), ["widening    day_put.409: is a new answer"]);
    let header = "/responses/200/headers/ETag";
    assert_eq!(remove(&operation(header)), ["breaking    day_put.ETag: the header field of the answer is gone"]);
    let absent = set(&operation(&format!("{header}/required")), json!(false));
    assert_eq!(absent, ["breaking    day_put.ETag: the header field may be absent"]);
    let age = set(&operation("/responses/200/headers/Age"), json!({ "schema": { "type": "integer" } }));
    assert_eq!(age, ["compatible  day_put.Age: the header field of the answer is new"]);
}

#[test]
fn fields() {
    assert_eq!(
        remove(&day("/properties/note")),
        ["breaking    Day.note in requests: the field is gone", "breaking    Day.note in answers: the field is gone"]
    );
    assert_eq!(
        set(&day("/properties/place"), json!({ "type": "string" })),
        ["compatible  Day.place in requests: the field is new", "compatible  Day.place in answers: the field is new"]
    );
    assert_eq!(
        set(&day("/required"), json!(["hours", "note"])),
        [
            "breaking    Day.note in requests: the field is required",
            "compatible  Day.note in answers: the field is required",
        ]
    );
    assert_eq!(
        set(&day("/required"), json!([])),
        [
            "breaking    Day.hours in answers: the field may be absent",
            "compatible  Day.hours in requests: the field may be absent",
        ]
    );
    assert_eq!(
        remove(&day("/additionalProperties")),
        [
            "widening    Day in answers: other fields are no longer restricted",
            "compatible  Day in requests: other fields are no longer restricted",
        ]
    );
}

#[test]
fn types_of_values() {
    let hours = |schema: Value| set(&day("/properties/hours"), schema);
    assert_eq!(
        hours(json!({ "type": "number", "minimum": 0, "maximum": 24 })),
        [
            "breaking    Day.hours in answers: its type was integer and is number",
            "compatible  Day.hours in requests: its type was integer and is number",
        ]
    );
    assert_eq!(
        hours(json!({ "type": "string", "minimum": 0, "maximum": 24 })),
        [
            "breaking    Day.hours in requests: its type was integer and is string",
            "breaking    Day.hours in answers: its type was integer and is string",
        ]
    );
    assert_eq!(
        hours(json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 24 }, { "type": "null" }] })),
        [
            "breaking    Day.hours in answers: its type was integer and is integer or null",
            "compatible  Day.hours in requests: its type was integer and is integer or null",
        ]
    );
    assert_eq!(
        set(&day("/properties/breaks/items/type"), json!("string")),
        [
            "breaking    Day.breaks in requests: its type was integer and is string",
            "breaking    Day.breaks in answers: its type was integer and is string",
        ]
    );
}

#[test]
fn enumerations() {
    let members = |members: Value| set("/components/schemas/Source/enum", members);
    assert_eq!(
        members(json!(["manual"])),
        [
            "breaking    Source in requests: the member \"import\" is gone",
            "compatible  Source in answers: the member \"import\" is gone",
        ]
    );
    assert_eq!(
        members(json!(["manual", "import", "guess"])),
        [
            "widening    Source in answers: the member \"guess\" is new",
            "compatible  Source in requests: the member \"guess\" is new",
        ]
    );
    assert_eq!(
        remove("/components/schemas/Source/enum"),
        [
            "breaking    Source in answers: is no enumeration any more",
            "compatible  Source in requests: is no enumeration any more",
        ]
    );
}

#[test]
fn bounds_and_forms() {
    let weights = |lines: &[String]| {
        lines.iter().map(|line| line.split(':').next().expect("text").to_owned()).collect::<Vec<_>>()
    };
    let narrower =
        |part: &str| [format!("breaking    Day.{part} in requests"), format!("compatible  Day.{part} in answers")];
    let wider =
        |part: &str| [format!("breaking    Day.{part} in answers"), format!("compatible  Day.{part} in requests")];
    for (part, word, tight, loose) in [
        ("hours", "minimum", 1, -1),
        ("hours", "maximum", 23, 25),
        ("note", "maxLength", 79, 81),
        ("breaks", "maxItems", 3, 5),
    ] {
        let pointer = day(&format!("/properties/{part}/{word}"));
        assert_eq!(weights(&set(&pointer, json!(tight))), narrower(part), "{word}");
        assert_eq!(weights(&set(&pointer, json!(loose))), wider(part), "{word}");
        assert_eq!(weights(&remove(&pointer)), wider(part), "{word}");
    }
    let note = |word: &str, value: Value| set(&day(&format!("/properties/note/{word}")), value);
    assert_eq!(weights(&note("minLength", json!(1))), narrower("note"));
    assert_eq!(weights(&note("format", json!("email"))), narrower("note"));
    assert_eq!(weights(&remove(&day("/properties/note/pattern"))), wider("note"));
    let other = ["breaking    Day.note in requests", "breaking    Day.note in answers"];
    assert_eq!(weights(&note("pattern", json!("^b"))), other);
    assert_eq!(weights(&note("not", json!({ "const": "a" }))), other, "a keyword that is not compared");
    assert_eq!(weights(&set(&day("/properties/breaks/uniqueItems"), json!(true))), narrower("breaks"));
}

#[test]
fn one_of_several_forms() {
    let hours =
        |forms: &[&str]| json!({ "anyOf": forms.iter().map(|form| json!({ "type": form })).collect::<Vec<_>>() });
    let with = |forms: &[&str]| {
        let mut document = base();
        document["components"]["schemas"]["Day"]["properties"]["hours"] = hours(forms);
        Document(document)
    };
    let between = |old: &[&str], new: &[&str]| {
        let changes = changes(&with(old), &with(new));
        changes.iter().map(Change::to_string).collect::<Vec<_>>()
    };
    assert_eq!(between(&["integer", "string"], &["string", "integer"]), [""; 0]);
    assert_eq!(
        between(&["integer", "string", "boolean"], &["integer", "string"]),
        [
            "breaking    Day.hours in requests: the form boolean is gone",
            "compatible  Day.hours in answers: the form boolean is gone",
        ]
    );
    assert_eq!(
        between(&["integer", "string"], &["integer", "string", "boolean"]),
        [
            "breaking    Day.hours in answers: the form boolean is new",
            "compatible  Day.hours in requests: the form boolean is new",
        ]
    );
}

#[test]
fn schemas_that_hold_themselves_are_compared_once() {
    let with = |kind: &str| {
        let mut document = base();
        document["components"]["schemas"]["Source"] = json!({
            "type": "object",
            "properties": { "of": { "$ref": "#/components/schemas/Source" }, "name": { "type": kind } },
        });
        Document(document)
    };
    assert_eq!(changes(&with("string"), &with("string")), []);
    assert_eq!(changes(&with("string"), &with("integer")).len(), 2);
}

#[test]
fn a_bullet_names_the_operation_or_schema_and_the_part() {
    let text = "# Changes\n\n## Unreleased\n\n### Changed\n\n- `Day` has no `note`, and\n  `day_put` needs\n  `limit`.\n\
                - `PUT /days/{day}` answers `201`.\n- `Source.name` is gone.\n\n## 1\n\n- `old`\n";
    let newest = Section::newest(text);
    assert_eq!(newest.title, "Unreleased");
    let names = |name: &str, alias: Option<&str>, part: Option<&str>| {
        let alias = alias.map(str::to_owned);
        newest.names(&Place { name: name.to_owned(), alias, way: None, part: part.map(str::to_owned) })
    };
    assert!(names("Day", None, Some("note")) && names("Day", None, None));
    assert!(!names("Day", None, Some("hours")), "another field");
    assert!(names("Source", None, Some("name")) && !names("Source", None, None));
    let put = Some("PUT /days/{day}");
    assert!(names("day_put", put, Some("limit")) && names("day_put", put, Some("201")));
    assert!(!names("Source", None, Some("limit")), "another bullet");
    assert!(!names("old", None, None), "an older section");
}

#[test]
fn what_breaks_and_is_not_named_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::create_dir_all(dir.path().join("openapi")).expect("made");
        fs::write(dir.path().join(name), text).expect("written");
    };
    write(RELEASED, &base().to_string());
    let mut new = base();
    new["paths"] = json!({});
    write(PRESENT, &new.to_string());
    write("CHANGELOG.md", "# Changes\n\n## Unreleased\n\n- Nothing.\n");
    for outcome in [check(dir.path()), seal(dir.path()), run(dir.path(), None, None, None)] {
        let fault = outcome.expect_err("it is not named");
        assert_eq!(
            fault,
            "CHANGELOG.md: no bullet under `Unreleased` names\n  breaking    day_put: `PUT /days/{day}` is gone"
        );
    }
    write("CHANGELOG.md", "# Changes\n\n## Unreleased\n\n- `PUT /days/{day}` is gone.\n");
    check(dir.path()).expect("it is named");
    assert!(seal(dir.path()).expect_err("no release").contains("give `Unreleased` the name"));
    write("CHANGELOG.md", "# Changes\n\n## 1.0\n\n- `PUT /days/{day}` is gone.\n");
    seal(dir.path()).expect("it is named");
    assert_eq!(fs::read_to_string(dir.path().join(RELEASED)).expect("there"), new.to_string());
}
