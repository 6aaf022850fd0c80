//! The service through its own `serve`, on a real database, with a real rate-limit beside it.

mod access;
mod conflicts;
mod harness;
mod limits;
mod loads;
mod merges;
mod pages;
mod paths;
mod previews;
mod projects;
mod quotas;
mod races;
mod replaces;
mod saves;
mod turns;
