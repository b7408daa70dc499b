//! What was changed in a JSON document whose proof does not hold. All faults are reported together, each with the field
//! it is about. Reads the document as a whole, so that it must be small.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{Fault, json, kinds::kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::export::{
    json_pages::body_of,
    page::{Metadata, PAGE, Page, VERSION},
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

/// The faults of a document. `look` gets the records of each kind that we know, page by page, as far as they can be read and
/// until it returns false.
pub fn explain(bytes: &[u8], look: &mut dyn FnMut(Page) -> bool) -> Refused {
    let Ok(text) = std::str::from_utf8(bytes) else { return Refused::fault("", "must be text in UTF-8") };
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => {
            let place = format!("is not a whole JSON object (line {}, column {})", error.line(), error.column());
            return Refused::fault("", &place);
        }
    };
    let faults = match json::faults(bytes) {
        Ok(doubtful) if doubtful.is_empty() => changed(&members),
        Ok(doubtful) => doubtful,
        Err(_) => vec![Fault::new("", "is nested deeper, or has larger objects, than our files")],
    };
    records(&members, look);
    Refused::Changed(faults)
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

/// Shows the records. Each is read when it is its turn: read all at once, a text of small objects would take a hundred times
/// its size.
fn records(members: &Members<'_>, look: &mut dyn FnMut(Page) -> bool) {
    let lists = members.get("records").and_then(|raw| serde_json::from_str::<Members<'_>>(raw.get()).ok());
    for (name, raw) in lists.unwrap_or_default().into_iter().filter(|(name, _)| kind(name).is_some()) {
        let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { continue };
        for (number, page) in list.chunks(PAGE).enumerate() {
            let body = |raw: &&RawValue| body_of(serde_json::from_str(raw.get()).ok()?);
            let page = Page { kind: name.clone(), first: number * PAGE, bodies: page.iter().map(body).collect() };
            if !look(page) {
                return;
            }
        }
    }
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
