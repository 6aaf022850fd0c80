//! What this site asks of authenticators, and the rules for their answers (WebAuthn). What is between question and answer is JSON, as it is
//! stored.

use proto::id::UserId;
use serde::Serialize;
use serde_json::{Value, json};
use url::{Host, Url};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Webauthn, WebauthnBuilder,
    WebauthnError,
};

use crate::{ceremony::LIFETIME, user::User};

/// A question to an authenticator.
pub(crate) struct Question {
    /// For the browser.
    pub(crate) options: String,
    /// What the check of the answer needs.
    pub(crate) state: Value,
}

/// A new passkey.
pub(crate) struct NewPasskey {
    pub(crate) credential_id: Vec<u8>,
    pub(crate) credential: Value,
    /// What the browser says, which nobody signs: it only tells the person what they can do with the passkey.
    pub(crate) is_discoverable: bool,
    pub(crate) is_backed_up: bool,
}

/// A passkey after its use.
pub(crate) struct PasskeyUse {
    pub(crate) credential: Value,
    pub(crate) is_backed_up: bool,
}

/// Why an answer is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer is not valid")]
    Refused(#[source] WebauthnError),
    /// There may be a copy of the authenticator.
    #[error("the counter of the passkey went back")]
    CounterWentBack,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What is stored cannot be read, or a question cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("a stored passkey or exchange cannot be read")]
    Stored(#[from] serde_json::Error),
    #[error("a question to an authenticator could not be made")]
    Question(#[source] WebauthnError),
}

impl From<WebauthnError> for AnswerError {
    fn from(error: WebauthnError) -> Self {
        if matches!(error, WebauthnError::CredentialPossibleCompromise) { Self::CounterWentBack } else { Self::Refused(error) }
    }
}

/// The answer to the question of a sign-in, a second step or a step-up.
pub(crate) struct Answer(PublicKeyCredential);

impl Answer {
    /// `None` for a text that is no answer.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// What the authenticator calls the passkey.
    pub(crate) fn credential_id(&self) -> &[u8] {
        self.0.get_credential_id()
    }

    /// The account, if the authenticator knows it.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.0.get_user_unique_id().and_then(|bytes| uuid::Uuid::from_slice(bytes).ok()).map(UserId)
    }
}

/// This site, as authenticators know it.
pub(crate) struct RelyingParty(Webauthn);

impl RelyingParty {
    /// `None` if browsers offer no passkeys at this URL.
    pub(crate) fn of(site: &Url) -> Option<Self> {
        let Some(Host::Domain(host)) = site.host() else { return None };
        if site.scheme() != "https" && host != "localhost" {
            return None;
        }
        let builder = WebauthnBuilder::new(host, site).ok()?.rp_name("Backlot").timeout(LIFETIME.unsigned_abs());
        builder.build().ok().map(Self)
    }

    /// Asks for a new passkey, from an authenticator without one of `known`.
    ///
    /// # Errors
    /// [`Failure::Question`].
    pub(crate) fn ask_for_new(&self, user: &User, known: Vec<Vec<u8>>) -> Result<Question, Failure> {
        let started = self.0.start_passkey_registration(user.id.0, &user.email, &user.display_name, Some(known));
        let (challenge, state) = started.map_err(Failure::Question)?;
        let mut options = serde_json::to_value(&challenge.public_key)?;
        // An authenticator that stores the passkey signs in without an address. Another one is a second factor.
        options["authenticatorSelection"]["residentKey"] = json!("preferred");
        question(options, &state)
    }

    /// Checks the answer to [`Self::ask_for_new`].
    ///
    /// # Errors
    /// [`AnswerError`].
    pub(crate) fn register(&self, text: &str, state: Value) -> Result<NewPasskey, AnswerError> {
        let state: PasskeyRegistration = serde_json::from_value(state).map_err(Failure::from)?;
        let answer: RegisterPublicKeyCredential =
            serde_json::from_str(text).map_err(|error| AnswerError::Refused(WebauthnError::ParseJSONFailure(error)))?;
        let passkey = self.0.finish_passkey_registration(&answer, &state)?;
        let credential = serde_json::to_value(&passkey).map_err(Failure::from)?;
        Ok(NewPasskey {
            credential_id: passkey.cred_id().to_vec(),
            is_discoverable: answer.extensions.cred_props.and_then(|properties| properties.rk).unwrap_or_default(),
            is_backed_up: is_backed_up(&credential),
            credential,
        })
    }

    /// Asks for a passkey of an account, or with no ids for any passkey that the authenticator has for this site.
    ///
    /// # Errors
    /// [`Failure::Question`].
    pub(crate) fn ask_for_one_of(&self, ids: &[Vec<u8>]) -> Result<Question, Failure> {
        let (challenge, state) = self.0.start_discoverable_authentication().map_err(Failure::Question)?;
        let mut options = serde_json::to_value(&challenge.public_key)?;
        let descriptor = |id: &Vec<u8>| json!({ "type": "public-key", "id": base64(id) });
        options["allowCredentials"] = ids.iter().map(descriptor).collect();
        question(options, &state)
    }

    /// Checks the answer to [`Self::ask_for_one_of`] with the stored passkey. Whose passkey it is, is checked elsewhere.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub(crate) fn check(&self, answer: &Answer, state: Value, credential: Value) -> Result<PasskeyUse, AnswerError> {
        let state: DiscoverableAuthentication = serde_json::from_value(state).map_err(Failure::from)?;
        let mut passkey: Passkey = serde_json::from_value(credential).map_err(Failure::from)?;
        let result = self.0.finish_discoverable_authentication_v2(&answer.0, state, &passkey)?;
        passkey.update_credential(&result);
        let credential = serde_json::to_value(&passkey).map_err(Failure::from)?;
        Ok(PasskeyUse { is_backed_up: is_backed_up(&credential), credential })
    }
}

/// Browsers refuse `null` for an absent member.
fn question(mut options: Value, state: &impl Serialize) -> Result<Question, Failure> {
    if let Some(members) = options.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Ok(Question { options: options.to_string(), state: serde_json::to_value(state)? })
}

fn is_backed_up(credential: &Value) -> bool {
    credential["cred"]["backup_state"].as_bool().unwrap_or_default()
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proto::auth::Plan;
    use time::OffsetDateTime;

    use super::*;

    fn party() -> RelyingParty {
        RelyingParty::of(&Url::parse("https://apps.example").expect("url")).expect("offered")
    }

    #[test]
    fn passkeys_are_offered_at_localhost_and_at_domains_with_https() {
        for (site, is_offered) in [
            ("https://apps.example", true),
            ("https://apps.example:8443", true),
            ("http://localhost:8080", true),
            ("https://localhost", true),
            ("http://apps.example", false),
            ("http://127.0.0.1:8080", false),
            ("https://192.0.2.1", false),
            ("https://[::1]:8443", false),
            ("http://app.localhost:8080", false),
        ] {
            assert_eq!(RelyingParty::of(&Url::parse(site).expect(site)).is_some(), is_offered, "{site}");
        }
    }

    #[test]
    fn a_registration_asks_for_verification_and_excludes_known_passkeys() {
        let user = User {
            id: UserId::generate(),
            email: "ada@example.org".into(),
            display_name: "Ada".into(),
            plan: Plan::Free,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        let asked = party().ask_for_new(&user, vec![vec![1, 2, 3]]).expect("a question");
        let options: Value = serde_json::from_str(&asked.options).expect("JSON");
        assert_eq!((&options["rp"]["id"], &options["user"]["name"]), (&json!("apps.example"), &json!("ada@example.org")));
        assert_eq!(options["excludeCredentials"][0]["id"], "AQID");
        let selection = &options["authenticatorSelection"];
        assert_eq!((&selection["userVerification"], &selection["residentKey"]), (&json!("required"), &json!("preferred")));
        assert!(options.as_object().expect("members").values().all(|value| !value.is_null()), "{options}");
        assert!(matches!(party().register("{}", asked.state), Err(AnswerError::Refused(_))));
    }

    #[test]
    fn a_sign_in_names_no_passkey_and_differs_each_time() {
        let ask = |ids: &[Vec<u8>]| serde_json::from_str::<Value>(&party().ask_for_one_of(ids).expect("a question").options).expect("JSON");
        let (one, other) = (ask(&[]), ask(&[]));
        assert_ne!(one["challenge"], other["challenge"]);
        assert_eq!((&one["allowCredentials"], &one["userVerification"]), (&json!([]), &json!("required")));
        assert_eq!(ask(&[vec![1, 2, 3]])["allowCredentials"][0]["id"], "AQID");
        assert!(Answer::parse("{}").is_none());
    }
}
