//! `payonce webhook`: makes and checks the signatures of webhooks, by hand. Nothing is sent.

use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Exit, complain};
use crate::clock::{Clock, Timestamp};
use crate::settings::read_duration;
use crate::webhook::event::Event;
use crate::webhook::secrets;
use crate::webhook::signature::{Signature, sign};

/// Bytes of an event.
const MOST: u64 = 16 * 1024 * 1024;

/// `payonce webhook`
#[derive(Args, Clone, Debug)]
pub struct Webhook {
    /// What to do.
    #[command(subcommand)]
    pub action: WebhookAction,
}

impl Webhook {
    pub(super) const EXAMPLES: &str = "Examples:
  payonce webhook sign --secret-file whsec.txt < event.json
  payonce webhook verify --secret-file whsec.txt --signature 't=…,v1=…' < event.json";
}

/// What to do with an event, whose raw bytes are on standard input or in a file.
#[derive(Clone, Debug, Subcommand)]
pub enum WebhookAction {
    /// Print the Stripe-Signature that Stripe would send with these bytes.
    #[command(after_help = "Example:
  curl http://127.0.0.1:8423/stripe -H 'Content-Type: application/json' --data-binary @event.json \\
    -H \"Stripe-Signature: $(payonce webhook sign --secret-file whsec.txt event.json)\"")]
    Sign(Sign),
    /// Say whether a Stripe-Signature was made of these bytes: exit code 0 if so, else 1 and why not.
    #[command(after_help = "Example:
  payonce webhook verify --secret-file whsec.txt --signature 't=…,v1=…' --at 1790000000 event.json")]
    Verify(Verify),
}

/// `payonce webhook sign`
#[derive(Args, Clone, Debug)]
pub struct Sign {
    /// A file of endpoint secrets (whsec_…), one a line. As often as needed.
    #[arg(long = "secret-file", value_name = "FILE", required = true)]
    pub secret_files: Vec<PathBuf>,
    /// When it is signed, in seconds since 1970; otherwise now.
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<u64>,
    /// The event's raw bytes; otherwise standard input.
    #[arg(value_name = "BODY")]
    pub body: Option<PathBuf>,
}

/// `payonce webhook verify`
#[derive(Args, Clone, Debug)]
pub struct Verify {
    /// A file of endpoint secrets (whsec_…), one a line. As often as needed.
    #[arg(long = "secret-file", value_name = "FILE", required = true)]
    pub secret_files: Vec<PathBuf>,
    /// The value of Stripe-Signature.
    #[arg(long, value_name = "HEADER")]
    pub signature: String,
    /// When it is checked, in seconds since 1970; otherwise now.
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<u64>,
    /// How far its time may be from that, either way.
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = tolerance)]
    pub tolerance: Duration,
    /// The event's raw bytes; otherwise standard input.
    #[arg(value_name = "BODY")]
    pub body: Option<PathBuf>,
}

fn tolerance(text: &str) -> Result<Duration, String> {
    let time = read_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "write a time of at least 1s with its unit, such as 300s".to_owned())
}

/// Does what was asked; what is wrong goes to standard error.
pub fn run(args: &Webhook, out: &mut impl Write) -> Exit {
    let said = match &args.action {
        WebhookAction::Sign(args) => signed(args),
        WebhookAction::Verify(args) => verified(args),
    };
    match said.and_then(|said| writeln!(out, "{said}").map_err(|error| error.to_string())) {
        Ok(()) => Exit::Done,
        Err(why) => {
            complain(&why);
            Exit::Failed
        }
    }
}

fn signed(args: &Sign) -> Result<String, String> {
    let secrets = secrets::read(&args.secret_files).map_err(|error| error.to_string())?;
    let body = body(args.body.as_ref())?;
    Ok(sign(&body, secrets.iter().map(secrets::Secret::expose), time(args.at)))
}

fn verified(args: &Verify) -> Result<String, String> {
    let secrets = secrets::read(&args.secret_files).map_err(|error| error.to_string())?;
    let body = body(args.body.as_ref())?;
    let secrets = secrets.iter().map(secrets::Secret::expose);
    Signature::parse(&args.signature)
        .and_then(|signature| signature.verify(&body, secrets, time(args.at), args.tolerance))
        .map_err(|why| format!("not verified: {why}"))?;
    Ok(match Event::read(&body) {
        Ok(event) => format!("verified: event {}, {}", event.id, event.kind),
        Err(why) => format!("verified, but payonce would not hand it on: {why}"),
    })
}

fn time(at: Option<u64>) -> Timestamp {
    at.map_or_else(|| Clock::System.now(), |at| Timestamp::from_millis(at.saturating_mul(1000)))
}

fn body(path: Option<&PathBuf>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = match path {
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(MOST).read_to_end(&mut bytes))
            .map_err(|error| format!("{}: {error}", path.display())),
        None => io::stdin()
            .take(MOST)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("standard input: {error}")),
    };
    read.map(|_length| bytes)
}
