//! What a payment is made with: a stored payment method or card, a token, or one of Stripe's
//! well-known test names, which become an object of their own when they are used.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, is, text};
use super::cards::Card;

/// A means of payment that was found, before anything has been changed.
#[derive(Clone, Debug)]
pub(crate) struct Instrument {
    /// The object, if it is one that can be used again.
    stored: Option<String>,
    token: Option<String>,
    /// How it behaves.
    pub(crate) card: Card,
}

impl Instrument {
    fn of(card: Card) -> Self {
        Self { stored: None, token: None, card }
    }

    /// The means of payment called `id` by `param`.
    pub(crate) fn find(ctx: &Ctx<'_>, id: &str, param: &str) -> Result<Self, Fail> {
        if let Some((object, card)) = ctx.account.get(id).and_then(|o| Some((o, o.card?))) {
            if !is(&object.fields, "token") {
                return Ok(Self { stored: Some(id.to_owned()), token: None, card });
            }
            if object.fields.get("used") == Some(&json!(true)) {
                let message = format!("You cannot use a Stripe token more than once: {id}.");
                return Err(Fail::invalid(param, "token_already_used", &message));
            }
            return Ok(Self { stored: None, token: Some(id.to_owned()), card });
        }
        let kind = if id.starts_with("tok_") { "token" } else { "PaymentMethod" };
        Card::of_token(id).map(Self::of).ok_or_else(|| Fail::no_such(kind, id, param))
    }

    /// A card out of its number.
    pub(crate) fn of_number(number: &str) -> Result<Self, Fail> {
        let plain: String = number.chars().filter(|c| !c.is_whitespace()).collect();
        Card::of_number(&plain).map(Self::of).ok_or_else(|| {
            Fail::declined("incorrect_number", None, "Your card number is incorrect.")
        })
    }

    /// The one in `param`, which is an id or a hash with a card's number.
    pub(crate) fn given(ctx: &Ctx<'_>, param: &str) -> Result<Option<Self>, Fail> {
        match ctx.param(param) {
            Some(Value::Object(card)) => {
                let number = card.get("number").and_then(Value::as_str);
                let number = number.ok_or_else(|| Fail::missing(&format!("{param}[number]")))?;
                Self::of_number(number).map(Some)
            }
            Some(_) | None => ctx.text(param).map(|id| Self::find(ctx, id, param)).transpose(),
        }
    }

    /// The customer's default: of its invoice settings, else its default source.
    pub(crate) fn default_of(ctx: &Ctx<'_>, customer: &str) -> Option<Self> {
        let fields = &ctx.account.get(customer)?.fields;
        let settings = fields.get("invoice_settings");
        let method = settings
            .and_then(|settings| settings.get("default_payment_method"))
            .and_then(Value::as_str);
        let id = method.unwrap_or_else(|| text(fields, "default_source"));
        let card = ctx.account.get(id)?.card?;
        Some(Self { stored: Some(id.to_owned()), token: None, card })
    }

    /// Whether it belongs to another customer than `customer`.
    pub(crate) fn foreign(&self, ctx: &Ctx<'_>, customer: Option<&str>) -> bool {
        let Some(object) = self.stored.as_ref().and_then(|id| ctx.account.get(id)) else {
            return false;
        };
        let owner = text(&object.fields, "customer");
        !owner.is_empty() && Some(owner) != customer
    }

    /// The id of its object, which is made now if there is none yet.
    pub(crate) fn keep(&self, ctx: &mut Ctx<'_>, customer: Option<&str>) -> String {
        if let Some(id) = &self.stored {
            return id.clone();
        }
        self.spend(ctx);
        let fields = json!({
            "type": "card", "customer": customer, "metadata": {},
            "card": { "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040 },
        });
        ctx.create("/v1/payment_methods", "pm", "payment_method", fields, Some(self.card))
    }

    /// The id under which a charge names it: a card that was only handed in is not kept.
    pub(crate) fn name(&self, ctx: &mut Ctx<'_>) -> String {
        self.spend(ctx);
        self.stored.clone().unwrap_or_else(|| ctx.mint.id("card"))
    }

    /// The id of its card object among the customer's sources, which is made now.
    pub(crate) fn keep_source(&self, ctx: &mut Ctx<'_>, customer: &str) -> String {
        self.spend(ctx);
        let place = format!("/v1/customers/{customer}/sources");
        let fields = json!({
            "customer": customer, "brand": "Visa", "last4": "4242", "exp_month": 12,
            "exp_year": 2040, "metadata": {},
        });
        ctx.create(&place, "card", "card", fields, Some(self.card))
    }

    /// A token works once.
    pub(crate) fn spend(&self, ctx: &mut Ctx<'_>) {
        if let Some(token) = &self.token {
            ctx.set(token, json!({ "used": true }));
        }
    }
}
