//! What the examples share: their command line. Each program in `src/bin` is
//! complete but for that, and says in its first lines what it shows.
//!
//! The programs in docs/rust.md are compiled as tests of this crate.

/// The server's address and the arguments that `usage` names, such as
/// `"LOG FILE"`.
///
/// The address is that behind `-H`, or in `STYX_HOST`, or else
/// `styx://localhost:7123`. Ends the program when arguments are missing or too
/// many.
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
