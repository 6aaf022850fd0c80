//! Clients: the first page in a browser, and chat clients. Each journey is a Node.js script.

mod browser;
mod chat;
mod frameworks;
mod hot;
mod many_modules;
mod scripted;
