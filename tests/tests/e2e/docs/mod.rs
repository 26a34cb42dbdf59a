//! The documents: commands work, links lead somewhere, named tests exist.

mod commands;
mod test_names;
