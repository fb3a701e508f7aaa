//! What each operation does to the objects. Every handler checks everything before it changes
//! anything, so that a failed validation leaves no trace.

pub(crate) mod balance;
pub(crate) mod cards;
pub(crate) mod charges;
pub(crate) mod customers;
pub(crate) mod generic;
pub(crate) mod instrument;
pub(crate) mod invoices;
pub(crate) mod payment_intents;
pub(crate) mod payment_methods;
pub(crate) mod refunds;
pub(crate) mod setup_intents;
pub(crate) mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::ctx::{Ctx, Handled};

/// Executes one operation.
pub(crate) type Handler = for<'a, 'b> fn(&'b mut Ctx<'a>) -> Handled;

/// The handler of an operation, by its shape (`POST /v1/charges/{}`), with `shapes` all that are
/// known. What is not named here is generic.
pub(crate) fn handler(shape: &str, shapes: &HashSet<String>) -> Handler {
    match shape {
        "POST /v1/customers" => customers::create,
        "POST /v1/customers/{}" => customers::update,
        "POST /v1/customers/{}/sources" | "POST /v1/customers/{}/cards" => customers::add_source,
        "POST /v1/payment_methods" => payment_methods::create,
        "POST /v1/payment_methods/{}/attach" => payment_methods::attach,
        "POST /v1/payment_methods/{}/detach" => payment_methods::detach,
        "POST /v1/tokens" => payment_methods::token,
        "POST /v1/payment_intents" => payment_intents::create,
        "POST /v1/payment_intents/{}" => payment_intents::update,
        "POST /v1/payment_intents/{}/confirm" => payment_intents::confirm,
        "POST /v1/payment_intents/{}/capture" => payment_intents::capture,
        "POST /v1/payment_intents/{}/cancel" => payment_intents::cancel,
        "POST /v1/setup_intents" => setup_intents::create,
        "POST /v1/setup_intents/{}/confirm" => setup_intents::confirm,
        "POST /v1/setup_intents/{}/cancel" => setup_intents::cancel,
        "POST /v1/charges" => charges::create,
        "POST /v1/charges/{}/capture" => charges::capture,
        "POST /v1/refunds" => refunds::create,
        "POST /v1/charges/{}/refund" | "POST /v1/charges/{}/refunds" => refunds::of_charge,
        "POST /v1/transfers" => balance::transfer,
        "POST /v1/transfers/{}/reversals" => balance::reverse,
        "POST /v1/payouts" => balance::payout,
        "POST /v1/payouts/{}/cancel" => balance::cancel_payout,
        "POST /v1/topups" => balance::topup,
        "GET /v1/balance" => balance::show,
        "POST /v1/subscriptions" => subscriptions::create,
        "DELETE /v1/subscriptions/{}" => subscriptions::cancel,
        "POST /v1/invoices" => invoices::create,
        "POST /v1/invoices/{}/finalize" => invoices::finalize,
        "POST /v1/invoices/{}/pay" => invoices::pay,
        "POST /v1/invoices/{}/void" => invoices::void,
        _ => generic::handler(shape, shapes),
    }
}
