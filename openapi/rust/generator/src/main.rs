//! Writes the Rust client of the OpenAPI document, and the calls of the walk that tests it:
//! `lethe-client-generator openapi-3.0.json lib.rs calls.rs`. `cargo xtask sdk rust` runs it.

mod calls;
mod open;

use std::{env, error::Error, fs};

use progenitor_impl::{GenerationSettings, Generator, InterfaceStyle};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [document, client, calls] = files.as_slice() else {
        return Err("usage: lethe-client-generator openapi-3.0.json lib.rs calls.rs".into());
    };
    let document = serde_json::from_str(&fs::read_to_string(document)?)?;
    let mut settings = GenerationSettings::new();
    let generated = Generator::new(settings.with_interface(InterfaceStyle::Builder)).generate_tokens(&document)?;
    let mut file: syn::File = syn::parse2(generated)?;
    open::open(&mut file);
    let text = prettyplease::unparse(&file);
    fs::write(client, format!("#![doc = include_str!(\"../README.md\")]\n\n{text}"))?;
    fs::write(calls, prettyplease::unparse(&syn::parse2(calls::calls(&file))?))?;
    Ok(())
}
