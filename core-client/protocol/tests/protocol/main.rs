//! Tests of the protocol crate as its users see it: golden bytes, the sessions that the
//! documentation prints, and properties of arbitrary bytes.

mod properties;
mod streams;
mod vectors;
mod worked_example;
