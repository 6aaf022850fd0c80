//! The pages of accounts: plain HTML without scripts. A link of a mail opens one of them and changes nothing; the button of the page does.

pub(crate) mod html;
pub(crate) mod link;
pub(crate) mod words;
