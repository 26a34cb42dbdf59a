//! Runs a scenario: a file in `tests/conformance/scenarios`, which has the operations of a driver,
//! the results and errors that they must have, and the faults in between.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use styx_tests::binary;

use crate::drivers::Driver;
use crate::expectation::check;
use crate::payloads::{Variables, expand};
use crate::session::{PATIENCE, Session};
use crate::world::{Access, World};

/// The keys of a step that the driver does not see.
const OF_THE_RUNNER: [&str; 6] = ["gives", "fails", "save", "begin", "until", "within"];

/// The arguments of operations. Another key is a mistake in the scenario.
const ARGUMENTS: [&str; 17] = [
    "op", "on", "as", "name", "log", "config", "exist_ok", "address", "options", "payload",
    "payloads", "position", "cursor", "file", "timeout", "count", "start",
];

/// No record is older: records have the time of the server.
const TIMESTAMP_MIN: u64 = 1_700_000_000_000_000;

pub(crate) fn folder() -> PathBuf {
    binary::workspace().join("tests/conformance/scenarios")
}

/// The scenario in a file.
pub(crate) fn read(name: &str) -> Result<Value, String> {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))
}

/// Runs one scenario with one driver. The error says which step failed, and how.
pub(crate) fn run(name: &str, driver: &Driver) -> Result<(), String> {
    run_within(name, driver, PATIENCE)
}

/// The same over TLS, with a server that requires a token.
pub(crate) fn run_over_tls_with_tokens(name: &str, driver: &Driver) -> Result<(), String> {
    run_in(name, driver, PATIENCE, Access::TlsWithTokens)
}

/// The same. No operation may take longer than `patience`.
pub(crate) fn run_within(name: &str, driver: &Driver, patience: Duration) -> Result<(), String> {
    run_in(name, driver, patience, Access::Plain)
}

fn run_in(name: &str, driver: &Driver, patience: Duration, access: Access) -> Result<(), String> {
    let scenario = read(name)?;
    let steps = scenario["steps"].as_array().ok_or("a scenario needs steps")?;
    let world = World::start(&scenario["server"], access)?;
    let session = Session::start(driver)?;
    let variables = Variables::new();
    let mut run = Run { world, session, variables, begun: None, patience };
    for (number, step) in steps.iter().enumerate() {
        run.step(step).map_err(|error| {
            let last = run.session.shown();
            format!("{name}, step {number}: {step}\n{error}\n{last}")
        })?;
    }
    if run.begun.is_some() {
        return Err(format!("{name}: the last operation has no await"));
    }
    run.session.finish().map_err(|error| format!("{name}: {error}"))
}

struct Run {
    world: World,
    session: Session,
    variables: Variables,
    /// The name of an operation that has no answer yet.
    begun: Option<String>,
    patience: Duration,
}

impl Run {
    fn step(&mut self, step: &Value) -> Result<(), String> {
        if step["fault"] == "create_token" {
            let secret = self.world.create_token(step)?;
            let variable = step["save"].as_str().ok_or("create_token needs save")?;
            self.variables.insert(variable.to_owned(), secret.into());
            return Ok(());
        }
        if step["fault"].is_string() {
            return self.world.fault(step);
        }
        let limit = step["within"].as_f64().map_or(self.patience, Duration::from_secs_f64);
        if let Some(name) = step["await"].as_str() {
            if self.begun.take().as_deref() != Some(name) {
                return Err(format!("{name} was not begun"));
            }
            let answer = self.session.answer(limit)?;
            return self.check(step, &answer);
        }
        if self.begun.is_some() {
            return Err("the driver is busy: await its operation first".to_owned());
        }
        let request = self.request(step)?;
        if let Some(name) = step["begin"].as_str() {
            self.begun = Some(name.to_owned());
            return self.session.begin(&request);
        }
        let expected = &step["until"];
        if expected.is_null() {
            let answer = self.session.call(&request, limit)?;
            return self.check(step, &answer);
        }
        let expected = expand(expected, &self.variables)?;
        let end = Instant::now() + limit;
        loop {
            let answer = self.session.call(&request, limit)?;
            match check(&expected, &answer["ok"]) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(format!("{limit:?} later, {error}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The request to the driver.
    fn request(&self, step: &Value) -> Result<Value, String> {
        let mut request = step.clone();
        let fields = request.as_object_mut().ok_or("a step is an object")?;
        fields.retain(|name, _| !OF_THE_RUNNER.contains(&name.as_str()));
        if let Some(name) = fields.keys().find(|name| !ARGUMENTS.contains(&name.as_str())) {
            return Err(format!("no operation has the argument {name}"));
        }
        let op =
            fields.get("op").and_then(Value::as_str).ok_or("a step needs op, fault or await")?;
        let is_connect = op == "connect";
        if is_connect && !fields.contains_key("address") {
            fields.insert("address".to_owned(), self.world.address().into());
        }
        if let Some(token) = self.world.token().filter(|_| is_connect) {
            let options = fields.entry("options").or_insert_with(|| json!({}));
            let options = options.as_object_mut().ok_or("options are an object")?;
            options.entry("token").or_insert_with(|| token.into());
        }
        if let Some(authority) = self.world.authority().filter(|_| is_connect) {
            let options = fields.entry("options").or_insert_with(|| json!({}));
            let options = options.as_object_mut().ok_or("options are an object")?;
            let authority = authority.display().to_string();
            options.entry("ca_file").or_insert_with(|| authority.into());
        }
        if let Some(file) = fields.get("file").and_then(Value::as_str) {
            let path = self.world.file(file).display().to_string();
            fields.insert("file".to_owned(), path.into());
        }
        expand(&request, &self.variables)
    }

    /// Compares an answer with `gives` or `fails`; without both, it must be a success.
    fn check(&mut self, step: &Value, answer: &Value) -> Result<(), String> {
        let expected = expand(step, &self.variables)?;
        check_records(&answer["error"].as_object().map_or(&answer["ok"], |_| answer)["records"])?;
        match (&expected["gives"], &expected["fails"]) {
            (_, Value::Object(fields)) => {
                if answer["error"].is_null() {
                    return Err("this succeeded, but must fail".to_owned());
                }
                let mut fields = fields.clone();
                // The records before the error.
                if let Some(records) = fields.remove("records") {
                    check(&records, &answer["records"])?;
                }
                check(&Value::Object(fields), &answer["error"])?;
            }
            (gives, _) => {
                if !answer["error"].is_null() {
                    return Err("this failed, but must succeed".to_owned());
                }
                let mut gives = gives.clone();
                let first = gives.as_object_mut().and_then(|fields| fields.remove("first"));
                if let Some(first) = first {
                    check(&first, &answer["ok"]["records"][0]["position"])?;
                }
                let gives = if gives.is_null() { json!({}) } else { gives };
                check(&gives, &answer["ok"])?;
            }
        }
        for (variable, field) in step["save"].as_object().into_iter().flatten() {
            let field = field.as_str().unwrap_or_default();
            let value = answer["ok"].pointer(&format!("/{field}"));
            let value = value.ok_or_else(|| format!("the answer has no {field}"))?;
            self.variables.insert(variable.clone(), value.clone());
        }
        Ok(())
    }
}

/// Records have positions without a gap, and times that do not go back.
fn check_records(records: &Value) -> Result<(), String> {
    let records = records.as_array().map_or(&[][..], Vec::as_slice);
    let field = |record: &Value, name: &str| {
        record[name].as_u64().ok_or_else(|| format!("a record has no {name}: {record}"))
    };
    let mut before: Option<(u64, u64)> = None;
    for record in records {
        let (position, timestamp) = (field(record, "position")?, field(record, "timestamp")?);
        if timestamp < TIMESTAMP_MIN {
            return Err(format!("the timestamp is not a time in µs: {record}"));
        }
        match before.replace((position, timestamp)) {
            Some((last, time)) if position != last + 1 || timestamp < time => {
                return Err(format!("position {last} at {time} is followed by {record}"));
            }
            _ => {}
        }
    }
    Ok(())
}
