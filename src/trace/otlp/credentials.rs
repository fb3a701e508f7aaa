//! What a collector wants to see before it takes spans: read again before each request to it, for
//! credentials are rolled, and some last an hour.
//!
//! A file that becomes bad leaves the fields as they are.

use std::path::PathBuf;

use http::HeaderMap;
use tracing::{info, warn};

use crate::trace::headers::{BadHeaders, Headers};

/// Header fields for a collector, and the file that they come from. Its `Debug` shows none of them.
#[derive(Debug, Default)]
pub struct Credentials {
    path: Option<PathBuf>,
    headers: Headers,
    wrong: Option<BadHeaders>,
}

impl Credentials {
    /// These, read at start, and from now on what stands in the file at `path`, if there is one.
    #[must_use]
    pub const fn new(path: Option<PathBuf>, headers: Headers) -> Self {
        Self { path, headers, wrong: None }
    }

    /// Puts them among the fields of a request.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        self.headers.put(headers);
    }

    /// Reads the file again: true if it held something else than before.
    pub(super) async fn refresh(&mut self) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let read = tokio::task::spawn_blocking(move || Headers::read(&path)).await;
        match read.unwrap_or_else(|lost| Err(BadHeaders::Unreadable(lost.to_string()))) {
            Ok(headers) => self.take(headers),
            Err(why) => {
                self.refuse(why);
                false
            }
        }
    }

    fn take(&mut self, headers: Headers) -> bool {
        let mended = self.wrong.take().is_some();
        let changed = headers != self.headers;
        if changed || mended {
            info!("the headers for the collector were read anew");
        }
        self.headers = headers;
        changed
    }

    fn refuse(&mut self, why: BadHeaders) {
        if self.wrong.as_ref() != Some(&why) {
            warn!(error = %why, "tracing.headers_file is not taken; the headers read before stay");
            self.wrong = Some(why);
        }
    }
}
