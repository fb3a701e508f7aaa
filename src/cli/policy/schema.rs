//! `payonce policy schema`: what may stand in a policy, for editors.

use std::io::{self, Write};

use clap::Args;

/// The JSON Schema that ships with payonce, `config/policy.schema.json`.
pub const SCHEMA: &str = include_str!("../../../config/policy.schema.json");

/// `payonce policy schema`
#[derive(Args, Clone, Debug)]
pub struct Schema {}

impl Schema {
    pub(super) const EXAMPLES: &str = "Example:
  payonce policy schema > policy.schema.json
and as the first line of policy.toml, for editors that know TOML (Taplo, Even Better TOML):
  #:schema ./policy.schema.json
The schema says what may stand where. What a rule means `payonce check` knows.";
}

/// Writes the schema to `out`.
///
/// # Errors
/// Only of `out`.
pub fn run(_args: &Schema, out: &mut impl Write) -> io::Result<()> {
    out.write_all(SCHEMA.as_bytes())
}
