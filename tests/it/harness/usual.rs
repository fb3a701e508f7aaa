//! The usual case, told once: rules that most tests go by, the charge that they ask for, and what
//! goes wrong with it.

use payonce::sandbox::{Fault, Kind, Strike};

use super::{Post, Setup, World};

/// A charge is recognised by its content while its answer is lost. More lines of this rule can follow.
pub(crate) const BY_CONTENT: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
"#;

/// The same, and equal charges within ten minutes are one.
pub(crate) const TWINS: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]
merge = "twins"
repeat_window = "10m"
"#;

/// Rules that refuse: payouts, customers without an own key, products without an order.
pub(crate) const STRICT: &str = r#"
[[rule]]
name = "refused"
match = ["POST /v1/payouts"]
class = "refuse"

[[rule]]
name = "required"
match = ["POST /v1/customers"]
class = "critical"
client_key = "required"

[[rule]]
name = "fields"
match = ["POST /v1/products"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "refuse"
"#;

/// A charge that succeeds.
pub(crate) fn charge() -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa")
}

/// It is executed, and the answer gets lost.
pub(crate) fn lost() -> Fault {
    Fault::new(Kind::ResetAfterEffect { clean: false })
}

/// It is answered with 503, and not executed.
pub(crate) fn unavailable() -> Fault {
    Fault::new(Kind::Status { code: 503, effect: Strike::Before })
}

/// One attempt an exchange, so that one fault is enough to leave it in doubt.
pub(crate) async fn hasty(policy: &str) -> World {
    Setup::policy(policy).set("RETRY__MAX_ATTEMPTS", 1).start().await
}
