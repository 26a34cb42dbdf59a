//! Tells the linker that an addon is loaded by Node.js.

fn main() {
    napi_build::setup();
}
