//! The command line of the examples. Otherwise each program in `src/bin` is complete, and its
//! first lines say what it shows.
//!
//! The programs in docs/rust.md are compiled as tests of this crate.

/// Returns the server's address and the arguments that `usage` names, such as `"LOG FILE"`.
///
/// The address is the value of `-H`, or of `STYX_HOST`, or `styx://localhost:7123`. If there
/// are too few or too many arguments, the program exits with code 2.
#[must_use]
pub fn arguments<const N: usize>(usage: &str) -> (String, [String; N]) {
    let mut address = std::env::var("STYX_HOST").unwrap_or("styx://localhost:7123".to_owned());
    let mut others = Vec::new();
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.len()) {
            ("-H", 1..) => address = arguments.next().unwrap_or_default(),
            _ => others.push(argument),
        }
    }
    match others.try_into() {
        Ok(others) => (address, others),
        Err(_) => {
            eprintln!("usage: {program} [-H ADDRESS] {usage}");
            std::process::exit(2);
        }
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
mod document {}
