//! The mails about second factors.

use time::OffsetDateTime;
use url::Url;

use super::{Words, moment, page};
use crate::way_in::NEW_FOR;

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

pub(super) fn passkey_added(name: &str, network: &str, at: OffsetDateTime, site: &Url) -> Words {
    Words {
        subject: "A passkey was added to your account".into(),
        before: vec![
            format!(
                "Somebody added a passkey to your account for {name} at {}, from the address {network}. Whoever has it can sign in.",
                moment(at)
            ),
            against_a_new_factor(),
        ],
        link: ("Set a new password", page(site, "account/reset", None)),
        after: Vec::new(),
    }
}

/// What the owner does if somebody else has added a factor, which a sign-in needs from then on.
fn against_a_new_factor() -> String {
    format!(
        "If this was not you, set a new password now with a link that you get by mail. All devices are then signed out. Within {0} days that \
         also removes it. After {0} days tell the operator.",
        NEW_FOR.whole_days()
    )
}

pub(super) fn factor_changed(is_added: bool, name: &str, at: OffsetDateTime, site: &Url) -> Words {
    let (what, then, advice) = if is_added {
        ("added to", " From now on a sign-in needs it.", against_a_new_factor())
    } else {
        let advice = "If this was not you, set a new password now, and tell the operator. All devices are then signed out.";
        ("removed from", "", advice.to_owned())
    };
    Words {
        subject: format!("A second factor was {what} your account"),
        before: vec![format!("A second factor was {what} your account for {name} at {}.{then}", moment(at)), advice],
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
