//! The state machine, judged by its table and by what it is for.

mod histories;
mod provider;
mod rows;
mod some;
mod world;
