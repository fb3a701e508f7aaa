//! What is promised, counted: one way of judging for the simulation, for real processes, and for
//! what people do without payonce.

pub(crate) mod report;
pub(crate) mod verdict;
