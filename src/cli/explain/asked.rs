//! The requests to explain, wherever they come from: the command line, a curl command
//! ([`curl`](super::curl)), a recording ([`har`](super::har)).

use std::fmt;
use std::path::PathBuf;

use http::Method;

use super::{curl, har};
use crate::cli::{Exit, Explain, HeaderField};

/// A request as it would arrive. `Debug` shows neither fields nor body.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<HeaderField>,
    pub(super) body: Vec<u8>,
    /// What of its source could not be taken as it was.
    pub(super) notes: Vec<String>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fields, bytes) = (self.headers.len(), self.body.len());
        write!(f, "Asked({} with {fields} fields, {bytes} bytes)", self.method)
    }
}

impl Asked {
    /// A field that wins over any of its name.
    fn set(&mut self, field: &HeaderField) {
        self.headers.retain(|other| other.name != field.name);
        self.headers.push(field.clone());
    }

    pub(super) fn has(&self, name: &http::HeaderName) -> bool {
        self.headers.iter().any(|field| field.name == *name)
    }
}

/// All that are asked for.
#[derive(Debug)]
pub(super) struct All {
    pub(super) requests: Vec<Asked>,
    /// Requests of a recording that are not explained, and why not.
    pub(super) left_out: Vec<String>,
}

/// What cannot be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadSource {
    /// The curl command.
    #[error("--curl: {0}")]
    Curl(#[from] curl::BadCurl),
    /// The recording.
    #[error("--har: {path}: {why}", path = .0.display(), why = .1)]
    Har(PathBuf, har::BadHar),
    /// Nothing was asked; clap sees to it that this does not happen.
    #[error("say which request: METHOD and path, --curl or --har")]
    Nothing,
}

impl BadSource {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Curl(_) | Self::Nothing => Exit::Usage,
            Self::Har(..) => Exit::Failed,
        }
    }
}

/// The requests that `args` asks to explain. Reads files that they name.
pub(super) fn all(args: &Explain) -> Result<All, BadSource> {
    let mut all = match (&args.curl, &args.har, &args.request) {
        (Some(command), _, _) => {
            All { requests: vec![curl::read(&command.0)?], left_out: Vec::new() }
        }
        (None, Some(path), _) => {
            har::read(path).map_err(|why| BadSource::Har(path.clone(), why))?
        }
        (None, None, Some(line)) => {
            let asked = Asked {
                method: line.method.clone(),
                target: line.target.clone(),
                headers: args.headers.clone(),
                body: args.data.join("&").into_bytes(),
                notes: Vec::new(),
            };
            return Ok(All { requests: vec![asked], left_out: Vec::new() });
        }
        (None, None, None) => return Err(BadSource::Nothing),
    };
    for request in &mut all.requests {
        args.headers.iter().for_each(|field| request.set(field));
    }
    Ok(all)
}
