//! A server that speaks TLS: everything works as without it, and what is not secure is
//! refused.

mod certificates;
mod client_certificates;
mod clients;
mod contract;
mod handshakes;
mod openssl;
mod self_signed;
