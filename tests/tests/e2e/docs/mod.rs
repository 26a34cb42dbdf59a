//! The documents: commands work, links point to files, named tests exist.

mod commands;
mod test_names;
