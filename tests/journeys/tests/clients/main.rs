//! Clients that people use: the first page in a browser, and chat clients. Each journey is a script of Node.js.

mod browser;
mod chat;
