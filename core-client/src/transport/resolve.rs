//! [`Resolver`]: the IP addresses of the server's host name.

use std::io;
use std::net::SocketAddr;

/// Looks up host names.
#[derive(Debug, Clone, Default)]
pub(crate) enum Resolver {
    /// The system's resolver.
    #[default]
    System,
    /// A table of one name, in place of the system's resolver.
    #[cfg(test)]
    Simulated(std::sync::Arc<SimulatedNames>),
}

impl Resolver {
    /// The addresses of a host, at least one.
    ///
    /// # Errors
    /// The host is unknown, or the lookup failed.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found: Vec<SocketAddr> = match self {
            Resolver::System => tokio::net::lookup_host((host, port)).await?.collect(),
            #[cfg(test)]
            Resolver::Simulated(names) => names.resolve().into_iter().collect(),
        };
        match found.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(found),
        }
    }
}

/// A host name that some lookups do not find.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct SimulatedNames {
    /// The number of lookups so far.
    pub(crate) lookups: std::sync::atomic::AtomicU64,
    /// The lookups that fail.
    pub(crate) unknown: std::ops::Range<u64>,
    pub(crate) address: SocketAddr,
}

#[cfg(test)]
impl SimulatedNames {
    fn resolve(&self) -> Option<SocketAddr> {
        let lookup = self.lookups.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (!self.unknown.contains(&lookup)).then_some(self.address)
    }
}
