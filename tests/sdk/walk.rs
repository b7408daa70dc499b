//! Makes every call of a file through the generated client, and writes one line of JSON for each outcome.
//!
//! `calls` is generated with the client: it finds an operation and its arguments by their names. Panics if the client has
//! no such operation or argument, or no type for an answer. Takes the file that `tests/sdk.rs` wrote.

mod calls;

use lethe_client::{Client, Error, ResponseValue, types::Problem};
use reqwest::header::{HeaderMap, HeaderName};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The arguments of a call that were not taken yet, by name in lower case with underscores.
pub struct Arguments(Map<String, Value>);

/// The status, and `success` or the type of the problem.
pub struct Outcome(u16, String);

impl Arguments {
    fn of(call: &Value) -> Self {
        let places =
            ["path", "query", "headers"].into_iter().flat_map(|place| call[place].as_object().expect("arguments"));
        let mut arguments: Map<_, _> =
            places.map(|(name, value)| (name.replace('-', "_").to_lowercase(), value.clone())).collect();
        if !call["body"].is_null() {
            arguments.insert("body".to_owned(), call["body"].clone());
        }
        Self(arguments)
    }

    /// An argument as the type that the client wants.
    pub fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.0.remove(name)?;
        Some(serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{name} {value}: {error}")))
    }
}

/// What the client made of an answer. Everything but a typed success and a typed problem panics.
pub fn outcome<T>(answer: Result<ResponseValue<T>, Error<Problem>>) -> Outcome {
    match answer {
        Ok(answer) => Outcome(answer.status().as_u16(), "success".to_owned()),
        Err(Error::ErrorResponse(problem)) => Outcome(problem.status().as_u16(), problem.type_.to_string()),
        Err(error) => panic!("the client has no type for the answer: {error:?}"),
    }
}

/// A client that shows a token in this header field.
fn client(url: &str, token: Option<&str>, field: &str) -> Client {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let value = if field == "Authorization" { format!("Bearer {token}") } else { token.to_owned() };
        headers.insert(
            HeaderName::try_from(field).expect("the name of a field"),
            value.parse().expect("a token is plain text"),
        );
    }
    let inner = reqwest::Client::builder().default_headers(headers).build().expect("a client");
    Client::new_with_client(url, inner)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let file = std::env::args().nth(1).expect("a file of calls");
    let walk: Value = serde_json::from_slice(&std::fs::read(file).expect("the file is there")).expect("JSON");
    let url = walk["url"].as_str().expect("an address");
    for call in walk["calls"].as_array().expect("calls") {
        let operation = call["operation"].as_str().expect("a name");
        let mut arguments = Arguments::of(call);
        let client = client(url, call["token"].as_str(), call["field"].as_str().expect("a field"));
        let Outcome(status, answer) = calls::call(&client, operation, &mut arguments).await;
        assert!(arguments.0.is_empty(), "{operation} takes no {:?}", arguments.0);
        println!("{}", json!({ "operation": operation, "caller": call["caller"], "status": status, "answer": answer }));
    }
    println!("{}", json!({ "operations": calls::OPERATIONS }));
}
