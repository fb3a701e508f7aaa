//! `payonce demo`: the same faulty day twice over real sockets, straight to a simulated Stripe and
//! through payonce, and a table counted from what the simulated Stripe executed.
//!
//! [`work`] says what the application means to do, [`weather`] what goes wrong; [`shop`] is the
//! application, with the habits of Stripe's SDKs ([`sdk`]); [`day`] plays one column; [`count`]
//! counts it by intent, [`table`] prints it.
//!
//! The seed decides the work, the keys, the delays, the pods that die and the faults (by intent and
//! how often it was sent, so that both columns have the same weather). payonce's own jitter is not
//! seeded: it moves retries by seconds, which hardly ever shows in the table. Not in the demo: a
//! process that reads its answer and dies before it writes it down, which nothing between it and
//! Stripe can see (DESIGN §1); such jobs should name their operation in `Payonce-Operation`.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};

mod count;
mod day;
mod desk;
mod dice;
mod sdk;
mod shop;
mod table;
mod weather;
mod wire;
mod work;

use day::{Day, Way};

/// Plays the day both ways and prints the table. Says whether payonce kept its promise.
///
/// # Errors
/// Of `out`; or a column could not be played (no free port, say).
pub async fn run(args: &crate::cli::Demo, out: &mut impl Write) -> io::Result<bool> {
    let bar = ProgressBar::new(u64::from(args.operations) * 2);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} operations  {elapsed}") {
        bar.set_style(style);
    }
    let straight = column(Way::Straight, args, &bar);
    let through = column(Way::ThroughPayonce, args, &bar);
    let days = tokio::try_join!(straight, through);
    bar.finish_and_clear();
    let (straight, through) = days?;
    table::print(args.seed, args.operations, &straight, &through, out)?;
    Ok(through.counts.kept())
}

/// A column has a clock of its own, and so a thread; the two run side by side.
async fn column(way: Way, args: &crate::cli::Demo, bar: &ProgressBar) -> io::Result<Day> {
    let (seed, operations, bar) = (args.seed, args.operations, bar.clone());
    let play = move || day::play(way, seed, operations, Box::new(move || bar.inc(1)));
    tokio::task::spawn_blocking(play).await.map_err(io::Error::other)?
}
