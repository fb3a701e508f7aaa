//! Tasks that shutdown waits for. The only place that spawns.

use std::future::Future;

use tokio_util::task::TaskTracker;

/// A set of running tasks. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker, #[cfg(feature = "seams")] tokio_util::sync::CancellationToken);

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` to its end, whoever stops waiting meanwhile. Also while closing: what an answer
    /// in flight still has to do is part of the drain.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        #[cfg(feature = "seams")]
        let task = until(self.1.clone(), task);
        // The handle is only a way to wait, which `drained` does; dropping it detaches the task.
        drop(self.0.spawn(task));
    }

    /// Tells the tasks that shutdown has begun.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether shutdown has begun: finish what is under way, begin nothing that can be left.
    #[must_use]
    pub fn closing(&self) -> bool {
        self.0.is_closed()
    }

    /// How many tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.len()
    }

    /// Ends every task where it stands, as the death of the process would.
    #[cfg(feature = "seams")]
    pub fn crash(&self) {
        self.1.cancel();
    }

    /// Waits for the crash.
    #[cfg(feature = "seams")]
    pub async fn crashed(&self) {
        self.1.cancelled().await;
    }

    /// Closes the set and waits until none runs.
    pub async fn drained(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Runs `task` until the crash, after which it is not polled again.
#[cfg(feature = "seams")]
async fn until(crash: tokio_util::sync::CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = crash.cancelled() => {}
        () = task => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_spawned_while_closing_is_still_awaited() {
        let tasks = Tasks::new();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        tasks.close();
        assert!(tasks.closing());
        tasks.spawn(async move { released.await.unwrap() });
        assert_eq!(tasks.running(), 1);
        release.send(()).unwrap();
        tasks.drained().await;
        assert_eq!(tasks.running(), 0);
    }
}
