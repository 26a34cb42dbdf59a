//! Refuses a connection when there are too many: 503, then close.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that get a 503 at the same time; more are closed without one.
const REFUSALS_MAX: usize = 64;
const TIME_MAX: Duration = Duration::from_secs(1);
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
Content-Type: application/json\r\n\
Content-Length: 87\r\n\
Retry-After: 1\r\n\
Connection: close\r\n\
\r\n\
{\n  \"code\": \"overloaded\",\n  \"message\": \"max_connections are open; try again shortly\"\n}\n";

static REFUSALS: AtomicUsize = AtomicUsize::new(0);

/// Answers 503 and closes the connection in the background.
pub(super) fn refuse(mut stream: TcpStream) {
    if REFUSALS.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX {
        REFUSALS.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    tokio::spawn(async move {
        let refusing = async {
            stream.write_all(ANSWER).await?;
            stream.shutdown().await?;
            // Closing with unread bytes would send a reset and destroy the answer.
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            std::io::Result::Ok(())
        };
        let _ = tokio::time::timeout(TIME_MAX, refusing).await;
        REFUSALS.fetch_sub(1, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_of_the_answer_is_correct() {
        let text = std::str::from_utf8(ANSWER).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
