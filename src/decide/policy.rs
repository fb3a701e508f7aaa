//! The checked policy, and which of its rules a request falls to.
