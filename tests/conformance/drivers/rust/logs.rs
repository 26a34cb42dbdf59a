//! Clients, and the operations of log management and cursors.

use std::fs::File;

use serde_json::{Value, json};
use styx_client::LogConfig;
use styx_client::blocking::Client;

use crate::arguments::Arguments;
use crate::objects::{Failure, Object, Objects};
use crate::options;

pub(crate) fn connect(objects: &mut Objects, arguments: &Arguments<'_>) -> Result<Value, Failure> {
    let mut builder = Client::builder(arguments.text("address")?);
    for (name, text) in options::texts(&arguments.0["options"]) {
        builder = builder.set(&name, &text)?;
    }
    objects.add(arguments.text("as")?, Object::Client(builder.connect()?));
    Ok(json!({}))
}

pub(crate) fn call(client: &Client, op: &str, arguments: &Arguments<'_>) -> Result<Value, Failure> {
    let name = || arguments.text("name");
    let cursor = || Ok::<_, Failure>((arguments.text("log")?, arguments.text("cursor")?));
    Ok(match op {
        "create_log" => {
            json!(client.create_log(name()?, config(arguments)?, arguments.flag("exist_ok"))?)
        }
        "list_logs" => json!({ "logs": client.list_logs()? }),
        "get_log" => json!(client.get_log(name()?)?),
        "get_log_details" => {
            let details = client.get_log_details(name()?)?;
            let mut all = json!(details.info);
            all["id"] = details.id.to_string().into();
            all["config"] = json!(details.config);
            all["timestamp_first"] = details.timestamp_first_us.into();
            all["timestamp_last"] = details.timestamp_last_us.into();
            all
        }
        "delete_log" => nothing(client.delete_log(name()?)?),
        "truncate_log" => nothing(client.truncate_log(name()?)?),
        "trim_log" => json!(client.trim_log(name()?, arguments.number("position")?)?),
        "backup_log" => {
            let mut file = File::create(arguments.text("file")?)?;
            client.backup_log(name()?)?.write_to(&mut file)?;
            json!({})
        }
        "restore_log" => {
            let mut file = File::open(arguments.text("file")?)?;
            nothing(client.restore_log(name()?)?.read_from(&mut file)?)
        }
        "list_cursors" => json!({ "cursors": client.list_cursors(arguments.text("log")?)? }),
        "get_cursor" => {
            let (log, cursor) = cursor()?;
            json!(client.get_cursor(log, cursor)?)
        }
        "set_cursor" => {
            let (log, cursor) = cursor()?;
            json!(client.set_cursor(log, cursor, arguments.number("position")?)?)
        }
        "delete_cursor" => {
            let (log, cursor) = cursor()?;
            nothing(client.delete_cursor(log, cursor)?)
        }
        other => return Err(Failure::Driver(format!("a client has no {other}"))),
    })
}

fn config(arguments: &Arguments<'_>) -> Result<LogConfig, Failure> {
    let config = &arguments.0["config"];
    if config.is_null() {
        return Ok(LogConfig::default());
    }
    serde_json::from_value(config.clone()).map_err(|error| Failure::Driver(error.to_string()))
}

fn nothing((): ()) -> Value {
    json!({})
}
