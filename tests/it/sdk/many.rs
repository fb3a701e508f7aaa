//! Many operations at once, alike but for what was meant: none may be merged.

use std::collections::HashMap;

use super::wire::Wire;
use super::world::{API_KEY, World};

const OPERATIONS: usize = 10_000;
/// Enough for the store to write many claims at a time.
const CONNECTIONS: usize = 200;

/// Charges of one customer over one amount, in the manner of four SDKs in turn; they differ in one
/// metadata field only.
fn request(n: usize) -> String {
    let body = format!("amount=500&currency=usd&source=tok_visa&metadata[order_id]={n}");
    let sdk = match n % 4 {
        0 => String::new(),
        1 => "User-Agent: Stripe/v1 PhpBindings/21.0.0\r\n".to_owned(),
        2 => format!(
            "User-Agent: Stripe/v1 GoBindings/86.2.0\r\n\
             Idempotency-Key: 17954485234{n:08}_Xb3-_q\r\n"
        ),
        _ => format!("Idempotency-Key: order-{n}\r\n"),
    };
    format!(
        "POST /v1/charges HTTP/1.1\r\nHost: payonce\r\nAuthorization: Bearer {API_KEY}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nSandbox-Intent: {n}\r\n{sdk}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn ten_thousand_distinct_operations_are_executed_once_each_and_none_is_merged() {
    let world = World::start().await;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|first| {
            let proxy = world.payonce.proxy;
            tokio::task::spawn(async move {
                let mut wire = Wire::connect(proxy).await;
                for n in (first..OPERATIONS).step_by(CONNECTIONS) {
                    let answer = wire.ask(request(n).as_bytes()).await;
                    assert_eq!(answer.status, 200, "{n}: {}", answer.body);
                    assert_eq!(answer.header("payonce-outcome"), Some("executed"), "{n}");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let mut counted: HashMap<_, usize> = HashMap::new();
    for effect in world.sandbox.effects() {
        *counted.entry(effect.intent).or_default() += 1;
    }
    assert_eq!(counted.len(), OPERATIONS);
    assert!(counted.values().all(|times| *times == 1));
    world.end(&[]).await;
}
