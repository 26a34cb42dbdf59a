//! A producer against a peer that the test controls step by step.

mod appending;
mod encoded;
mod ending;
mod healing;
mod peer;
mod settled;
mod stats;
mod waiting;

use std::thread::{self, JoinHandle};

use super::{Ack, Builder, Producer};
use crate::client::Client;
use crate::error::Error;
use crate::wait::{block_on, block_on_for};
use peer::{PATIENCE, Peer, PeerConnection};

/// A producer that is being opened.
fn opening(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
) -> JoinHandle<Result<Producer, Error>> {
    let client = Client::builder(&peer.address()).build().expect("good options");
    let builder = options(client.producer("orders"));
    thread::spawn(move || block_on(builder.open()))
}

fn open(peer: &Peer, options: impl FnOnce(Builder) -> Builder) -> (Producer, PeerConnection) {
    open_with(peer, options, &[])
}

fn open_with(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
    headers: &[(&str, &str)],
) -> (Producer, PeerConnection) {
    let opening = opening(peer, options);
    let connection = peer.welcome(headers);
    (opening.join().expect("no panic").expect("it opens"), connection)
}

/// Waits for a future that must become ready.
fn wait<T>(future: impl Future<Output = T>) -> T {
    block_on_for(std::pin::pin!(future), PATIENCE).expect("it comes")
}

fn append(producer: &Producer, text: &str) -> Ack {
    wait(producer.append(text.as_bytes())).expect("it is taken")
}
