//! What a witness is told of one load, before it takes effect.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use super::{LoadError, Sound};
use crate::decide::policy::Policy;

/// When a policy is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// With the process.
    Start,
    /// Because the file changed.
    Reload,
}

/// One load of the policy file.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// When.
    pub event: Event,
    /// Of which file.
    pub path: &'a Path,
    /// What is in force in this process; `None` at start.
    pub before: Option<&'a Arc<Policy>>,
    /// What was found.
    pub found: &'a Result<Sound, LoadError>,
}

impl Load<'_> {
    /// Whether what was found is what is in force already.
    pub(crate) fn is_in_force(&self) -> bool {
        match (self.before, self.found) {
            (Some(before), Ok(found)) => before.hash() == found.policy.hash(),
            (None, _) | (_, Err(_)) => false,
        }
    }

    /// Whether anybody should hear of it: the policy in force, found again, is news only where
    /// something else stood in the file meanwhile.
    pub(super) fn is_news(&self, refused_before: bool) -> bool {
        refused_before || !self.is_in_force()
    }
}

/// Hears of every load before it takes effect: what could not be recorded can so be refused.
pub trait Witness: Send + Sync + 'static {
    /// Hears of one load. An error keeps a sound policy from being taken, and payonce from starting
    /// with it; of a refused one it changes nothing. Must end by itself.
    fn hear<'a>(
        &'a self,
        load: &'a Load<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}
