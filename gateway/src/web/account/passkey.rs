//! The part of a page that asks the browser for a passkey. It needs a script.

use std::fmt::Write as _;

use super::{escape::escaped, form::Form};

/// What the browser asks the authenticator, and the form that sends the answer as `credential`.
#[derive(Debug, Default)]
pub(crate) struct Ask<'a> {
    /// Whether the authenticator makes a new passkey.
    pub(crate) is_new: bool,
    /// The options of auth.
    pub(crate) options: &'a str,
    pub(crate) form: Form<'a>,
}

impl Ask<'_> {
    /// `nonce` is that of the policy of the page. Without scripts only a text is seen.
    pub(crate) fn write(&self, to: &mut String, nonce: &str) {
        let mode = if self.is_new { "create" } else { "get" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            to,
            "<noscript><p>Passkeys need JavaScript, which is off in this browser.</p></noscript>\n\
             <p class=\"fault\" id=\"passkey-fault\" role=\"alert\" hidden></p>\n\
             <div id=\"passkey\" data-mode=\"{mode}\" data-options=\"{}\" hidden>",
            escaped(self.options),
        );
        self.form.write(to, None);
        let _ = writeln!(to, "</div>\n<script type=\"module\" src=\"/page/passkey.js\" nonce=\"{nonce}\"></script>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_escaped_and_the_script_has_the_nonce() {
        let mut html = String::new();
        let form = Form { hidden: vec![("credential", "")], ..Form::of_action("passkey-answer", "Continue") };
        Ask { is_new: true, options: "{\"a\":\"'><script>\"}", form }.write(&mut html, "abc");
        for part in [
            "data-mode=\"create\" data-options=\"{&quot;a&quot;:",
            "<input type=\"hidden\" name=\"credential\" value=\"\">",
            "src=\"/page/passkey.js\" nonce=\"abc\"",
            "<noscript>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{html}");
    }
}
