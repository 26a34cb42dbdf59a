//! The programs in `examples/`.

mod flights;
mod rust;
