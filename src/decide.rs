//! What decides, pure: no clock, no I/O, no `async`.
//!
//! Read in this order: [`path`] and [`policy`] say which rule a request falls to; [`canonical`]
//! what its body means; [`digest`] and [`identity`] which operation it is; [`key`] which idempotency key goes
//! upstream, and [`agent`] whose keys have which shape; [`operation`] what to do with what the ledger
//! holds; [`outcome`] what an answer means; [`retry`] whether to ask again; [`observe`] what would
//! have been done where nothing is; [`traffic`] what is written down of it, and what can be read from
//! that. [`guard`] says what is wrong with API keys and own keys; [`shown`] what of a text people may see.

pub mod agent;
pub mod canonical;
pub mod digest;
pub mod finish;
pub mod guard;
pub mod identity;
pub mod key;
pub mod observe;
pub mod operation;
pub mod outcome;
pub mod path;
pub mod policy;
pub mod retry;
pub mod shown;
pub mod traffic;
