//! Which operations move money.
//!
//! An operation is in here if money moves or becomes owed once it is executed: what a repeat can
//! double, and what an unknown outcome leaves open. Not in here, on purpose:
//!
//! - what only stops, cancels or voids such a movement: a second one finds it stopped;
//! - what a payer or a person must still act on, such as a setup intent, a payment link, a quote
//!   or a draft's update; a Checkout session is in, for it is made to be paid at once;
//! - fees for a service of Stripe's (identity checks, reports), and the cents that prove an account;
//! - `test_helpers`, which work in a sandbox alone;
//! - GET, and DELETE of v1, on which an idempotency key has no effect.

/// How an operation moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// From a payer.
    Takes,
    /// Back to a payer, or to a customer's credit.
    Returns,
    /// Between accounts: to a bank, a seller, a card's merchant, or back.
    Sends,
    /// Nothing yet, but somebody will be billed for it.
    Bills,
    /// It moved elsewhere, and the books say so.
    Reports,
}

impl Money {
    /// What becomes of the money, after "which": "takes money from a payer".
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Takes => "takes money from a payer",
            Self::Returns => "gives money or credit back to a payer",
            Self::Sends => "sends money to another account",
            Self::Bills => "bills a customer",
            Self::Reports => "enters money into the books",
        }
    }

    /// One word, for tables and tools.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Takes => "takes",
            Self::Returns => "returns",
            Self::Sends => "sends",
            Self::Bills => "bills",
            Self::Reports => "reports",
        }
    }
}

/// Each money-moving operation, with whether it comes in batches.
pub(super) fn table() -> impl Iterator<Item = (&'static str, (Money, bool))> {
    let groups: [(Money, bool, &[&str]); 8] = [
        (Money::Takes, false, TAKES),
        (Money::Returns, false, RETURNS),
        (Money::Returns, true, RETURNS_IN_BATCHES),
        (Money::Sends, false, SENDS),
        (Money::Sends, true, SENDS_IN_BATCHES),
        (Money::Bills, false, BILLS),
        (Money::Bills, true, BILLS_IN_BATCHES),
        (Money::Reports, true, REPORTS_IN_BATCHES),
    ];
    groups.into_iter().flat_map(|(money, batch, operations)| {
        operations.iter().map(move |operation| (*operation, (money, batch)))
    })
}

/// Steps whose path ends in a word, and which may be meant again with the same body: a payment is
/// confirmed, asks for the payer's authentication, and is confirmed again.
pub(super) const REPEATABLE_STEPS: &[&str] = &[
    "/v1/payment_intents/{intent}/confirm",
    "/v1/payment_methods/{payment_method}/attach",
    "/v1/payment_methods/{payment_method}/detach",
    "/v1/setup_intents/{intent}/confirm",
    "/v1/subscriptions/{id}/pause",
    "/v1/subscriptions/{subscription}/resume",
    "/v1/terminal/readers/{reader}/cancel_action",
    "/v1/terminal/readers/{reader}/collect_inputs",
    "/v1/terminal/readers/{reader}/collect_payment_method",
    "/v1/terminal/readers/{reader}/confirm_payment_intent",
    "/v1/terminal/readers/{reader}/process_payment_intent",
    "/v1/terminal/readers/{reader}/process_setup_intent",
    "/v1/terminal/readers/{reader}/set_reader_display",
];

const TAKES: &[&str] = &[
    "POST /v1/charges",
    "POST /v1/charges/{charge}/capture",
    "POST /v1/checkout/sessions",
    "POST /v1/climate/orders",
    "POST /v1/forwarding/requests",
    "POST /v1/invoices/{invoice}/pay",
    "POST /v1/payment_intents",
    "POST /v1/payment_intents/{intent}/apply_customer_balance",
    "POST /v1/payment_intents/{intent}/capture",
    "POST /v1/payment_intents/{intent}/confirm",
    "POST /v1/payment_intents/{intent}/increment_authorization",
    "POST /v1/payment_intents/{intent}/verify_microdeposits",
    "POST /v1/terminal/readers/{reader}/confirm_payment_intent",
    "POST /v1/terminal/readers/{reader}/process_payment_intent",
];

const RETURNS: &[&str] = &[
    "POST /v1/application_fees/{id}/refund",
    "POST /v1/application_fees/{id}/refunds",
    "POST /v1/charges/{charge}/dispute/close",
    "POST /v1/charges/{charge}/refund",
    "POST /v1/charges/{charge}/refunds",
    "POST /v1/credit_notes",
    "POST /v1/disputes/{dispute}/close",
    "POST /v1/refunds",
    "POST /v1/terminal/readers/{reader}/refund_payment",
    "POST /v1/terminal/refunds",
];

const RETURNS_IN_BATCHES: &[&str] =
    &["POST /v1/billing/credit_grants", "POST /v1/customers/{customer}/balance_transactions"];

const SENDS: &[&str] = &[
    "POST /v1/issuing/authorizations/{authorization}/approve",
    "POST /v1/issuing/disputes/{dispute}/submit",
    "POST /v1/payouts/{payout}/reverse",
    "POST /v1/treasury/credit_reversals",
    "POST /v1/treasury/debit_reversals",
    "POST /v1/treasury/financial_accounts/{financial_account}/close",
    "POST /v1/treasury/inbound_transfers",
    "POST /v2/money_management/inbound_transfers",
    "POST /v2/money_management/payout_intents/{id}/confirm",
];

const SENDS_IN_BATCHES: &[&str] = &[
    "POST /v1/payouts",
    "POST /v1/topups",
    "POST /v1/transfers",
    "POST /v1/transfers/{id}/reversals",
    "POST /v1/treasury/outbound_payments",
    "POST /v1/treasury/outbound_transfers",
    "POST /v2/money_management/outbound_payments",
    "POST /v2/money_management/payout_intents",
];

const BILLS: &[&str] = &[
    "POST /v1/customers/{customer}/subscriptions",
    "POST /v1/customers/{customer}/subscriptions/{subscription_exposed_id}",
    "POST /v1/invoices",
    "POST /v1/invoices/{invoice}/finalize",
    "POST /v1/invoices/{invoice}/send",
    "POST /v1/quotes/{quote}/accept",
    "POST /v1/subscription_items/{item}",
    "POST /v1/subscription_schedules",
    "POST /v1/subscription_schedules/{schedule}",
    "POST /v1/subscriptions",
    "POST /v1/subscriptions/{subscription_exposed_id}",
    "POST /v1/subscriptions/{subscription}/resume",
    "POST /v1/invoices/{invoice}/attach_payment",
];

const BILLS_IN_BATCHES: &[&str] = &[
    "POST /v1/billing/meter_events",
    "POST /v1/invoiceitems",
    "POST /v1/invoices/{invoice}/add_lines",
    "POST /v1/subscription_items",
    "POST /v2/billing/meter_event_stream",
    "POST /v2/billing/meter_events",
];

const REPORTS_IN_BATCHES: &[&str] = &[
    "POST /v1/payment_records/report_payment",
    "POST /v1/payment_records/{id}/report_payment_attempt",
    "POST /v1/payment_records/{id}/report_payment_attempt_guaranteed",
    "POST /v1/payment_records/{id}/report_refund",
    "POST /v1/tax/transactions/create_from_calculation",
    "POST /v1/tax/transactions/create_reversal",
];
