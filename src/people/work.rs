//! A person's word is acted on in a task of its own, to its end: whoever hangs up meanwhile, what it
//! came to is written down, and the end of the process waits for that.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::admin::OpsError;
use crate::server::Tasks;

/// Words that are acted on at a time; whoever hangs up leaves theirs here.
const MOST: usize = 16;

/// Where words are acted on. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Work {
    tasks: Tasks,
    ending: CancellationToken,
    room: Arc<Semaphore>,
}

impl Work {
    /// Among `tasks`, which are awaited after `ending`.
    pub(super) fn among(tasks: Tasks, ending: CancellationToken) -> Self {
        Self { tasks, ending, room: Arc::new(Semaphore::new(MOST)) }
    }

    /// Whether the process ends: what is begun is finished, and nothing more is begun.
    pub(super) fn ends(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Does `word` to its end, whether or not anybody waits for that.
    pub(super) async fn done<T: Send + 'static>(
        &self,
        word: impl Future<Output = Result<T, OpsError>> + Send + 'static,
    ) -> Result<T, OpsError> {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return Err(OpsError::Busy);
        };
        let (tell, told) = oneshot::channel();
        let word = Box::pin(word);
        self.tasks.spawn(async move {
            let came = word.await;
            drop(place);
            if tell.send(came).is_err() {
                warn!("nobody waited to hear what became of the operations that were resolved");
            }
        });
        let lost = |_ended| Err(OpsError::Unknown("payonce failed over it".to_owned()));
        told.await.unwrap_or_else(lost)
    }
}
