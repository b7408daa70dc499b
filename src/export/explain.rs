//! What was changed in a JSON document whose proof does not hold. All faults are reported together, each with the field
//! it is about. Reads the document as a whole, so that it must be small.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{Fault, json};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::export::{
    json_pages::body_of,
    page::{Metadata, Page, VERSION},
    proof::Proof,
    refused::{Refused, plain, unproven},
};

const APART: [&str; 3] = ["records", "manifest", "proof"];

type Members<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Deserialize)]
struct Manifest {
    sections: BTreeMap<String, Counted>,
}

#[derive(Deserialize)]
struct Counted {
    sha256: String,
}

/// The faults of a document, and its records as far as it can be read.
pub fn explain(bytes: &[u8]) -> Refused {
    let Ok(text) = std::str::from_utf8(bytes) else { return Refused::fault("", "must be text in UTF-8") };
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => {
            let place = format!("is not a whole JSON object (line {}, column {})", error.line(), error.column());
            return Refused::fault("", &place);
        }
    };
    let records = records(&members);
    let faults = match json::faults(bytes) {
        Ok(doubtful) if doubtful.is_empty() => changed(&members),
        Ok(doubtful) => doubtful,
        Err(_) => vec![Fault::new("", "is nested deeper, or has larger objects, than our files")],
    };
    Refused::Changed { faults, records }
}

fn changed(members: &Members<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let metadata: Option<Metadata> = member(members, "exportMetadata", &mut faults);
    let manifest: Option<Manifest> = member(members, "manifest", &mut faults);
    let proof: Option<Proof> = member(members, "proof", &mut faults);
    let lists: Option<Members<'_>> = member(members, "records", &mut faults);
    let (Some(metadata), Some(manifest), Some(_), Some(lists)) = (metadata, manifest, proof, lists) else {
        return faults;
    };
    if metadata.export_version != VERSION {
        faults.push(Fault::new("exportMetadata.exportVersion", format!("must be {VERSION}")));
    }
    faults.extend(changed_sections(members, &lists, &manifest));
    faults.push(unproven());
    faults
}

/// The records of each kind, if all of them can be read.
fn records(members: &Members<'_>) -> Vec<Page> {
    let read = members.get("records").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let lists: BTreeMap<String, Vec<Value>> = read.unwrap_or_default();
    let page =
        |(kind, list): (String, Vec<Value>)| Page { kind, first: 0, bodies: list.into_iter().map(body_of).collect() };
    lists.into_iter().map(page).collect()
}

fn member<'a, T: Deserialize<'a>>(members: &Members<'a>, name: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let Some(raw) = members.get(name) else {
        faults.push(Fault::new(name, "is missing: only whole files that were exported here can be imported"));
        return None;
    };
    let read = serde_json::from_str(raw.get());
    read.map_err(|_| faults.push(Fault::new(name, "does not have the form of our files"))).ok()
}

/// The sections whose text differs from its hash in the manifest, that are missing, or that were added.
fn changed_sections(members: &Members<'_>, lists: &Members<'_>, manifest: &Manifest) -> Vec<Fault> {
    let mut faults = Vec::new();
    let top = members.iter().filter(|(name, _)| !APART.contains(&name.as_str()));
    let mut present: Members<'_> = top.map(|(name, raw)| (name.clone(), *raw)).collect();
    present.extend(lists.iter().map(|(name, raw)| (format!("records.{name}"), *raw)));
    for (name, counted) in &manifest.sections {
        match present.remove(name) {
            None => faults.push(Fault::new(plain(name), "is missing")),
            Some(raw) if hex::encode(digest(&SHA256, raw.get().as_bytes())) != counted.sha256 => {
                faults.push(Fault::new(plain(name), "is not as it was exported: its SHA-256 differs"));
            }
            Some(_) => {}
        }
    }
    faults.extend(present.keys().map(|name| Fault::new(plain(name), "was not exported")));
    faults
}
