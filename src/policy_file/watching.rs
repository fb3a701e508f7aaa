//! Hearing of changes: events of the file's directory, and a timer for when none comes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::PolicyFile;

/// Events come in bursts: one change of a `ConfigMap` is a dozen of them.
pub(crate) const BURST: Duration = Duration::from_millis(200);

impl PolicyFile {
    /// Reloads whenever the file's directory changes and every `every`, until `stop`. Begins with a
    /// reload, for what changed since the start.
    pub async fn watch(&self, every: Duration, stop: CancellationToken) {
        let Some(path) = &self.path else { return stop.cancelled().await };
        let changed = Arc::new(Notify::new());
        let mut watcher = Err(None);
        loop {
            if let Err(before) = &watcher {
                watcher = self.start_watching(path, &changed, before.as_deref());
            }
            self.reload().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => self.clock.sleep(BURST).await,
                () = self.clock.sleep(every) => {}
            }
        }
    }

    /// An error if the directory cannot be watched now; the next round tries again. What was the
    /// matter `before` is not said twice.
    fn start_watching(
        &self,
        path: &Path,
        changed: &Arc<Notify>,
        before: Option<&str>,
    ) -> Result<RecommendedWatcher, Option<String>> {
        let started = start(path, Arc::clone(changed)).map_err(|why| why.to_string());
        self.status.send_if_modified(|status| {
            let before = std::mem::replace(&mut status.watching, started.is_ok());
            before != status.watching
        });
        started.map_err(|why| {
            if before != Some(why.as_str()) {
                tracing::warn!(
                    directory = %directory_of(path).display(),
                    error = why,
                    "the policy's directory cannot be watched; a timer finds its changes"
                );
            }
            Some(why)
        })
    }
}

/// Tells of changes in the directory of `path`, as long as what comes back lives.
pub(crate) fn start(path: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may mean lost events: look.
        if event.map_or(true, |event| is_change(event.kind)) {
            changed.notify_one();
        }
    })?;
    watcher.watch(directory_of(path), RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Our own reading is an event too, and must not cause the next one.
fn is_change(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// The directory that `path` is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
