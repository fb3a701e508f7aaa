//! `payonce explain`.
use std::io::Write;

use super::{Exit, Explain};
use crate::settings::Settings;

/// Says how a request would be judged.
pub fn run(_args: &Explain, _settings: &Settings, _out: &mut impl Write) -> Exit {
    Exit::Done
}
