//! `payonce ops export`: operations as JSON, in a form that config/ops.schema.json describes.

use std::io::{self, Write};

use serde::Serialize;

use super::{Client, OpsExport, OpsFailure, wanted};
use crate::admin::Detail;
use crate::admin::search::{Found, Wanted};
use crate::clock::{Clock, Timestamp};

/// The JSON Schema of the document.
pub(super) const SCHEMA: &str = include_str!("../../../config/ops.schema.json");

/// The form of the document. Fields may be added within a form.
const FORMAT: u32 = 1;

/// What is written.
#[derive(Serialize)]
struct Export<'a> {
    format: u32,
    payonce: &'a str,
    exported_at: Timestamp,
    /// What was looked for, without a key.
    asked: &'a Wanted,
    more: bool,
    unreadable: usize,
    operations: &'a [Detail],
}

/// Writes what is found.
pub(super) async fn run(
    args: &OpsExport,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), OpsFailure> {
    let asked = wanted(&args.filter)?;
    let (found, _raw): (Found, _) = client.post("/ops/search", &asked).await?;
    let Found { operations, more, unreadable } = found;
    if args.lines {
        for detail in &operations {
            line(out, detail)?;
        }
        if more || unreadable > 0 {
            let why = "not all was exported: there are more than 1,000, or some cannot be read";
            return Err(OpsFailure::Refused(why.to_owned()));
        }
        return Ok(());
    }
    let export = Export {
        format: FORMAT,
        payonce: env!("CARGO_PKG_VERSION"),
        exported_at: Clock::System.now(),
        asked: &Wanted { key: None, ..asked },
        more,
        unreadable,
        operations: &operations,
    };
    line(out, &export)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> Result<(), OpsFailure> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
