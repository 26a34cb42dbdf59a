//! Passes the properties of the Python interpreter to the compiler, as `cfg`s.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
