//! Tests of the service through its `serve`, with a real database and a real rate-limit.

mod access;
mod blame;
mod conflicts;
mod contents;
mod deletes;
mod exports;
mod file_history;
mod files;
mod filters;
mod fork_merges;
mod forks;
mod garbage;
mod git;
mod harness;

mod history;
mod imports;
mod limits;
mod loads;
mod locks;
mod merges;
mod messages;
mod model;
mod pages;
mod paths;
mod previews;
mod projects;
mod quotas;
mod races;
mod replaces;
mod reverts;
mod saves;
mod search;
mod templates;
mod turns;
mod undo;
