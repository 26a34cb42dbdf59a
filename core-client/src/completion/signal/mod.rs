//! [`Signal`]: a file descriptor that is readable while the signal is raised.
//!
//! The owner decides when to raise and lower it. It does so under the lock of the state
//! that the signal describes, so the descriptor always agrees with that state. Neither
//! call waits. On Linux a signal is an eventfd, elsewhere a pipe; both are closed on
//! `exec`.

#[cfg(any(not(target_os = "linux"), test))]
mod pipe;

#[cfg(target_os = "linux")]
mod eventfd;

#[cfg(target_os = "linux")]
pub(crate) use eventfd::EventfdSignal as Signal;
#[cfg(not(target_os = "linux"))]
pub(crate) use pipe::PipeSignal as Signal;

#[cfg(test)]
mod tests {
    use crate::completion::descriptor::readable;

    macro_rules! check {
        ($signal:ty) => {{
            let signal = <$signal>::new().expect("a descriptor");
            let is_raised = || readable(&signal, Some(std::time::Duration::ZERO));
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
    fn descriptor_is_readable_exactly_while_raised() {
        #[cfg(target_os = "linux")]
        check!(super::eventfd::EventfdSignal);
        check!(super::pipe::PipeSignal);
    }
}
