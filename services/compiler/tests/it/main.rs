//! The compiler as its callers see it: a request and its answer, in this process and in a worker.

mod faults;
mod hostile;
mod modules;
mod packages;
mod page;
mod scss;
mod site;
mod support;
mod templates;
mod tools;
mod workers;
