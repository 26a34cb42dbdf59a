//! [`Signal`]: a descriptor that is readable while it is raised.
//!
//! What it is raised for, and when it is lowered, is its owner's: it raises and
//! lowers under the lock of what it watches over, and so the descriptor tells
//! the truth at every moment. Neither call waits for anything. On Linux it is
//! an eventfd, elsewhere a pipe; both are closed on `exec`.

#[cfg(any(not(target_os = "linux"), test))]
mod pipe;

#[cfg(target_os = "linux")]
mod eventfd;

#[cfg(target_os = "linux")]
pub(crate) use eventfd::Signal;
#[cfg(not(target_os = "linux"))]
pub(crate) use pipe::Signal;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use crate::completion::readable;

    macro_rules! check {
        ($signal:ty) => {{
            let signal = <$signal>::new().expect("a descriptor");
            let is_raised = || readable(signal.as_fd(), Some(std::time::Duration::ZERO));
            assert!(!is_raised(), "raised when new");
            for times in [1, 2, 100_000] {
                (0..times).for_each(|_| signal.raise());
                assert!(is_raised() && is_raised(), "not raised after {times} times");
                signal.lower();
                assert!(!is_raised(), "still raised after {times} times");
                signal.lower();
                assert!(!is_raised());
            }
        }};
    }

    #[test]
    fn it_is_readable_exactly_while_raised() {
        #[cfg(target_os = "linux")]
        check!(super::eventfd::Signal);
        check!(super::pipe::Signal);
    }
}
