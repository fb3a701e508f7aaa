//! What a request says, in one form for all spellings of the same thing.
