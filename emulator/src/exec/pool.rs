//! The threads that execute blocks.
//!
//! A launch may come from a worker of someone else's rayon pool, holding locks. A worker that waits for
//! rayon work picks up other tasks meanwhile, which might ask for those locks: so blocks have a pool of
//! their own, and a worker waits for it through a plain thread.

use std::sync::{Arc, PoisonError, RwLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// Executes blocks on so many threads from now on; zero is as many as the machine has, or as
/// `RAYON_NUM_THREADS` says. Nothing but time depends on it.
pub fn set_threads(count: usize) {
    // Without threads of its own, a launch runs on the thread that asked for it.
    let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("emulated-{i}")).build();
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = pool.ok().map(Arc::new);
}

/// Runs something on the pool, if there is one, and waits for it.
pub(crate) fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let current = || POOL.read().unwrap_or_else(PoisonError::into_inner).clone();
    let pool = current().or_else(|| {
        set_threads(0);
        current()
    });
    let Some(pool) = pool else { return work() };
    if rayon::current_thread_index().is_none() {
        return pool.install(work);
    }
    let finished = std::thread::scope(|scope| scope.spawn(|| pool.install(work)).join());
    finished.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
