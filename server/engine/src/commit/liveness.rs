//! [`Liveness`]: proves that the threads that commit still take work.

use std::sync::Mutex;

use super::thread_pool::{Job, ThreadPool};
use crate::Error;
use crate::sync::lock;
use crate::wait::{Completion, Promise, promise};

/// A job that only reports that a committer has run it. It waits behind all other jobs, so it also
/// shows that committers finish them.
#[derive(Debug)]
struct Liveness(Mutex<Option<Promise<()>>>);

impl Job for Liveness {
    fn run(&self) -> bool {
        let promise = lock(&self.0).take();
        if let Some(promise) = promise {
            promise.complete(Ok(()));
        }
        false
    }
}

/// Resolves when a committer has taken a job that is submitted now.
pub(crate) fn committer_is_free(pool: &ThreadPool) -> impl Future<Output = ()> + use<> {
    let (promise, completion): (_, Completion<()>) = promise();
    pool.submit(std::sync::Arc::new(Liveness(Mutex::new(Some(promise)))));
    async move {
        // It fails only if the pool is gone.
        let _: Result<(), Error> = completion.await;
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::task::{Context, Waker};

    use super::*;

    /// A job that ends when its test says so, as a commit on a disk that hangs.
    #[derive(Debug)]
    struct Stuck(Mutex<mpsc::Receiver<()>>);

    impl Job for Stuck {
        fn run(&self) -> bool {
            let _ = lock(&self.0).recv();
            false
        }
    }

    #[test]
    fn committers_that_hang_take_no_job_until_they_continue() {
        let pool = ThreadPool::new("styx-commit", 1);
        let (release, stuck) = mpsc::channel();
        pool.submit(Arc::new(Stuck(Mutex::new(stuck))));
        let mut free = std::pin::pin!(committer_is_free(&pool));
        let mut context = Context::from_waker(Waker::noop());
        assert!(free.as_mut().poll(&mut context).is_pending());
        release.send(()).expect("the job waits");
        while free.as_mut().poll(&mut context).is_pending() {
            std::thread::yield_now();
        }
    }
}
