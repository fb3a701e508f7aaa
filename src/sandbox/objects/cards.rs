//! Test cards, tokens and payment methods: how each behaves when it is attached and charged.

use super::super::answer::Fail;

/// How a card behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Card {
    /// Attaches and pays.
    Good,
    /// Attaches; every charge is declined.
    DeclinedWhenCharged,
    /// The payer has to authenticate before each payment.
    Authenticate,
    /// Declined for no stated reason.
    Declined,
    /// Declined: insufficient funds.
    InsufficientFunds,
    /// Declined: the card has expired.
    Expired,
    /// Declined: wrong security code.
    Cvc,
    /// Declined: an error while processing.
    Processing,
}

/// What a charge of a card comes to.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Paid.
    Paid,
    /// The payer has to authenticate.
    Authenticate,
    /// Declined, with this answer.
    Declined(Fail),
}

impl Card {
    /// The behaviour of a card number. An unknown number is a good card if it could be one.
    pub(crate) fn of_number(number: &str) -> Option<Self> {
        Some(match number {
            "4000000000000002" => Self::Declined,
            "4000000000009995" => Self::InsufficientFunds,
            "4000000000000069" => Self::Expired,
            "4000000000000127" => Self::Cvc,
            "4000000000000119" => Self::Processing,
            "4000000000000341" => Self::DeclinedWhenCharged,
            "4000002500003155" | "4000002760003184" | "4000000000003220" | "4000000000003063" => {
                Self::Authenticate
            }
            other if luhn(other) => Self::Good,
            _ => return None,
        })
    }

    /// The behaviour behind Stripe's well-known `pm_card_…` and `tok_…`.
    pub(crate) fn of_token(token: &str) -> Option<Self> {
        let name = token.strip_prefix("pm_card_").or_else(|| token.strip_prefix("tok_"))?;
        Some(match name {
            "visa" | "visa_debit" | "mastercard" | "mastercard_debit" | "mastercard_prepaid"
            | "amex" | "discover" | "diners" | "jcb" | "unionpay" | "us" | "gb" | "de" | "fr" => {
                Self::Good
            }
            "chargeDeclined" | "visa_chargeDeclined" => Self::Declined,
            "chargeDeclinedInsufficientFunds" | "visa_chargeDeclinedInsufficientFunds" => {
                Self::InsufficientFunds
            }
            "chargeDeclinedExpiredCard" => Self::Expired,
            "chargeDeclinedIncorrectCvc" => Self::Cvc,
            "chargeDeclinedProcessingError" => Self::Processing,
            "chargeCustomerFail" => Self::DeclinedWhenCharged,
            "authenticationRequired"
            | "authenticationRequiredOnSetup"
            | "threeDSecure2Required"
            | "threeDSecureRequired" => Self::Authenticate,
            _ => return None,
        })
    }

    /// What it comes to when a customer's account is given the card.
    pub(crate) fn attach(self) -> Result<(), Fail> {
        match self {
            Self::Good | Self::DeclinedWhenCharged | Self::Authenticate => Ok(()),
            Self::Declined
            | Self::InsufficientFunds
            | Self::Expired
            | Self::Cvc
            | Self::Processing => Err(self.decline()),
        }
    }

    /// What it comes to when the card is charged.
    pub(crate) fn charge(self) -> Attempt {
        match self {
            Self::Good => Attempt::Paid,
            Self::Authenticate => Attempt::Authenticate,
            Self::Declined
            | Self::DeclinedWhenCharged
            | Self::InsufficientFunds
            | Self::Expired
            | Self::Cvc
            | Self::Processing => Attempt::Declined(self.decline()),
        }
    }

    fn decline(self) -> Fail {
        let (code, decline, message) = match self {
            Self::Good | Self::Declined | Self::DeclinedWhenCharged => {
                ("card_declined", Some("generic_decline"), "Your card was declined.")
            }
            Self::InsufficientFunds => {
                ("card_declined", Some("insufficient_funds"), "Your card has insufficient funds.")
            }
            Self::Expired => ("expired_card", None, "Your card has expired."),
            Self::Cvc => ("incorrect_cvc", None, "Your card's security code is incorrect."),
            Self::Processing => (
                "processing_error",
                None,
                "An error occurred while processing your card. Try again in a little bit.",
            ),
            Self::Authenticate => return authentication_required(),
        };
        Fail::declined(code, decline, message)
    }
}

/// 402: the payer is not there to authenticate.
pub(crate) fn authentication_required() -> Fail {
    let message = "Your card was declined. This transaction requires authentication.";
    Fail::declined("authentication_required", Some("authentication_required"), message)
}

fn luhn(number: &str) -> bool {
    let digits: Option<Vec<u32>> = number.chars().rev().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (12..=19).contains(&digits.len())) else {
        return false;
    };
    let doubled = |(n, digit): (usize, &u32)| match (n % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    digits.iter().enumerate().map(doubled).sum::<u32>() % 10 == 0
}
