//! Compares operations: what they are called, who may call them, what they take and how they answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    change::{Place, Way, Weight},
    comparison::Comparison,
    document::{Document, Operation, list, members, text},
};

impl Comparison<'_> {
    pub fn documents(&mut self) {
        let (old, new) = (self.old, self.new);
        let document = Place { name: "servers".to_owned(), alias: None, way: None, part: None };
        self.sets(&document, &servers(old), &servers(new), "the server", Weight::Breaking, Weight::Compatible);
        let (before, after) = (old.operations(), new.operations());
        for (key, operation) in &before {
            let place = operation.place();
            match after.get(key) {
                Some(now) => self.operation(&place, operation, now),
                None => self.found(Weight::Breaking, &place, format!("`{}` is gone", operation.call)),
            }
        }
        for (_, operation) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
            self.found(Weight::Compatible, &operation.place(), format!("`{}` is new", operation.call));
        }
    }

    fn operation(&mut self, place: &Place, old: &Operation<'_>, new: &Operation<'_>) {
        if old.value["operationId"] != new.value["operationId"] {
            self.found(Weight::Breaking, place, format!("its id is now `{}`", text(&new.value["operationId"])));
        }
        if old.value["deprecated"] != true && new.value["deprecated"] == true {
            self.found(Weight::Compatible, place, "is deprecated");
        }
        let (before, after) = (security(self.old, old), security(self.new, new));
        self.sets(place, &before, &after, "sign-in by", Weight::Breaking, Weight::Compatible);
        self.parameters(place, old, new);
        self.body(place, &old.value["requestBody"], &new.value["requestBody"]);
        self.answers(place, &old.value["responses"], &new.value["responses"]);
    }

    fn parameters(&mut self, place: &Place, old: &Operation<'_>, new: &Operation<'_>) {
        for (key, before) in &old.parameters {
            let place = place.part(&text(&before["name"]));
            let Some(after) = new.parameters.get(key) else {
                self.found(Weight::Breaking, &place, format!("the parameter of the {} is gone", key.0));
                continue;
            };
            match (before["required"] == true, after["required"] == true) {
                (false, true) => self.found(Weight::Breaking, &place, "the parameter is required"),
                (true, false) => self.found(Weight::Compatible, &place, "the parameter is no longer required"),
                _ => {}
            }
            if ["style", "explode"].iter().any(|word| written(before, word) != written(after, word)) {
                self.found(Weight::Breaking, &place, "the parameter is written another way");
            }
            self.schema(&place, Way::Request, &before["schema"], &after["schema"]);
        }
        for (key, after) in new.parameters.iter().filter(|(key, _)| !old.parameters.contains_key(*key)) {
            let place = place.part(&text(&after["name"]));
            match after["required"] == true {
                true => self.found(Weight::Breaking, &place, format!("a required parameter of the {} is new", key.0)),
                false => self.found(Weight::Compatible, &place, format!("a parameter of the {} is new", key.0)),
            }
        }
    }

    fn body(&mut self, place: &Place, old: &Value, new: &Value) {
        let (old, new) = (self.old.resolve(old), self.new.resolve(new));
        match (old.is_null(), new.is_null()) {
            (true, true) => return,
            (false, true) => return self.found(Weight::Breaking, place, "takes no body any more"),
            _ => {}
        }
        if old["required"] != true && new["required"] == true {
            self.found(Weight::Breaking, place, "the body is required");
        }
        self.content(place, Way::Request, &old["content"], &new["content"]);
    }

    fn answers(&mut self, place: &Place, old: &Value, new: &Value) {
        for (status, before) in members(old) {
            let place = place.part(status);
            match new.get(status) {
                Some(after) => self.answer(&place, before, after),
                // A refusal that no longer happens harms nobody.
                None if status.starts_with(['4', '5']) => {
                    self.found(Weight::Compatible, &place, "is not answered any more")
                }
                None => self.found(Weight::Breaking, &place, "is not answered any more"),
            }
        }
        for (status, _) in members(new).filter(|(status, _)| old.get(status).is_none()) {
            self.found(Weight::Widening, &place.part(status), "is a new answer");
        }
    }

    fn answer(&mut self, place: &Place, old: &Value, new: &Value) {
        let (old, new) = (self.old.resolve(old), self.new.resolve(new));
        let operation = Place { part: None, ..place.clone() };
        for (name, before) in members(&old["headers"]) {
            let place = operation.part(name);
            let Some((_, after)) = members(&new["headers"]).find(|(other, _)| other.eq_ignore_ascii_case(name)) else {
                self.found(Weight::Breaking, &place, "the header field of the answer is gone");
                continue;
            };
            let (before, after) = (self.old.resolve(before), self.new.resolve(after));
            if before["required"] == true && after["required"] != true {
                self.found(Weight::Breaking, &place, "the header field may be absent");
            }
            self.schema(&place, Way::Answer, &before["schema"], &after["schema"]);
        }
        let there = |name: &str| members(&old["headers"]).any(|(other, _)| other.eq_ignore_ascii_case(name));
        for (name, _) in members(&new["headers"]).filter(|(name, _)| !there(name)) {
            self.found(Weight::Compatible, &operation.part(name), "the header field of the answer is new");
        }
        self.content(place, Way::Answer, &old["content"], &new["content"]);
    }

    fn content(&mut self, place: &Place, way: Way, old: &Value, new: &Value) {
        let (before, after) = (names(old), names(new));
        let more = match way {
            Way::Request => Weight::Compatible,
            Way::Answer => Weight::Widening,
        };
        self.sets(place, &before, &after, "the media type", Weight::Breaking, more);
        for media in before.intersection(&after) {
            self.schema(place, way, &old[media]["schema"], &new[media]["schema"]);
        }
    }

    /// Compares what there is to choose from.
    fn sets(
        &mut self,
        place: &Place,
        old: &BTreeSet<String>,
        new: &BTreeSet<String>,
        what: &str,
        less: Weight,
        more: Weight,
    ) {
        old.difference(new).for_each(|gone| self.found(less, place, format!("{what} `{gone}` is gone")));
        new.difference(old).for_each(|fresh| self.found(more, place, format!("{what} `{fresh}` is new")));
    }
}

impl Operation<'_> {
    fn place(&self) -> Place {
        let name = self.value["operationId"].as_str().unwrap_or(&self.call).to_owned();
        Place { name, alias: Some(self.call.clone()), way: None, part: None }
    }
}

/// The addresses of the servers; a document without one means its own.
fn servers(document: &Document) -> BTreeSet<String> {
    match list(&document.0["servers"]) {
        [] => BTreeSet::from(["/".to_owned()]),
        servers => servers.iter().map(|server| text(&server["url"])).collect(),
    }
}

/// The ways to sign in, any of which will do; each with what it stands for.
fn security(document: &Document, operation: &Operation<'_>) -> BTreeSet<String> {
    let asked = operation.value.get("security").unwrap_or(&document.0["security"]);
    let schemes = &document.0["components"]["securitySchemes"];
    let scheme = |(name, scopes): (&String, &Value)| {
        let scheme = document.resolve(&schemes[name]);
        let said: BTreeMap<&String, &Value> =
            members(scheme).filter(|(word, _)| !["description", "bearerFormat"].contains(&word.as_str())).collect();
        format!("{name} {scopes} {}", json!(said))
    };
    let alternatives: BTreeSet<String> = list(asked)
        .iter()
        .map(|alternative| match alternative.as_object().filter(|schemes| !schemes.is_empty()) {
            Some(all) => all.iter().map(scheme).collect::<Vec<_>>().join(" and "),
            None => "nobody".to_owned(),
        })
        .collect();
    if alternatives.is_empty() { BTreeSet::from(["nobody".to_owned()]) } else { alternatives }
}

/// How a parameter is written, with the defaults of the specification.
fn written(parameter: &Value, word: &str) -> Value {
    let style = match text(&parameter["in"]).as_str() {
        "query" | "cookie" => "form",
        _ => "simple",
    };
    let style = parameter["style"].as_str().unwrap_or(style);
    match word {
        "style" => json!(style),
        _ => parameter.get(word).cloned().unwrap_or_else(|| json!(style == "form")),
    }
}

fn names(content: &Value) -> BTreeSet<String> {
    members(content).map(|(name, _)| name.clone()).collect()
}
