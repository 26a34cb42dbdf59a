//! Access control.

mod audit;
mod browsers;
mod exposure;
mod lifecycle;
mod matrix;
mod secrets;
mod signed;
mod streams;
mod token_file;
