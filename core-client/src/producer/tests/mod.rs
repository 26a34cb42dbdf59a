//! A producer against a peer that is driven by hand.

mod appending;
mod ending;
mod healing;
mod waiting;

use std::thread::{self, JoinHandle};

use super::peer::{Connection, PATIENCE, Peer};
use super::{Ack, Builder, Producer};
use crate::client::Client;
use crate::error::Error;
use crate::wait::{block_on, block_on_for};

/// A producer on its way to be open.
fn opening(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
) -> JoinHandle<Result<Producer, Error>> {
    let client = Client::builder(&peer.address()).build().expect("good options");
    let builder = options(client.producer("orders"));
    thread::spawn(move || block_on(builder.open()))
}

fn open(peer: &Peer, options: impl FnOnce(Builder) -> Builder) -> (Producer, Connection) {
    open_with(peer, options, &[])
}

fn open_with(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
    headers: &[(&str, &str)],
) -> (Producer, Connection) {
    let opening = opening(peer, options);
    let connection = peer.welcome(headers);
    (opening.join().expect("no panic").expect("it opens"), connection)
}

/// Waits for something that must come.
fn wait<T>(future: impl Future<Output = T>) -> T {
    block_on_for(std::pin::pin!(future), PATIENCE).expect("it comes")
}

fn append(producer: &Producer, text: &str) -> Ack {
    wait(producer.append(text.as_bytes())).expect("it is taken")
}
