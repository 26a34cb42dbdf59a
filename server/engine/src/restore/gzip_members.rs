//! [`GzipMembers`]: decompresses a gzip file of one or more members, in bounded memory.
//!
//! ```text
//! member | member … | zeros
//! ```
//!
//! Parallel and block compressors write several members. Tapes and tools that write whole blocks
//! pad the end with zeros. Invariant: every compressed byte is a part of a valid member or padding.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// The first byte of a gzip member.
const MEMBER: u8 = 0x1f;

/// Reads the content of all members as one stream.
pub(super) struct GzipMembers<R: Read> {
    /// The current member; `None` after the end or an error.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> GzipMembers<R> {
    pub(super) fn new(from: R) -> GzipMembers<R> {
        GzipMembers { member: Some(GzDecoder::new(BufReader::new(from))) }
    }

    /// Continues after a member, with the next one or at the end.
    fn next_member(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else { return Ok(()) };
        let mut rest = member.into_inner();
        let next = rest.fill_buf()?.first().copied();
        match next {
            None => Ok(()),
            Some(MEMBER) => {
                self.member = Some(GzDecoder::new(rest));
                Ok(())
            }
            Some(_) => check_zeros(&mut rest),
        }
    }
}

impl<R: Read> Read for GzipMembers<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}

/// Reads to the end, and checks that all bytes are zeros.
fn check_zeros(rest: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let bytes = rest.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "there are bytes after its end that are not gzip \
                 (decompress it with `gzip -d` and compress it again)",
            ));
        }
        rest.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).expect("memory");
        out.finish().expect("memory")
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        GzipMembers::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn members_are_one_stream_and_zeros_may_follow_them() {
        let members = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
        assert_eq!(decompress(&members).expect("members"), b"onetwo");
        let padded = [members, vec![0; 20_000]].concat();
        assert_eq!(decompress(&padded).expect("padding"), b"onetwo");
    }

    #[test]
    fn other_bytes_after_a_member_and_incomplete_members_are_errors() {
        let good = gzip(b"one");
        let error = |bytes: Vec<u8>| decompress(&bytes).expect_err("refused").to_string();
        let not_gzip = "not gzip";
        assert!(error([good.clone(), b"x".to_vec()].concat()).contains(not_gzip));
        assert!(error([good.clone(), vec![0; 9000], b"x".to_vec()].concat()).contains(not_gzip));
        assert!(error([good.clone(), vec![0], good.clone()].concat()).contains(not_gzip));
        for cut in 1..good.len() {
            let _ = error([&good[..], &good[..cut]].concat());
        }
        let mut flipped = [good.clone(), good.clone()].concat();
        let at = good.len() - 8;
        flipped[at] ^= 1;
        let _ = error(flipped);
    }
}
