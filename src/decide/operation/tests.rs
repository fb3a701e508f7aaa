//! The state machine, judged by its table and by what it is for.

mod bytes;
mod changes;
mod epochs;
mod histories;
mod model;
mod provider;
mod rows;
mod scenarios;
mod some;
mod trail;
mod world;
