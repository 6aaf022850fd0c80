//! The pages of accounts: plain HTML. Only the pages that ask for a passkey or have a challenge have a script. A link of a mail opens one of
//! them and changes nothing; the button of the page does.

pub(crate) mod challenge;
pub(crate) mod cookie;
pub(crate) mod escape;
pub(crate) mod form;
pub(crate) mod html;
pub(crate) mod link;
pub(crate) mod menu;
pub(crate) mod passkey;
pub(crate) mod qr_code;
pub(crate) mod refusal;
pub(crate) mod section;
pub(crate) mod words;
