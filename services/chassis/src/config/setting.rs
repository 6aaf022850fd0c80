//! The types that a setting can have, and their text forms.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

/// A type that a setting can have.
pub trait Setting: Sized {
    /// Whether the text must never be shown, not even if it is invalid.
    const SECRET: bool = false;

    /// Parses the text of a setting.
    ///
    /// # Errors
    /// The rule that the text breaks. It does not quote the text.
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! parsed_setting {
    ($($type:ty: $must:literal;)*) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| $must.to_owned())
            }
        }
    )*};
}

parsed_setting! {
    String: "must be text";
    PathBuf: "must be a path";
    u8: "must be a whole number from 0 to 255";
    u16: "must be a whole number from 0 to 65535";
    u32: "must be a whole number from 0 to 4294967295";
    u64: "must be a whole number from 0";
    usize: "must be a whole number from 0";
    NonZeroU32: "must be a whole number from 1 to 4294967295";
    NonZeroU64: "must be a whole number from 1";
    NonZeroUsize: "must be a whole number from 1";
    f64: "must be a number";
    SocketAddr: "must be an address and a port such as 127.0.0.1:8080 or [::1]:8080";
    url::Url: "must be a URL";
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundedNumber<T, const MIN: u32, const MAX: u32>(pub T);

impl<T: TryFrom<u32>, const MIN: u32, const MAX: u32> Setting for BoundedNumber<T, MIN, MAX> {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number.and_then(|number| T::try_from(number).ok()).map(Self).ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err("must be 1, true, yes, on, 0, false, no or off".to_owned()),
        }
    }
}

impl Setting for http::Uri {
    fn parse(text: &str) -> Result<Self, String> {
        let uri: Self = text.parse().map_err(|_| "must be a URL such as http://127.0.0.1:9090".to_owned())?;
        match uri.scheme_str() {
            Some("http") => Ok(uri),
            // Without this check a role would connect and never get a response.
            Some("https") => Err("must begin with http://: BACKLOT_TLS decides whether roles connect with TLS".to_owned()),
            _ => Err("must begin with http://".to_owned()),
        }
    }
}

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let problem = || "must be a whole number and a unit, such as 300ms, 15s, 5m, 12h or 7d".to_owned();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| problem())?;
        let seconds = match unit {
            "ms" => return Ok(Self::from_millis(number)),
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "" if number == 0 => 0,
            _ => return Err(problem()),
        };
        number.checked_mul(seconds).map(Self::from_secs).ok_or_else(problem)
    }
}

impl Setting for Vec<String> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }
}

/// A text that no log, error or `Debug` output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Setting for Secret {
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let parsed = ["300ms", "15s", "5m", "12h", "7d", "0"].map(|text| Duration::parse(text).unwrap().as_millis());
        assert_eq!(parsed, [300, 15_000, 300_000, 43_200_000, 604_800_000, 0]);
        for text in ["", "s", "1.5s", "-1s", "5 m", "5M", "99999999999999999999s", "18446744073709551615d"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_of_a_number_names_its_bounds() {
        for text in ["0", "-1", "257", "99999999999", "x", "1.5"] {
            assert_eq!(BoundedNumber::<usize, 1, 256>::parse(text).unwrap_err(), "must be a whole number from 1 to 256", "{text}");
        }
        assert_eq!(["1", "256"].map(|text| BoundedNumber::<usize, 1, 256>::parse(text).unwrap().0), [1, 256]);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
    }
}
