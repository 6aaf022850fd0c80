//! The pages of a signed-in person: their list, and the page to which a sign-in leads back.

use url::form_urlencoded;

/// The parameter of the code of a device.
const CODE: &str = "user_code";
/// Characters of such a code. A longer text is none.
const MAX_CODE: usize = 16;
/// The page of the sign-in.
pub(crate) const SIGN_IN: &str = "/account/sign-in";
/// The pages in the menu: address and label.
pub(crate) const MENU: &[(&str, &str)] = &[
    ("/account/sessions", "Sessions"),
    ("/account/email", "E-mail address"),
    ("/account/password", "Password"),
    (SECOND_FACTOR, "Second factor"),
    ("/account/keys", "API keys"),
    ("/account/service-accounts", "Service accounts"),
    ("/account/provider-keys", "Model providers"),
    ("/account/identities", "Linked accounts"),
    ("/account/export", "Export"),
    ("/account/delete", "Delete"),
];
/// The page that lets a device sign in.
pub(crate) const DEVICE: &str = "/account/device";
/// The page that asks for a proof of who the person is.
pub(crate) const CONFIRM: &str = "/account/confirm";
/// The page of the link that confirms a new address of the account.
pub(crate) const NEW_EMAIL: &str = "/account/new-email";
/// The page of the link that verifies the address of the account.
pub(crate) const VERIFY_EMAIL: &str = "/account/verify-email";
/// The page of second factors.
const SECOND_FACTOR: &str = "/account/second-factor";
/// The parameter of that page for a person who has to add a factor, because the site requires one.
pub(crate) const REQUIRED: &str = "required";
/// Signed-in pages that are not in the menu.
const OTHERS: &[&str] = &[DEVICE, CONFIRM, NEW_EMAIL, VERIFY_EMAIL];

/// The last part of the address of a page.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The address of the signed-in page with this name. A sign-in leads only to these, so that no link can make it lead elsewhere.
fn page_named(name: &str) -> Option<&'static str> {
    MENU.iter().map(|(path, _)| *path).chain(OTHERS.iter().copied()).find(|path| name_of(path) == name)
}

/// The address that `next` of a sign-in names: the name of a page, or `device.CODE` for the page of a device with this code.
pub(crate) fn address_named(next: &str) -> Option<String> {
    let (name, code) = next.split_once('.').map_or((next, None), |(name, code)| (name, Some(code)));
    match (page_named(name)?, code) {
        (page, None) => Some(page.to_owned()),
        (DEVICE, Some(code)) if is_code(code) => Some(device_with(code)),
        _ => None,
    }
}

/// The address that a sign-in with this `next` leads to.
pub(crate) fn landing(next: &str) -> String {
    address_named(next).unwrap_or_else(|| "/".to_owned())
}

/// The address of the page of a device with its code.
pub(crate) fn device_with(code: &str) -> String {
    if is_code(code) { format!("{DEVICE}?{CODE}={code}") } else { DEVICE.to_owned() }
}

/// Whether a text can be the code of a device as a link has it.
fn is_code(text: &str) -> bool {
    (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The address of the sign-in that leads back to the address of a page.
pub(crate) fn sign_in_for(address: &str) -> String {
    leading_back(SIGN_IN, address)
}

/// The same of the page that asks for a proof.
pub(crate) fn confirm_for(address: &str) -> String {
    leading_back(CONFIRM, address)
}

/// That of the page on which a person adds the second factor that the site requires. It leads on to the address of a page.
pub(crate) fn add_factor_for(address: &str) -> String {
    let to = format!("{SECOND_FACTOR}?{REQUIRED}=yes");
    match next_of(address) {
        Some(next) => format!("{to}&next={next}"),
        None => to,
    }
}

fn leading_back(to: &str, address: &str) -> String {
    next_of(address).map_or_else(|| to.to_owned(), |next| format!("{to}?next={next}"))
}

/// What [`address_named`] takes for the address of a page; `None` if it has no name.
fn next_of(address: &str) -> Option<String> {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let page = page_named(name_of(path))?;
    let name = name_of(page);
    let code = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == CODE).map(|(_, code)| code);
    Some(match code.filter(|code| page == DEVICE && is_code(code)) {
        Some(code) => format!("{name}.{code}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_page_has_a_name_of_its_own() {
        let paths: Vec<&str> = MENU.iter().map(|(path, _)| *path).chain(OTHERS.iter().copied()).collect();
        assert_eq!(paths.iter().map(|path| name_of(path)).collect::<BTreeSet<_>>().len(), paths.len());
        for path in paths {
            assert_eq!(page_named(name_of(path)), Some(path));
            assert_eq!(sign_in_for(path), format!("/account/sign-in?next={}", name_of(path)));
            assert_eq!(confirm_for(path), format!("/account/confirm?next={}", name_of(path)));
        }
    }

    #[test]
    fn a_sign_in_keeps_the_code_of_a_device() {
        let address = "/account/device?user_code=WDJB-MJHT";
        assert_eq!(sign_in_for(address), "/account/sign-in?next=device.WDJB-MJHT");
        assert_eq!(address_named("device.WDJB-MJHT").as_deref(), Some(address));
        assert_eq!(address_named("keys").as_deref(), Some("/account/keys"));
        assert_eq!(landing("keys"), "/account/keys");
        assert_eq!(add_factor_for(address), "/account/second-factor?required=yes&next=device.WDJB-MJHT");
        for other in ["keys.WDJB-MJHT", "device.", "device.a.b", "device.a/../b", "device.a%26b=c", "device.//evil.example", "other.WDJB"] {
            assert_eq!(address_named(other), None, "{other}");
        }
        for query in ["user_code=", "user_code=a%26b", "user_code=%2F%2Fevil.example", "done=approved", "user_code=12345678901234567"] {
            assert_eq!(sign_in_for(&format!("/account/device?{query}")), "/account/sign-in?next=device", "{query}");
        }
        assert_eq!(sign_in_for("/account/keys?user_code=WDJB-MJHT"), "/account/sign-in?next=keys");
    }

    #[test]
    fn a_sign_in_leads_to_no_other_address() {
        for name in
            ["", "/", "//evil.example", "https://evil.example", "/account/sessions", "sessions/", "sign-in", "Sessions", "sessions\r\n"]
        {
            assert_eq!((page_named(name), address_named(name), landing(name).as_str()), (None, None, "/"), "{name:?}");
        }
        for path in ["/account/other", "/", "//evil.example/x"] {
            assert_eq!(sign_in_for(path), "/account/sign-in", "{path}");
            assert_eq!(add_factor_for(path), "/account/second-factor?required=yes", "{path}");
        }
    }
}
