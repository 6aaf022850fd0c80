//! The formats of archives, and the names of exported files.

use proto::path::check_new;

/// The most characters of a file name without its extension.
const NAME_CHARACTERS: usize = 100;
/// The name of an archive whose project's name has no character that a file name may have.
const FALLBACK_NAME: &str = "project";

/// The format of an exported archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Zip,
    TarGz,
}

impl Format {
    /// The format with this name, which is also its extension.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Zip, Self::TarGz].into_iter().find(|format| format.extension() == name)
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Zip => "application/zip",
            Self::TarGz => "application/gzip",
        }
    }

    /// The name of an archive of a project. Every common file system supports it.
    pub(crate) fn file_name(self, project: &str) -> String {
        let kept: String = project.chars().map(|c| if is_legal(c) { c } else { ' ' }).collect();
        let words = kept.split_whitespace().collect::<Vec<_>>().join(" ");
        let name: String = words.trim_start_matches('.').chars().take(NAME_CHARACTERS).collect();
        let name = name.trim_matches([' ', '.']);
        let name = if check_new(name).is_ok() { name } else { FALLBACK_NAME };
        format!("{name}.{}", self.extension())
    }
}

fn is_legal(c: char) -> bool {
    !matches!(c, '/' | '\\') && check_new(c.encode_utf8(&mut [0; 4])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_format_has_one_name() {
        assert_eq!([Format::parse("zip"), Format::parse("tar.gz")], [Some(Format::Zip), Some(Format::TarGz)]);
        for other in ["", "ZIP", "tar", "tgz", "zip "] {
            assert_eq!(Format::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_name_is_legal_on_every_system() {
        for (project, expected) in [
            ("My shop", "My shop.zip"),
            ("Größe 2.0", "Größe 2 0.zip"),
            ("a/b\\c: \"d\"?", "a b c d.zip"),
            ("../../etc/passwd", "etc passwd.zip"),
            ("", "project.zip"),
            ("...", "project.zip"),
            ("con", "project.zip"),
            ("e\u{301}tude", "project.zip"),
            ("商店", "商店.zip"),
            ("a\u{202e}b", "a b.zip"),
        ] {
            assert_eq!(Format::Zip.file_name(project), expected, "{project}");
        }
        assert_eq!(Format::TarGz.file_name("x"), "x.tar.gz");
    }

    proptest! {
        #[test]
        fn every_name_gives_a_legal_path(project in "\\PC{0,140}|[./\\\\ a:]{0,20}") {
            let name = Format::Zip.file_name(&project);
            prop_assert!(check_new(&name).is_ok() && !name.contains('/'), "{name}");
        }
    }
}
