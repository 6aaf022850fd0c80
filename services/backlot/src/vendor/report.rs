//! What the commands print: a line for each package, and the sums at the end.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use proto::compile::{Bundle, KeptPackage};

/// The sums of a command.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Packages that are new, or all of a list.
    packages: u64,
    bytes: u64,
    /// Packages that were kept already.
    before: u64,
}

impl Report {
    pub(super) fn line(&self, text: &str) -> Result<()> {
        writeln!(io::stdout(), "{text}").context("cannot write the report")
    }

    /// A package that an addition or an import has passed.
    pub(super) fn package(&mut self, package: &KeptPackage) -> Result<()> {
        if package.was_kept {
            self.before += 1;
            return Ok(());
        }
        self.listed(package)
    }

    pub(super) fn listed(&mut self, package: &KeptPackage) -> Result<()> {
        self.packages += 1;
        self.bytes += package.bytes;
        let size = if package.bytes == 0 { "without files".to_owned() } else { size(package.bytes) };
        self.line(&format!("{}@{} {size}", package.name, package.version))
    }

    pub(super) fn bundle(&mut self, bundle: &Bundle) -> Result<()> {
        self.line(&format!("bundle of {} {}", bundle.specifiers.join(", "), size(bundle.bytes)))?;
        for finding in &bundle.findings {
            self.line(&format!("  {}: {}", finding.code, finding.message))?;
        }
        Ok(())
    }

    pub(super) fn end(&self) -> Result<()> {
        self.line(&format!("added {} packages ({}); {} were kept before", self.packages, size(self.bytes), self.before))
    }

    pub(super) fn end_of_list(&self) -> Result<()> {
        self.line(&format!("{} packages ({})", self.packages, size(self.bytes)))
    }
}

/// Such as `1.5 MiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        for (bytes, expected) in [(0, "0 bytes"), (1_023, "1023 bytes"), (1_536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
