//! The clients, producers, consumers and acks that the runner has named, and what an operation
//! answers when it fails.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use styx_client::Error;
use styx_client::blocking::{Ack, Client, Consumer, Producer};

use crate::arguments::number;

/// The object of a name.
pub(crate) enum Object {
    Client(Client),
    Producer(Producer),
    Consumer(Box<Consumer>),
    Ack(Ack),
}

#[derive(Default)]
pub(crate) struct Objects(HashMap<String, Object>);

impl Objects {
    pub(crate) fn add(&mut self, name: &str, object: Object) {
        self.0.insert(name.to_owned(), object);
    }

    pub(crate) fn of(&mut self, name: &str) -> Result<&mut Object, Failure> {
        self.0.get_mut(name).ok_or_else(|| Failure::Driver(format!("there is no {name}")))
    }

    pub(crate) fn client(&mut self, name: &str) -> Result<&Client, Failure> {
        match self.of(name)? {
            Object::Client(client) => Ok(client),
            _ => Err(Failure::Driver(format!("{name} is not a client"))),
        }
    }
}

/// Why an operation has no result.
pub(crate) enum Failure {
    /// The client reported an error, after these records.
    Client(Error, Vec<Value>),
    /// The runner asked for something that the driver does not have.
    Driver(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Client(error, Vec::new())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Driver(error.to_string())
    }
}

impl Failure {
    pub(crate) fn into_answer(self) -> Value {
        match self {
            Failure::Client(error, records) => {
                json!({ "error": shown(&error), "records": records })
            }
            Failure::Driver(text) => json!({ "driver_error": text }),
        }
    }
}

/// Every attribute of an error. Those that it does not have are left out.
fn shown(error: &Error) -> Value {
    let mut all = Map::new();
    all.insert("code".to_owned(), error.code().into());
    all.insert("retriable".to_owned(), error.is_retriable().into());
    all.insert("maybe_appended".to_owned(), error.maybe_appended().into());
    all.insert("message".to_owned(), error.message().into());
    let facts = error.facts();
    all.extend(facts.numbers().map(|(name, value)| (name.to_owned(), number(value))));
    all.extend(facts.status.map(|status| ("status".to_owned(), status.to_string().into())));
    Value::Object(all)
}
