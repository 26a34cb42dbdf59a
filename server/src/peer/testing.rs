//! What the unit tests of several modules need.

use tokio::net::{TcpListener, TcpStream};

/// Both ends of a new connection: the peer's, then ours.
pub(crate) async fn connected_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (peer.expect("connect"), accepted.expect("accept").0)
}
