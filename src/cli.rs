//! .
pub mod check;
