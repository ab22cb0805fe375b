//! Images: named and recorded by `snapshot --docker-image`, their stale names removed by `--prune-docker`, and brought
//! back by `rollback`. No real engine runs here: see `engine`.
pub(crate) mod engine;
mod prune;
mod rollback;
mod snapshot;
