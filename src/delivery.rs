//! Did the client get its answer? A counting wrapper around each client connection knows.
