//! The mails about second factors.

use time::OffsetDateTime;
use url::Url;

use super::{Words, moment, page};
use crate::email_token::{EmailToken, Purpose};

pub(super) fn second_step_failed(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "Somebody may have your password".into(),
        before: vec![
            format!(
                "Somebody did the first step of a sign-in to your account for {name}, and failed at the second one several times, at last at {}, \
                 from the address {network}, which is new.",
                moment(at)
            ),
            "If this was not you, somebody has your password, or an account at a provider that you sign in with. The second step has kept them \
             out. Set a new password now. All devices are then signed out."
                .into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: vec![format!(
            "If you sign in with an account at a provider, look at {}, and change the password at that provider, too.",
            page(site, "account/identities", None)
        )],
    }
}

pub(super) fn passkey_added(name: &str, network: &str, token: Option<&EmailToken>, at: OffsetDateTime, site: &Url) -> Words {
    let text = format!(
        "Somebody added a passkey to your account for {name} at {}, from the address {network}. Whoever has it can sign in.",
        moment(at)
    );
    added("A passkey was added to your account", text, token, site)
}

pub(super) fn factor_added(name: &str, token: Option<&EmailToken>, at: OffsetDateTime, site: &Url) -> Words {
    let text = format!("A second factor was added to your account for {name} at {}. From now on a sign-in needs it.", moment(at));
    added("A second factor was added to your account", text, token, site)
}

/// With what the owner does if somebody else has added the factor, which a sign-in needs from then on.
fn added(subject: &str, text: String, token: Option<&EmailToken>, site: &Url) -> Words {
    let Some(token) = token else {
        let advice = "If this was not you, set a new password now with a link that you get by mail, and tell the operator.".to_owned();
        let link = ("See your second factors", page(site, "account/second-factor", None));
        return Words { subject: subject.into(), before: vec![text, advice], link, after: Vec::new() };
    };
    let advice = format!(
        "If this was not you, open the page and remove it. The link can be used once within {} days. All devices are then signed out.",
        Purpose::RemoveFactor.lifetime().whole_days()
    );
    let then = format!("Whoever added it may know your password, so set a new password at {}, too.", page(site, "account/reset", None));
    let late = "After that time, tell the operator. If it was you, ignore the link.".to_owned();
    let link = ("Remove it", page(site, "account/remove-factor", Some(token)));
    Words { subject: subject.into(), before: vec![text, advice], link, after: vec![then, late] }
}

pub(super) fn factor_removed(name: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "A second factor was removed from your account".into(),
        before: vec![
            format!("A second factor was removed from your account for {name} at {}.", moment(at)),
            "If this was not you, set a new password now, and tell the operator. All devices are then signed out.".into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: Vec::new(),
    }
}

pub(super) fn recovery_codes_replaced(name: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "New recovery codes were made for your account".into(),
        before: vec![
            format!(
                "New recovery codes were made for your account for {name} at {}. Each of them can replace your second factor once. The codes \
                 from before no longer work.",
                moment(at)
            ),
            "If this was not you, set a new password now, and make new recovery codes. All devices are signed out then.".into(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: Vec::new(),
    }
}
