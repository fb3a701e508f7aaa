//! payonce makes every payment operation happen once.
//!
//! It stands between an application and api.stripe.com. For requests that the policy calls critical
//! it recognises the operation, sees to it that it bears one idempotency key for as long as it is
//! the same operation, asks again with that key where the outcome is not known, and remembers what
//! came of it.
//!
//! The way of a request, and where each step is told:
//!
//! ```text
//! accept ─ classify ─ buffer ─ identify ─ claim ─ forward (retry…) ─ respond ─ delivered ─ settle
//! ```
//!
//! Rooms in reading order:
//!
//! 1. [`exchange`] tells the journey in one place.
//! 2. [`decide`] is everything that decides, pure: no clock, no I/O, no `async`.
//! 3. [`ledger`] remembers operations by compare and swap; [`inflight`] knows who works on what in
//!    this process, [`recent`] and [`notes`] what it remembers by itself, [`unwritten`] what the
//!    ledger did not take yet, [`finishing`] what it asks again though nobody waits.
//! 4. [`forward`] makes the attempts of one exchange; [`upstream`] holds the connections and the
//!    evidence of what left; [`passthrough`] hands on what is not critical.
//!    [`observer`] counts what would have been done where payonce only looks on, and [`recording`]
//!    writes down what was decided.
//! 5. [`clients`] knows which SDKs ask; [`server`], [`request`], [`delivery`], [`respond`],
//!    [`refusal`] are the client's side.
//! 6. [`webhook`] is the other direction: only Stripe's events, each once, and they close what is
//!    in doubt.
//! 7. [`settings`], [`policy_file`] with its [`audit`] log, [`credential`], [`assembly`] start it; [`ways`] tells
//!    other processes how the policy recognises operations; [`admin`], [`people`], [`standing`],
//!    [`metrics`] with the [`survey`] of what is open, [`telemetry`], [`trace`], [`cli`] are for
//!    people and platforms; [`clock`] is where time comes from, [`chance`] where
//!    random numbers do.
//! 8. [`sandbox`] simulates Stripe and is the oracle of the tests and of the [`demo`]: it shares no
//!    code with [`decide`]. [`seams`] is where tests break payonce on purpose, in no release.
//!
//! What must hold (I1–I11 of the design) stands in `ARCHITECTURE.md`; the code names an invariant
//! where it keeps it.

pub mod admin;
pub mod assembly;
pub mod audit;
pub mod chance;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod credential;
pub mod decide;
pub mod delivery;
pub mod demo;
pub mod exchange;
pub mod finishing;
pub mod forward;
pub mod inflight;
pub mod ledger;
pub mod metrics;
pub mod notes;
pub mod observer;
pub mod passthrough;
pub mod people;
pub mod policy_file;
pub mod recent;
pub mod recording;
pub mod refusal;
pub mod request;
pub mod respond;
pub mod sandbox;
pub mod seams;
pub mod server;
pub mod settings;
pub mod standing;
pub mod survey;
pub mod telemetry;
pub mod trace;
pub mod unwritten;
pub mod upstream;
pub mod ways;
pub mod webhook;
