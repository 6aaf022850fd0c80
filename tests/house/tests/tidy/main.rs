//! The rules of the house as a test. A rule that a good reason breaks gets an exception beside it, with the reason.

mod dependencies;
mod documents;
mod reasons;
mod sizes;
mod territories;
