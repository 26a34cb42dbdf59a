//! Peers in place of a server, so that a benchmark measures the client and a little of
//! the loopback interface. Each serves its connections on threads of its own.

#![allow(dead_code, reason = "each benchmark uses one of the peers")]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::{Header, Origin, build};
use styx_protocol::frame::{Ack, Event, FrameDecoder, Route, blocks_header, encode_end};
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::Builder;
use styx_protocol::{Position, header};

const LOG_ID: &str = "000102030405060708090a0b0c0d0e0f";

/// A peer that acks every block at once and forgets it. Returns its address.
pub(crate) fn acking() -> String {
    serve(|mut stream| {
        read_request(&mut stream)?;
        let limits = [
            (header::MAX_BLOCK_SIZE, "1048576"),
            (header::MAX_IN_FLIGHT_BLOCKS, "128"),
            (header::EPOCH, "1"),
        ];
        stream.write_all(welcome(&limits).as_bytes())?;
        let mut decoder = FrameDecoder::new(Route::ProducerToServer, 0);
        let (mut bytes, mut next, mut ack) = (vec![0; 1 << 20], 0, Ack::default());
        loop {
            let read = stream.read(&mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            decoder.push(&bytes[..read]);
            let mut is_due = false;
            while let Some(event) = decoder.next().map_err(io::Error::other)? {
                if let Event::Block(block) = event {
                    let (header, _) = Header::decode(&block).map_err(io::Error::other)?;
                    ack.add(Position(next), header.count);
                    (next, is_due) = (next + u64::from(header.count), true);
                }
            }
            if is_due {
                let mut frame = BytesMut::new();
                ack.encode(&mut frame);
                stream.write_all(&frame)?;
            }
        }
    })
}

/// A peer whose log has these blocks, from position 0 on. It sends all of them on every
/// connection. Returns its address.
pub(crate) fn sending(blocks: &[Bytes], records: u64) -> String {
    let mut stream = BytesMut::new();
    for block in blocks {
        stream.extend_from_slice(&blocks_header(block.len()));
        stream.extend_from_slice(block);
    }
    encode_end(false, &mut stream);
    let (frames, end) = (stream.freeze(), records.to_string());
    serve(move |mut stream| {
        read_request(&mut stream)?;
        let positions = [
            (header::START_POSITION, "0"),
            (header::POSITION, "0"),
            (header::END_POSITION, end.as_str()),
        ];
        stream.write_all(welcome(&positions).as_bytes())?;
        stream.write_all(&frames)?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}

/// Blocks of `records` payloads of this size, with positions from 0 on.
pub(crate) fn blocks(records: u64, block_bytes: usize, payload_bytes: usize) -> Vec<Bytes> {
    let payload = vec![b'x'; payload_bytes];
    let per_block = (block_bytes / (RECORD_HEADER_BYTES + payload_bytes)) as u64;
    let (mut blocks, mut base) = (Vec::new(), 0);
    while base < records {
        let mut builder = Builder::new();
        for _ in 0..per_block.min(records - base) {
            assert!(builder.push(&payload), "less than a block");
        }
        let block = builder.take();
        let origin = Origin { expected: Some(Position(base)), ..Origin::default() };
        blocks.push(build(&block, origin));
        base += u64::from(block.count());
    }
    blocks
}

fn serve(connection: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let connection = Arc::new(connection);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = Arc::clone(&connection);
            // A connection ends with an error when the client closes it.
            std::thread::spawn(move || connection(stream));
        }
    });
    format!("styx://{address}")
}

fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(())
}

fn welcome(headers: &[(impl AsRef<str>, &str)]) -> String {
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: styx/1\r\n\
         {}: {LOG_ID}\r\n{}: 3600\r\n",
        header::LOG_ID,
        header::TIMEOUT,
    );
    for (name, value) in headers {
        answer.push_str(&format!("{}: {value}\r\n", name.as_ref()));
    }
    answer + "\r\n"
}
