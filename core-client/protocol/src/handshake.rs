//! How an HTTP request becomes a stream: the `Upgrade` header, and the query
//! parameters of a producer.
//!
//! The names of the headers are in [`header`](crate::header); what a consumer
//! asks for is a [`ReadParams`](crate::ReadParams), as everywhere.

use std::num::NonZeroU64;

use crate::read::InvalidParam;

/// The query parameter with a producer's id.
pub const PRODUCER_PARAMETER: &str = "producer";
/// The query parameter with a producer's epoch.
pub const EPOCH_PARAMETER: &str = "epoch";

/// A stream protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// styx/0, of the first clients.
    Styx0,
    /// styx/1.
    Styx1,
}

impl Protocol {
    /// All of them as the value of an `Upgrade` header, the best first: what a
    /// 426 answers.
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

/// What `Upgrade` headers ask for, as far as it concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// A protocol of ours.
    Known(Protocol),
    /// Some `styx/…` that this version does not know: to be answered 426.
    Unknown,
    /// Nothing of ours.
    None,
}

impl Offer {
    /// The first token we know, in the order of the client's preference; any
    /// letter case, one header with a list or several.
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

/// Who a stream's producer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerParams {
    /// Its id, which it has drawn at random.
    pub id: NonZeroU64,
    /// The epoch it was given before; `None` asks for the next one.
    pub epoch: Option<u32>,
}

impl ProducerParams {
    /// Reads both parameters out of a query. Names in any letter case, unknown
    /// ones are ignored, an empty value is none, the last duplicate wins.
    /// `None` without a producer.
    ///
    /// # Errors
    /// A number that cannot be understood, an id of 0, an epoch without an id.
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
    // `parse` takes a `+`, which is how a query writes a space.
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.map(Some).ok_or_else(|| InvalidParam::new(name, text, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_protocol_we_know_is_taken() {
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
    fn a_producer_is_an_id_and_perhaps_an_epoch() {
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
