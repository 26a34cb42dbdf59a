//! The rules of RFC 9112 for the head of a request that hyper does not check: one `Host`, and
//! no transfer coding besides `chunked`.
//!
//! hyper itself answers 400 if `chunked` is not the last coding. It takes a body whose chunks
//! hold another coding, such as `gzip, chunked`, for a chunked one, so the compressed bytes
//! would be stored as records.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version, request};
use styx_protocol::Code;

use super::answer::{self, Answer};
use crate::session::Error;

/// The transfer codings of the registry besides `chunked`.
const KNOWN_CODINGS: [&str; 5] = ["gzip", "x-gzip", "deflate", "compress", "x-compress"];

/// The answer to a request with an invalid head. It closes the connection, because the peer and
/// the server may disagree about where the next request begins.
pub(super) fn refusal(head: &request::Parts) -> Option<Answer> {
    if head.version > Version::HTTP_11 {
        return None;
    }
    let is_host_required = head.version == Version::HTTP_11;
    let checked = check_host(&head.headers, is_host_required)
        .and_then(|()| check_transfer_encoding(&head.headers));
    let (status, message) = checked.err()?;
    let mut answer = answer::of_error(&Error::new(Code::InvalidParams, message), None);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(answer)
}

type Checked = Result<(), (StatusCode, String)>;

fn check_host(headers: &HeaderMap, is_required: bool) -> Checked {
    let refused = |message: &str| Err((StatusCode::BAD_REQUEST, message.to_owned()));
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) if is_required => refused(
            "the request has no Host header; HTTP/1.1 requires one, such as Host: localhost",
        ),
        (_, Some(_)) => refused("the request has several Host headers; send one"),
        (Some(host), None) if !host.as_bytes().iter().all(is_host_byte) => {
            refused("the Host header is not the name of a host; send host or host:port")
        }
        _ => Ok(()),
    }
}

/// Whether a host and its port may contain this byte.
fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !b"@/?#\\".contains(byte)
}

fn check_transfer_encoding(headers: &HeaderMap) -> Checked {
    let mut chunked = 0;
    for value in headers.get_all(TRANSFER_ENCODING) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for coding in text.split(',').map(str::trim).filter(|coding| !coding.is_empty()) {
            let is = |known: &str| known.eq_ignore_ascii_case(coding);
            if is("chunked") {
                chunked += 1;
                continue;
            }
            let is_known = KNOWN_CODINGS.into_iter().any(is);
            let status =
                if is_known { StatusCode::NOT_IMPLEMENTED } else { StatusCode::BAD_REQUEST };
            let message = format!(
                "the transfer coding {coding:?} is not supported; send Transfer-Encoding: chunked, \
                 and compress a body with Content-Encoding: gzip or zstd"
            );
            return Err((status, message));
        }
    }
    if chunked > 1 {
        let message = "the body is chunked more than once; send Transfer-Encoding: chunked once";
        return Err((StatusCode::BAD_REQUEST, message.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    fn status(version: Version, headers: &[(HeaderName, &'static [u8])]) -> Option<u16> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.version = version;
        for (name, value) in headers {
            head.headers.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        refusal(&head).map(|answer| {
            assert_eq!(answer.headers()[CONNECTION], "close");
            answer.status().as_u16()
        })
    }

    #[test]
    fn http_1_1_requires_exactly_one_host() {
        let (one, other) = ((HOST, &b"localhost:7123"[..]), (HOST, &b"b"[..]));
        assert_eq!(status(Version::HTTP_11, &[]), Some(400));
        assert_eq!(status(Version::HTTP_10, &[]), None);
        assert_eq!(status(Version::HTTP_2, &[]), None);
        assert_eq!(status(Version::HTTP_2, &[one.clone(), one.clone()]), None);
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert_eq!(status(version, std::slice::from_ref(&one)), None);
            assert_eq!(status(version, &[one.clone(), one.clone()]), Some(400));
            assert_eq!(status(version, &[one.clone(), other.clone()]), Some(400));
        }
        for host in [&b"a b"[..], b"user@a", b"a/b", b"http://a", b"a\xc3\xa4"] {
            assert_eq!(status(Version::HTTP_11, &[(HOST, host)]), Some(400), "{host:?}");
        }
        for host in [&b""[..], b"my_service", b"[::1]:7123", b"[fe80::1%25eth0]"] {
            assert_eq!(status(Version::HTTP_11, &[(HOST, host)]), None, "{host:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        let of = |values: &[&'static [u8]]| -> Option<u16> {
            let encodings = values.iter().map(|value| (TRANSFER_ENCODING, *value));
            let headers: Vec<_> = [(HOST, &b"a"[..])].into_iter().chain(encodings).collect();
            status(Version::HTTP_11, &headers)
        };
        let chunked: [&[&[u8]]; 4] = [&[], &[b"chunked"], &[b"Chunked"], &[b", chunked ,"]];
        let known: [&[&[u8]]; 3] =
            [&[b"gzip, chunked"], &[b"deflate", b"chunked"], &[b"X-GZIP,chunked"]];
        let others: [&[&[u8]]; 4] = [
            &[b"foo, chunked"],
            &[b"chunked, chunked"],
            &[b"chunked", b"chunked"],
            &[b"\xff, chunked"],
        ];
        for (all, expected) in [(&chunked[..], None), (&known, Some(501)), (&others, Some(400))] {
            for values in all {
                assert_eq!(of(values), expected, "{values:?}");
            }
        }
    }
}
