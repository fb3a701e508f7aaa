//! Tasks that shutdown waits for. The only place that spawns.

use std::future::Future;

use tokio_util::task::TaskTracker;

/// A set of running tasks. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

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

    /// Closes the set and waits until none runs.
    pub async fn drained(&self) {
        self.0.close();
        self.0.wait().await;
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
