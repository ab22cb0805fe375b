//! How many threads pack and unpack. The bytes that they make do not depend on it.

/// One a core.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
