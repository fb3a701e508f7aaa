//! Seams: where a test may end the process, and where it may plant a mistake.
//!
//! Both exist with the feature `seams` alone, which no release has. Without it [`point`] does
//! nothing and [`mistake`] is `false`, both at compile time, so that no trace of them is in the
//! binary (`tests/run` looks). Nothing here decides anything: a point stands where the journey
//! passes, a mistake is one branch at the place where a programmer might have made it.

#[cfg(feature = "seams")]
mod armed;
#[cfg(feature = "seams")]
mod wire;

#[cfg(feature = "seams")]
pub use armed::{Planted, arm, is_switch, mistake, point, with_mistake};
#[cfg(feature = "seams")]
pub(crate) use wire::written;

/// An enum whose variants have names, for tests alone.
macro_rules! named {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $text:literal)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "seams", derive(Debug))]
        pub enum $name { $($(#[$doc])* $variant),* }

        #[cfg(feature = "seams")]
        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The one of this name.
            #[must_use]
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == name)
            }
        }
    };
}

named! {
    /// Where a process may end, in the order of the journey.
    Point {
        /// Everything is built and bound, nothing is served yet.
        Started "started"
        /// A changed policy was read and found good.
        PolicyRead "policy_read"
        /// It is in force.
        PolicyTaken "policy_taken"
        /// A critical request was read whole and recognised.
        Identified "identified"
        /// The ledger is about to be asked for a claim.
        BeforeClaim "before_claim"
        /// It answered, and nothing is remembered yet.
        Claimed "claimed"
        /// The request is about to be given to the upstream.
        BeforeSend "before_send"
        /// Bytes of it were written to the provider's connection.
        BytesLeft "bytes_left"
        /// The provider's answer was read, or is known not to come.
        AnswerRead "answer_read"
        /// The next occurrence is about to be written.
        BeforeAdvance "before_advance"
        /// It is written.
        Advanced "advanced"
        /// The lease is about to be renewed.
        BeforeRenew "before_renew"
        /// It is renewed.
        Renewed "renewed"
        /// The answer is about to be given to the askers.
        BeforeAnswer "before_answer"
        /// The answer was given to a client's connection.
        Handed "handed"
        /// It is known whether the client got it.
        DeliveryKnown "delivery_known"
        /// What was learnt is about to be written.
        BeforeSettle "before_settle"
        /// It is written.
        Settled "settled"
        /// The embedded ledger is about to commit.
        BeforeCommit "before_commit"
        /// It has committed, and has not answered yet.
        Committed "committed"
    }
}

named! {
    /// What a programmer might have got wrong. Each is one branch at its place.
    Mistake {
        /// Every retry gets a new key.
        NewKeyPerRetry "new_key_per_retry"
        /// An attempt is made before the claim is answered.
        SendBeforeClaim "send_before_claim"
        /// A claim overwrites what stands (an insert without NX).
        ClaimOverwrites "claim_overwrites"
        /// A claim over a record that has moved counts as won.
        VersionIgnored "version_ignored"
        /// A claim is put back though bytes left.
        PutBackAfterBytes "put_back_after_bytes"
        /// A process settles what another has taken over.
        SettleByNonOwner "settle_by_non_owner"
        /// The fingerprint leaves out some fields.
        FingerprintOmitsFields "fingerprint_omits_fields"
        /// The operation does not depend on whose account it is.
        IdentityOmitsScope "identity_omits_scope"
        /// An operation by content does not depend on its description.
        IdentityOmitsDescription "identity_omits_description"
        /// An answer counts as delivered before anybody knows.
        DeliveredTooEarly "delivered_too_early"
        /// A key is sent however old it is.
        SentPastHorizon "sent_past_horizon"
        /// A store that fails is taken for one that holds nothing.
        StoreErrorSwallowed "store_error_swallowed"
        /// A key is derived for the present epoch instead of the record's.
        EpochFromNow "epoch_from_now"
        /// 408, 424 and 5xx count as declines.
        UnknownAsDecline "unknown_as_decline"
        /// 409 "key in use" counts as a decline.
        InUseAsDecline "in_use_as_decline"
        /// "Not sent" or a rate limit makes up for an earlier attempt of which nothing is known.
        UnknownErased "unknown_erased"
        /// A decline that was delivered ends the operation for ever.
        DeclineForEver "decline_for_ever"
        /// A success that was delivered is replayed for ever.
        SuccessForEver "success_for_ever"
        /// The key does not depend on the occurrence.
        KeyWithoutOccurrence "key_without_occurrence"
        /// Another process's lease is not respected.
        LeaseIgnored "lease_ignored"
        /// The client's key is not recorded.
        AskerNotRecorded "asker_not_recorded"
        /// Attempts are made when nobody waits for them any more.
        RetriedUnwanted "retried_unwanted"
        /// What this process remembers beats what others wrote since.
        MemoryOverStore "memory_over_store"
        /// What was recognised by a former policy is not looked for.
        FormerForgotten "former_forgotten"
        /// A policy that recognises otherwise is in force before the other processes know it.
        EditUnannounced "edit_unannounced"
        /// Finishing goes on with whatever stands.
        FinishesAnything "finishes_anything"
        /// What finishing brought counts as delivered.
        FinishedAsDelivered "finished_as_delivered"
    }
}

/// The journey passes `point`.
#[cfg(not(feature = "seams"))]
#[inline]
pub const fn point(_: Point) {}

/// Whether this mistake is to be made.
#[cfg(not(feature = "seams"))]
#[inline]
#[must_use]
pub const fn mistake(_: Mistake) -> bool {
    false
}

/// A stream that tells when bytes left.
#[cfg(not(feature = "seams"))]
pub(crate) const fn written<S>(stream: S) -> S {
    stream
}
