//! Whether what observing calls a duplicate is what enforcing spares, over made-up histories.

use payonce::chance::Chance;
use payonce::sandbox::{Effect, Outcome};

use super::{done, lose};
use crate::harness::{Post, Setup};

/// Rules of each kind that recognises operations.
const KINDS: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]

[[rule]]
name = "twins"
match = ["POST /v1/refunds", "POST /v1/customers"]
class = "critical"
identity = "content"
distinguishes = ["description"]
merge = "twins"
repeat_window = "20h"

[[rule]]
name = "intents"
match = ["POST /v1/payment_intents"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"
"#;

/// What an application does next: which of its requests, under which key, and whether the answer
/// gets lost.
fn step(chance: &Chance, n: u32) -> (Post, bool) {
    let draw = |most: f64| (chance.share() * most).floor();
    let bodies = [
        ("/v1/charges", "amount=500&currency=eur&source=tok_visa"),
        ("/v1/charges", "amount=500&currency=eur&source=tok_chargeDeclined"),
        ("/v1/customers", "description=a"),
        ("/v1/payment_intents", "amount=700&currency=eur&metadata[order_id]=1"),
        ("/v1/payment_intents", "amount=700&currency=eur"),
    ];
    let which = draw(5.0);
    let (path, body) = *bodies.iter().rev().nth((4.0 - which) as usize).unwrap();
    let post = Post::new(path, body);
    // One request in five has no key, and one in five that of the request before.
    let post = match draw(5.0) as u32 {
        0 => post,
        1 => post.sdk(n.saturating_sub(1) * 10 + which as u32),
        _ => post.sdk(n * 10 + which as u32),
    };
    (post, draw(2.0) < 1.0)
}

#[tokio::test]
async fn what_observing_calls_duplicates_is_what_enforcing_saves() {
    let histories = std::env::var("OBSERVE_HISTORIES").map_or(12, |n| n.parse().unwrap());
    let mut saved = 0;
    for seed in 0..histories {
        let mut effects = [0; 2];
        let mut duplicates = 0;
        for (n, mode) in ["", "mode = \"observe\"\n"].into_iter().enumerate() {
            let world = Setup::policy(&format!("{mode}{KINDS}")).start().await;
            let chance = Chance::seeded(seed);
            for n in 1..=14 {
                let (post, loses) = step(&chance, n);
                if loses {
                    lose(&world, &post).await;
                } else {
                    drop(done(&world, &post).await);
                }
                world.settled().await;
            }
            let done = |effect: &&Effect| effect.outcome == Outcome::Succeeded;
            effects[n] = world.effects().iter().filter(done).count();
            duplicates = ["charges", "twins", "intents"]
                .map(|rule| {
                    let series = "payonce_observed_findings_total";
                    world.count(&format!("{series}{{rule=\"{rule}\",kind=\"duplicate\"}}"))
                })
                .into_iter()
                .sum::<u64>() as usize;
        }
        assert_eq!(effects[1] - effects[0], duplicates, "seed {seed}: {effects:?}");
        saved += duplicates;
    }
    assert!(saved > histories as usize, "{saved}: too few to show anything");
}
