//! Trees of packages as bytes: what compile stores, and what both sides say.

use std::collections::BTreeMap;

use npm::{Code, Finding, Integrity, Package, Tree};
use prost::{DecodeError, Message as _};

#[derive(Clone, PartialEq, prost::Message)]
struct StoredTree {
    #[prost(message, repeated, tag = "1")]
    packages: Vec<StoredPackage>,
    #[prost(btree_map = "string, string", tag = "2")]
    dependencies: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    findings: Vec<StoredFinding>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPackage {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    version: String,
    #[prost(string, tag = "4")]
    integrity: String,
    #[prost(btree_map = "string, string", tag = "5")]
    dependencies: BTreeMap<String, String>,
    #[prost(bool, tag = "6")]
    is_skipped: bool,
    #[prost(string, tag = "7")]
    link: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredFinding {
    #[prost(string, tag = "1")]
    package: String,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(string, tag = "3")]
    instead: String,
    #[prost(enumeration = "StoredCode", tag = "4")]
    code: i32,
}

/// The codes that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum StoredCode {
    UnsupportedSource = 0,
    InvalidName = 1,
    NativeCode = 2,
    NodeOnly = 3,
}

impl StoredCode {
    fn of(code: Code) -> Option<Self> {
        match code {
            Code::UnsupportedSource => Some(Self::UnsupportedSource),
            Code::InvalidName => Some(Self::InvalidName),
            Code::NativeCode => Some(Self::NativeCode),
            Code::NodeOnly => Some(Self::NodeOnly),
            _ => None,
        }
    }

    fn code(self) -> Code {
        match self {
            Self::UnsupportedSource => Code::UnsupportedSource,
            Self::InvalidName => Code::InvalidName,
            Self::NativeCode => Code::NativeCode,
            Self::NodeOnly => Code::NodeOnly,
        }
    }
}

/// What a bundle needs of a tree, with the findings that a page shows.
#[must_use]
pub fn encode(tree: &Tree, findings: &[Finding]) -> Vec<u8> {
    let package = |(path, package): (&String, &Package)| StoredPackage {
        path: path.clone(),
        name: package.name.clone(),
        version: package.version.clone(),
        integrity: package.integrity.as_ref().map(ToString::to_string).unwrap_or_default(),
        dependencies: package.dependencies.clone(),
        is_skipped: package.is_skipped,
        link: package.link.clone().unwrap_or_default(),
    };
    let finding = |finding: &Finding| {
        let code = StoredCode::of(finding.code)? as i32;
        let instead = finding.instead.clone().unwrap_or_default();
        Some(StoredFinding { package: finding.package.clone(), message: finding.message.clone(), instead, code })
    };
    let stored = StoredTree {
        packages: tree.packages.iter().map(package).collect(),
        dependencies: tree.dependencies.clone(),
        findings: findings.iter().filter_map(finding).collect(),
    };
    stored.encode_to_vec()
}

/// The tree, and the findings.
///
/// # Errors
/// The bytes are no tree.
pub fn decode(body: &[u8]) -> Result<(Tree, Vec<Finding>), DecodeError> {
    let stored = StoredTree::decode(body)?;
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let package = |package: StoredPackage| {
        let read = Package {
            name: package.name,
            version: package.version,
            integrity: Integrity::parse(&package.integrity),
            dependencies: package.dependencies,
            bundled: Vec::new(),
            is_dev: false,
            is_optional: false,
            is_skipped: package.is_skipped,
            link: text(package.link),
        };
        (package.path, read)
    };
    let finding = |finding: StoredFinding| Finding {
        code: finding.code().code(),
        package: finding.package,
        message: finding.message,
        instead: text(finding.instead),
    };
    let tree = Tree { packages: stored.packages.into_iter().map(package).collect(), dependencies: stored.dependencies };
    Ok((tree, stored.findings.into_iter().map(finding).collect()))
}
