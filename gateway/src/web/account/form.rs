//! Forms and their fields.

use std::fmt::Write as _;

use super::{escape::escaped, refusal::Refusal};

/// What a new password has to be. `min` is its least length; 0 if that is unknown.
pub(crate) fn password_rule(min: u32) -> String {
    let advice = "Several words that do not belong together are easy to remember and hard to guess.";
    if min == 0 { advice.to_owned() } else { format!("At least {min} characters. {advice}") }
}

/// A form.
#[derive(Debug, Default)]
pub(crate) struct Form<'a> {
    /// The address that the form is sent to. Empty: that of its page.
    pub(crate) to: &'a str,
    /// Names and values that the form sends and does not show, such as the token of a link or the row that it is about.
    pub(crate) hidden: Vec<(&'a str, &'a str)>,
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) button: &'a str,
    /// What the button says to a screen reader after its text, where several forms of a page have the same button.
    pub(crate) subject: &'a str,
    /// Whether the fault of the page is about this form.
    pub(crate) is_refused: bool,
    /// Whether the button ends, removes or refuses something. It looks different from the others.
    pub(crate) is_destructive: bool,
}

impl<'a> Form<'a> {
    /// A form that sends `action`, by which the handler of a page with several forms knows it.
    pub(crate) fn of_action(action: &'a str, button: &'a str) -> Self {
        Self { hidden: vec![("action", action)], button, ..Self::default() }
    }

    /// The ids of the fields that the fault of the page can be about, with their names in the contract.
    pub(crate) fn refused_fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fields = if self.is_refused { self.fields.as_slice() } else { &[] };
        fields.iter().map(|field| (field.name, field.in_contract()))
    }

    /// `refusal` is the fault of the page.
    pub(crate) fn write(&self, to: &mut String, refusal: Option<&Refusal>) {
        let refusal = refusal.filter(|_| self.is_refused);
        let action = if self.to.is_empty() { String::new() } else { format!(" action=\"{}\"", escaped(self.to)) };
        // Writing to a String cannot fail.
        let _ = writeln!(to, "<form method=\"post\"{action}>");
        for (name, value) in &self.hidden {
            let _ = writeln!(to, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value));
        }
        for field in &self.fields {
            field.write(to, &refusal.map_or_else(String::new, |refusal| refusal.about(field.in_contract())));
        }
        let subject = match self.subject {
            "" => String::new(),
            subject => format!("<span class=\"unseen\"> {}</span>", escaped(subject)),
        };
        let class = if self.is_destructive { " class=\"danger\"" } else { "" };
        let _ = writeln!(to, "<button type=\"submit\"{class}>{}{subject}</button>\n</form>", escaped(self.button));
    }
}

/// A field of text, or a choice. Its name occurs once in a page, because it is also its id.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    /// The name of the field in the contract, by which a refusal is about it. Empty: `name`.
    pub(crate) of: &'a str,
    pub(crate) label: &'a str,
    /// The `type` of the input.
    pub(crate) kind: &'a str,
    pub(crate) autocomplete: &'a str,
    pub(crate) value: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) is_optional: bool,
    /// Values and labels to choose from; none for a text.
    pub(crate) options: &'a [(&'a str, &'a str)],
}

impl<'a> Field<'a> {
    pub(crate) fn text(name: &'a str, label: &'a str) -> Self {
        Self { name, of: "", label, kind: "text", autocomplete: "off", value: "", hint: "", is_optional: false, options: &[] }
    }

    pub(crate) fn email(value: &'a str) -> Self {
        Self { kind: "email", autocomplete: "username", value, ..Self::text("email", "E-mail address") }
    }

    pub(crate) fn password() -> Self {
        Self { kind: "password", autocomplete: "current-password", ..Self::text("password", "Password") }
    }

    /// A code of an authenticator app.
    pub(crate) fn app_code() -> Self {
        Self { autocomplete: "one-time-code", hint: "The six digits that the authenticator app shows.", ..Self::text("code", "Code") }
    }

    /// A code of an authenticator app if there is one, or a recovery code.
    pub(crate) fn code(has_app: bool) -> Self {
        if has_app {
            return Self { hint: "The six digits that the authenticator app shows, or one of your recovery codes.", ..Self::app_code() };
        }
        Self { hint: "One of your recovery codes.", ..Self::text("code", "Recovery code") }
    }

    /// `rule` is that of [`password_rule`].
    pub(crate) fn new_password(rule: &'a str) -> Self {
        Self { label: "New password", autocomplete: "new-password", hint: rule, ..Self::password() }
    }

    const fn in_contract(&self) -> &'a str {
        if self.of.is_empty() { self.name } else { self.of }
    }

    /// `fault` is what is wrong with the field, or empty.
    fn write(&self, to: &mut String, fault: &str) {
        let Self { name, label, kind, autocomplete, value, hint, is_optional, options, .. } = self;
        let has_fault = !fault.is_empty();
        let described: Vec<String> = [(has_fault, format!("{name}-fault")), (!hint.is_empty(), format!("{name}-hint"))]
            .into_iter()
            .filter_map(|(holds, id)| holds.then_some(id))
            .collect();
        let described =
            if described.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", escaped(&described.join(" "))) };
        let invalid = if has_fault { " aria-invalid=\"true\"" } else { "" };
        let required = if *is_optional { "" } else { " required" };
        let _ = writeln!(to, "<label for=\"{name}\">{}</label>", escaped(label));
        if options.is_empty() {
            let _ = writeln!(
                to,
                "<input id=\"{name}\" name=\"{name}\" type=\"{kind}\" autocomplete=\"{autocomplete}\" value=\"{}\"{required}{described}{invalid}>",
                escaped(value),
            );
        } else {
            let _ = writeln!(to, "<select id=\"{name}\" name=\"{name}\"{described}{invalid}>");
            for (option, text) in *options {
                let selected = if option == value { " selected" } else { "" };
                let _ = writeln!(to, "<option value=\"{}\"{selected}>{}</option>", escaped(option), escaped(text));
            }
            to.push_str("</select>\n");
        }
        if has_fault {
            let _ = writeln!(to, "<p class=\"wrong\" id=\"{name}-fault\">{}</p>", escaped(fault));
        }
        if !hint.is_empty() {
            let _ = writeln!(to, "<p class=\"hint\" id=\"{name}-hint\">{}</p>", escaped(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_choice_has_its_options_and_the_chosen_one() {
        let field = Field { options: &[("a", "A & B"), ("c", "C")], value: "c", hint: "Choose.", ..Field::text("pick", "Pick") };
        let mut html = String::new();
        Form { fields: vec![field], ..Form::of_action("go", "Go") }.write(&mut html, None);
        for part in [
            "<label for=\"pick\">Pick</label>\n<select id=\"pick\" name=\"pick\" aria-describedby=\"pick-hint\">",
            "<option value=\"a\">A &amp; B</option>",
            "<option value=\"c\" selected>C</option>\n</select>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("<input id"), "{html}");
    }

    #[test]
    fn the_rule_of_a_new_password_is_beside_its_field() {
        let (rule, mut html) = (password_rule(15), String::new());
        Form { fields: vec![Field::new_password(&rule)], ..Form::default() }.write(&mut html, None);
        assert!(
            html.contains("aria-describedby=\"password-hint\"") && html.contains("id=\"password-hint\">At least 15 characters. "),
            "{html}"
        );
        assert!(!password_rule(0).contains("At least"), "of an auth that does not say it");
    }

    #[test]
    fn a_destructive_button_looks_different() {
        let written = |is_destructive| {
            let (form, mut html) = (Form { is_destructive, ..Form::of_action("delete", "Delete") }, String::new());
            form.write(&mut html, None);
            html
        };
        assert!(written(true).contains("<button type=\"submit\" class=\"danger\">Delete</button>"));
        assert!(written(false).contains("<button type=\"submit\">Delete</button>"));
    }

    #[test]
    fn an_optional_field_is_not_required() {
        let mut html = String::new();
        Form { fields: vec![Field { is_optional: true, ..Field::text("a", "A") }], ..Form::default() }.write(&mut html, None);
        assert!(html.contains("<input id=\"a\"") && !html.contains("required"), "{html}");
    }

    #[test]
    fn only_the_wrong_fields_of_the_refused_form_say_what_is_wrong() {
        let refusal = Refusal::of_field(StatusCode::BAD_REQUEST, "display_name", "The name is \"wrong\".");
        let fields = || vec![Field { of: "display_name", hint: "Short.", ..Field::text("name", "Name") }, Field::text("days", "Days")];
        let written = |is_refused| {
            let (form, mut html) = (Form { fields: fields(), is_refused, ..Form::default() }, String::new());
            form.write(&mut html, Some(&refusal));
            (html, form.refused_fields().count())
        };
        let (html, count) = written(true);
        assert!(html.contains("aria-describedby=\"name-fault name-hint\" aria-invalid=\"true\">"), "{html}");
        assert!(html.contains("<p class=\"wrong\" id=\"name-fault\">The name is &quot;wrong&quot;.</p>"), "{html}");
        assert_eq!((html.matches("aria-invalid").count(), count), (1, 2));
        let (html, count) = written(false);
        assert!(!html.contains("fault") && !html.contains("aria-invalid") && count == 0, "{html}");
    }
}
