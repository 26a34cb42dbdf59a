//! `styx archive copy`: copies logs to another archive.

use serde_json::json;
use styx_archive::copy::{CopyOptions, copy};
use styx_archive::store::Store;
use styx_archive::which::Which;
use styx_server::config::Archive;

use super::{failed, open, problems};
use crate::command_line::{CopyArguments, Format};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::{output, serve};

pub(super) fn run(arguments: &CopyArguments, format: Format) -> Result<(), Failure> {
    let (from, archive) = open(&arguments.store)?;
    let to = target(arguments, &archive)?;
    let which = match (&arguments.log, arguments.id) {
        (_, Some(id)) => Some(Which::Id(id)),
        (Some(name), None) => Some(Which::Name(name.clone())),
        (None, None) => None,
    };
    let options = CopyOptions { which, uploads: usize::from(arguments.uploads) };
    let mut progress = Progress::of_bytes(Some(0));
    let copied = copy(&from, &to, &options, &mut |at| {
        if at.what == "copying" {
            progress.set_bytes(at.done, at.total);
        }
    });
    drop(progress);
    let copied = copied.map_err(failed)?;
    output::print(&match format {
        Format::Text => format!(
            "copied {} logs to {}: {} objects with {} bytes; {} objects were there already\n",
            copied.logs,
            to.location(),
            copied.objects,
            copied.bytes,
            copied.skipped
        ),
        Format::Json => {
            let json = json!({
                "to": to.location().to_string(),
                "logs": copied.logs,
                "objects": copied.objects,
                "bytes": copied.bytes,
                "skipped": copied.skipped,
                "problems": copied.problems,
            });
            format!("{json:#}\n")
        }
    })?;
    problems(&copied.problems)
}

/// The target. Settings that are not given are those of the source, if both have the same scheme.
fn target(arguments: &CopyArguments, source: &Archive) -> Result<Store, Failure> {
    let CopyArguments { to, to_endpoint, to_region, to_credentials_file, .. } = arguments;
    let scheme = |url: &str| url.split_once("://").map(|(scheme, _)| scheme.to_owned());
    let source_url = source.url.as_ref().map(ToString::to_string).unwrap_or_default();
    let is_same_kind = scheme(to) == scheme(&source_url);
    if *to == source_url && to_endpoint.is_none() {
        return Err(Failure::Misuse("--to is the archive from which to copy".to_owned()));
    }
    let setting = |given: &Option<String>, of_source: &String| match given {
        Some(given) => given.clone(),
        None if is_same_kind => of_source.clone(),
        None => String::new(),
    };
    let mut overrides = vec![
        ("archive.url".to_owned(), to.clone()),
        ("archive.endpoint".to_owned(), setting(to_endpoint, &source.endpoint)),
        ("archive.region".to_owned(), setting(to_region, &source.region)),
    ];
    let credentials = to_credentials_file.as_ref().map(|file| file.display().to_string());
    if credentials.is_some() || !is_same_kind {
        let file = credentials.unwrap_or_default();
        overrides.push(("archive.credentials_file".to_owned(), file));
    }
    let config = arguments.store.config.as_deref();
    let archive = serve::load(config, &overrides)?.config.archive;
    Store::open(to, &archive.store_options()).map_err(failed)
}
