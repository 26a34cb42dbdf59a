//! The probe: races conditional writes, and refuses a store in which more than one wins.
//!
//! Some services accept the headers of conditional writes and check them, but not atomically: then
//! two writers both believe that they have replaced a manifest. One request after the other never
//! shows that. So the probe sends many at the same moment. It is a sample and not a proof, so
//! docs/archive.md lists the services that were tested.

use bytes::Bytes;
use futures_util::future::join_all;

use crate::random;
use crate::store::{Error, Kind, Store, Version};

/// The folder of the probe's objects.
const FOLDER: &str = "probe";

/// How often each race is run.
const ROUNDS: usize = 4;

/// The writers of each race.
const WRITERS: usize = 8;

/// The longest object of the probe.
const BYTES_MAX: u64 = 1024;

/// Races conditional writes in the store. Takes about 80 requests, and leaves no object.
///
/// # Errors
/// [`Kind::Invalid`] if the store cannot be used for an archive: it does not know conditional
/// writes, or more than one writer won. Other kinds if it could not be asked.
pub async fn probe(store: &Store) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let key = format!("{FOLDER}/{:032x}", random::number()?);
        let result = race(store, &key).await;
        // An object that is left after a failure has a random name, and disturbs no later probe.
        let removed = store.delete(&key).await;
        result?;
        removed?;
    }
    Ok(())
}

/// Races creations of an object, and then updates of it.
async fn race(store: &Store, key: &str) -> Result<(), Error> {
    let created = winner(store, key, None, "creations").await?;
    let updated = winner(store, key, Some(&created), "updates").await?;
    if updated == created {
        return Err(refused(store, "the version of an object did not change with its bytes"));
    }
    let late = store.put_if(key, Some(&created), Bytes::from_static(b"late")).await;
    match late {
        Err(e) if e.kind == Kind::Condition => Ok(()),
        Err(e) if e.kind != Kind::Invalid => Err(e),
        Ok(_) => Err(refused(store, "an update with an old version was accepted")),
        Err(e) => Err(refused(store, &e.why)),
    }
}

/// Runs one race. Returns the version that the winner wrote.
async fn winner(
    store: &Store,
    key: &str,
    expected: Option<&Version>,
    what: &str,
) -> Result<Version, Error> {
    let mut writers = Vec::with_capacity(WRITERS);
    for _ in 0..WRITERS {
        let bytes = Bytes::from(format!("{:032x}", random::number()?));
        writers.push(async move { (bytes.clone(), store.put_if(key, expected, bytes).await) });
    }
    let mut won = Vec::new();
    let mut failed = None;
    for (bytes, outcome) in join_all(writers).await {
        match outcome {
            Ok(_) => won.push(bytes),
            Err(e) if e.kind == Kind::Condition => {}
            Err(e) if e.kind == Kind::Invalid => return Err(refused(store, &e.why)),
            Err(e) => failed = Some(e),
        }
    }
    if won.len() > 1 {
        let (winners, writers) = (won.len(), WRITERS);
        return Err(refused(
            store,
            &format!("{winners} of {writers} simultaneous {what} of one object were successful"),
        ));
    }
    let read = store.get(key, BYTES_MAX).await;
    match (won.pop(), read) {
        (Some(won), Ok((bytes, version))) if won == bytes => Ok(version),
        (Some(_), Ok(_)) => {
            Err(refused(store, "an object does not have the bytes of the only successful write"))
        }
        (Some(_), Err(e)) if e.kind == Kind::Missing => {
            Err(refused(store, "an object is missing after a successful write"))
        }
        (_, Err(e)) => Err(failed.unwrap_or(e)),
        // The winner's answer was lost. A refusal of all would be strange.
        (None, Ok((_, version))) => match failed {
            Some(_) => Ok(version),
            None => Err(refused(store, &format!("all simultaneous {what} were refused"))),
        },
    }
}

fn refused(store: &Store, why: &str) -> Error {
    let location = store.location();
    Error::new(
        Kind::Invalid,
        location.to_string(),
        format!(
            "this store cannot hold an archive, because its conditional writes are not reliable: \
             {why} (use a service that docs/archive.md lists as tested, without a cache or a \
             replicating endpoint in front of it)"
        ),
    )
}
