//! The compiler as its callers see it: a request and its answer, in this process and in a worker.

mod addresses;
mod classic;
mod components;
mod edits;
mod exports;
mod faults;
mod hostile;
mod hostile_packages;
mod hot;
mod modules;
mod mutations;
mod nesting;
mod outlines;
mod packages;
mod page;
mod plain;
#[path = "../planted/mod.rs"]
mod planted;
mod preact;
#[path = "../published/mod.rs"]
mod published;
mod scss;
mod scss_packages;
mod servers;
mod site;
mod source_maps;
mod support;
mod svelte_config;
mod tailwind;
mod tailwind_content;
mod templates;
mod tool_environment;
mod tool_outputs;
mod tools;
mod workers;
