//! The demo.
use std::io::{self, Write};

/// Plays the day.
///
/// # Errors
/// Only of `out`.
pub async fn run(_args: &crate::cli::Demo, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)
}
