//! The factors of an account, and the rule of a recent proof.

use time::{Duration, OffsetDateTime};

/// A proof is recent for this long.
pub(crate) const MAX_AGE: Duration = Duration::minutes(10);

/// A way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Password,
    /// A code of an authenticator app (RFC 6238).
    Totp,
    RecoveryCode,
    /// The answer of an authenticator that has verified its person (WebAuthn).
    Passkey,
}

/// The values of `amr` that only second factors have.
const SECOND: [&str; 2] = ["otp", "pop"];

impl Method {
    /// As errors and the audit log spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey => "passkey",
        }
    }

    /// The values of RFC 8176. It has none for recovery codes, which are used once, too.
    pub(crate) const fn amr(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::Totp | Self::RecoveryCode => &["otp"],
            // A key, and what unlocks it.
            Self::Passkey => &["pop", "mfa"],
        }
    }
}

/// Whether the values of a session say that its person has shown a second factor.
fn has_second(amr: &[String]) -> bool {
    amr.iter().any(|value| SECOND.contains(&value.as_str()))
}

/// What the person of a session has proved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShownProof<'a> {
    /// When they proved last who they are.
    pub(crate) at: OffsetDateTime,
    /// How, since the sign-in.
    pub(crate) amr: &'a [String],
}

/// What an account can prove itself with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Factors {
    pub(crate) password: bool,
    /// Whether there is a confirmed authenticator app.
    pub(crate) totp: bool,
    pub(crate) passkeys: i64,
    pub(crate) recovery_codes: i64,
}

impl Factors {
    /// Whether a password alone is not enough. Recovery codes are no factor of their own: they replace a lost one.
    pub(crate) const fn has_second(self) -> bool {
        self.totp || self.passkeys > 0
    }

    /// The ways that a proof accepts. With a second factor only that counts, because whoever stole a session may know the password, too.
    /// None: only another sign-in helps.
    pub(crate) fn methods(self) -> Vec<Method> {
        let second = self.has_second();
        let ways = [
            (self.password && !second, Method::Password),
            (self.passkeys > 0, Method::Passkey),
            (self.totp, Method::Totp),
            (second && self.recovery_codes > 0, Method::RecoveryCode),
        ];
        ways.into_iter().filter_map(|(has, method)| has.then_some(method)).collect()
    }

    /// Whether a sensitive request is allowed.
    ///
    /// # Errors
    /// The accepted ways, if the proof is too old, or if the account has a second factor that the session never showed.
    pub(crate) fn check(self, shown: ShownProof<'_>, now: OffsetDateTime) -> Result<(), Vec<Method>> {
        self.check_second(shown)?;
        if now - shown.at < MAX_AGE { Ok(()) } else { Err(self.methods()) }
    }

    /// Whether a request is allowed that completes a sensitive one. The proof may be old.
    ///
    /// # Errors
    /// The accepted ways, if the account has a second factor that the session never showed.
    pub(crate) fn check_second(self, shown: ShownProof<'_>) -> Result<(), Vec<Method>> {
        if !self.has_second() || has_second(shown.amr) { Ok(()) } else { Err(self.methods()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const PASSWORD: Factors = Factors { password: true, totp: false, passkeys: 0, recovery_codes: 0 };

    fn amr(methods: &[Method]) -> Vec<String> {
        methods.iter().flat_map(|method| method.amr()).map(|value| (*value).to_owned()).collect()
    }

    fn check(factors: Factors, methods: &[Method], now: OffsetDateTime) -> Result<(), Vec<Method>> {
        factors.check(ShownProof { at: START, amr: &amr(methods) }, now)
    }

    #[test]
    fn a_proof_is_recent_for_ten_minutes() {
        for (age, is_recent) in
            [(Duration::ZERO, true), (MAX_AGE - Duration::MICROSECOND, true), (MAX_AGE, false), (Duration::days(3), false)]
        {
            assert_eq!(check(PASSWORD, &[Method::Password], START + age).is_ok(), is_recent, "{age}");
        }
    }

    #[test]
    fn with_a_second_factor_only_that_is_a_proof() {
        use Method::{Passkey, Password, RecoveryCode, Totp};
        let totp = Factors { totp: true, recovery_codes: 10, ..PASSWORD };
        for (factors, methods, proofs, is_enough) in [
            (Factors::default(), vec![], vec![Password], true),
            (PASSWORD, vec![Password], vec![Password], true),
            // Codes without a factor are left over, and prove nothing.
            (Factors { recovery_codes: 10, ..PASSWORD }, vec![Password], vec![Password], true),
            (totp, vec![Totp, RecoveryCode], vec![Password], false),
            (totp, vec![Totp, RecoveryCode], vec![], false),
            (Factors { recovery_codes: 0, ..totp }, vec![Totp], vec![Password, Totp], true),
            (totp, vec![Totp, RecoveryCode], vec![Password, RecoveryCode], true),
            (Factors { passkeys: 1, ..totp }, vec![Passkey, Totp, RecoveryCode], vec![Passkey], true),
            (Factors { passkeys: 2, ..PASSWORD }, vec![Passkey], vec![Password], false),
            (Factors { passkeys: 1, ..Factors::default() }, vec![Passkey], vec![Totp], true),
            (Factors { password: false, ..totp }, vec![Totp, RecoveryCode], vec![Totp], true),
        ] {
            assert_eq!(factors.methods(), methods, "{factors:?}");
            assert_eq!(check(factors, &proofs, START).is_ok(), is_enough, "{factors:?} after {proofs:?}");
            let completes = factors.check_second(ShownProof { at: START - Duration::days(3), amr: &amr(&proofs) });
            assert_eq!(completes.is_ok(), is_enough, "{factors:?} long after {proofs:?}");
            assert_eq!(check(factors, &proofs, START + MAX_AGE), Err(methods));
        }
    }
}
