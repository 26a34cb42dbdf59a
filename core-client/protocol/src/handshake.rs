//! How an HTTP request becomes a stream: the `Upgrade` header, and the query
//! parameters of a producer.
//!
//! The names of the headers are in [`header`](crate::header). A consumer's parameters are
//! [`ReadParams`](crate::ReadParams), as in every read.

use std::num::NonZeroU64;

use crate::read::InvalidParam;

/// The query parameter with a producer's id.
pub const PRODUCER_PARAMETER: &str = "producer";
/// The query parameter with a producer's epoch.
pub const EPOCH_PARAMETER: &str = "epoch";

/// A stream protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// styx/0, the protocol of the first clients.
    Styx0,
    /// styx/1.
    Styx1,
}

impl Protocol {
    /// All protocols as the value of an `Upgrade` header, the best one first. A 426 response
    /// has it.
    pub const KNOWN: &str = "styx/1, styx/0";

    /// The token in `Upgrade` headers.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Protocol::Styx0 => "styx/0",
            Protocol::Styx1 => "styx/1",
        }
    }
}

/// The protocol that `Upgrade` headers request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// A protocol of this version.
    Known(Protocol),
    /// Another `styx/…` that this version does not support: respond with 426.
    Unknown,
    /// No Styx protocol.
    None,
}

impl Offer {
    /// The first supported token, in the client's order of preference. Tokens may be in any
    /// letter case, in one header or several.
    #[must_use]
    pub fn parse<'v>(values: impl IntoIterator<Item = &'v str>) -> Offer {
        let mut offer = Offer::None;
        for token in values.into_iter().flat_map(|value| value.split(',')).map(str::trim) {
            let known = [Protocol::Styx1, Protocol::Styx0];
            let known = known.into_iter().find(|known| token.eq_ignore_ascii_case(known.token()));
            if let Some(known) = known {
                return Offer::Known(known);
            }
            if token.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("styx/")) {
                offer = Offer::Unknown;
            }
        }
        offer
    }
}

/// The producer of a stream, as the client identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerParams {
    /// The producer's id.
    pub id: NonZeroU64,
    /// The producer's epoch; `None` requests the next one.
    pub epoch: Option<u32>,
}

impl ProducerParams {
    /// Reads both parameters from a query. Names may be in any letter case, and unknown names
    /// are ignored. An empty value means none. Of duplicates, the last one counts. `None`
    /// without a producer.
    ///
    /// # Errors
    /// An invalid number, an id of 0, or an epoch without an id.
    pub fn parse<N, V>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Option<ProducerParams>, InvalidParam>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let (mut producer, mut epoch) = (None, None);
        for (name, value) in pairs {
            let value = (!value.as_ref().is_empty()).then_some(value);
            if name.as_ref().eq_ignore_ascii_case(PRODUCER_PARAMETER) {
                producer = value;
            } else if name.as_ref().eq_ignore_ascii_case(EPOCH_PARAMETER) {
                epoch = value;
            }
        }
        let accepted = "a whole number from 1 to 2^64 - 1";
        let id = number(PRODUCER_PARAMETER, producer.as_ref().map(V::as_ref), accepted)?;
        let accepted = "a whole number from 0 to 2^32 - 1";
        let number = number(EPOCH_PARAMETER, epoch.as_ref().map(V::as_ref), accepted)?;
        match (id, number) {
            (Some(id), epoch) => Ok(Some(ProducerParams { id, epoch })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let accepted = "the producer's id, with epoch";
                Err(InvalidParam::new(PRODUCER_PARAMETER, "", accepted))
            }
        }
    }

    /// The query, `producer=…` or `producer=…&epoch=…`.
    #[must_use]
    pub fn to_query(&self) -> String {
        let producer = format!("{PRODUCER_PARAMETER}={}", self.id);
        match self.epoch {
            Some(epoch) => format!("{producer}&{EPOCH_PARAMETER}={epoch}"),
            None => producer,
        }
    }
}

fn number<T: std::str::FromStr>(
    name: &'static str,
    text: Option<&str>,
    accepted: &'static str,
) -> Result<Option<T>, InvalidParam> {
    let Some(text) = text else { return Ok(None) };
    // `parse` accepts a `+`, but in a query it means a space.
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.map(Some).ok_or_else(|| InvalidParam::new(name, text, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_known_protocol_is_chosen() {
        let check = |values: &[&str], offer| {
            assert_eq!(Offer::parse(values.iter().copied()), offer, "{values:?}");
        };
        check(&[], Offer::None);
        check(&["websocket, h2c"], Offer::None);
        check(&["StYx/0"], Offer::Known(Protocol::Styx0));
        check(&["websocket", "styx/1"], Offer::Known(Protocol::Styx1));
        check(&["styx/2 , styx/0, styx/1"], Offer::Known(Protocol::Styx0));
        check(&["STYX/2"], Offer::Unknown);
        check(&["styx/"], Offer::Unknown);
        check(&["styx/01", "sty\u{fc}/0"], Offer::Unknown);
        check(&[Protocol::KNOWN], Offer::Known(Protocol::Styx1));
    }

    #[test]
    fn producer_has_an_id_and_an_optional_epoch() {
        let parse = |query: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            ProducerParams::parse(pairs)
        };
        for query in ["producer=7", "producer=18446744073709551615&epoch=0"] {
            let producer = parse(query).expect("is good").expect("is one");
            assert_eq!(producer.to_query(), query);
        }
        assert_eq!(parse("whence=end&producer="), Ok(None));
        let last = parse("PRODUCER=1&producer=2&Epoch=3");
        assert_eq!(last.map(|p| p.map(|p| p.to_query())), Ok(Some("producer=2&epoch=3".into())));
        for (query, name) in [
            ("producer=0", "producer"),
            ("producer=-1", "producer"),
            ("producer=+1", "producer"),
            ("producer=18446744073709551616", "producer"),
            ("producer=1&epoch=4294967296", "epoch"),
            ("epoch=1", "producer"),
        ] {
            assert_eq!(parse(query).map_err(|error| error.name), Err(name), "{query}");
        }
    }
}
