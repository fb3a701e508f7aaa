//! The other direction: Stripe's webhooks.
pub mod event;
pub mod secrets;
pub mod signature;
