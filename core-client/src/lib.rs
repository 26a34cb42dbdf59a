//! Client core of the Styx event streaming database.
