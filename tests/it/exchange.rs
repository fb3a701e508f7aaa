//! The journey of requests through a whole payonce: what is kept, joined, refused and passed.

mod keys;
mod store;
mod stub;
mod waiting;
mod wire;
mod work;
