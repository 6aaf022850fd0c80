//! Packages that are read into memory.

use std::{io::Write as _, sync::atomic::Ordering};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use npm::{Code, Error, Integrity, Limits, Package, Tree, install};
use ring::digest::{SHA512, digest};

use crate::registry::Written;

fn tarball(path: &str, text: &str) -> Bytes {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    builder.append_data(&mut header, format!("package/{path}"), text.as_bytes()).expect("memory");
    let mut encoder = builder.into_inner().expect("memory");
    encoder.flush().expect("memory");
    Bytes::from(encoder.finish().expect("memory"))
}

fn package(name: &str, tarball: &Bytes) -> Package {
    let hash = data_encoding::BASE64.encode(digest(&SHA512, tarball).as_ref());
    Package {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        integrity: Integrity::parse(&format!("sha512-{hash}")),
        dependencies: std::collections::BTreeMap::new(),
        bundled: Vec::new(),
        is_dev: false,
        is_optional: false,
        is_skipped: false,
        link: None,
    }
}

fn registry_and_tree() -> (Written, Tree) {
    let (a, b) = (tarball("index.js", "1"), tarball("binding.gyp", "{}"));
    let mut registry = Written::default();
    registry.tarballs = [("a@1.0.0".to_owned(), a.clone()), ("b@1.0.0".to_owned(), b.clone())].into();
    let mut tree = Tree::default();
    for (path, package) in
        [("node_modules/a", package("a", &a)), ("node_modules/b", package("b", &b)), ("node_modules/b/node_modules/a", package("a", &a))]
    {
        tree.packages.insert(path.to_owned(), package);
    }
    tree.packages.insert("node_modules/s".to_owned(), Package { is_skipped: true, ..package("s", &a) });
    tree.packages.insert("node_modules/l".to_owned(), Package { link: Some("node_modules/a".to_owned()), ..package("a", &a) });
    (registry, tree)
}

#[tokio::test]
async fn each_version_is_requested_once_and_checked() {
    let (registry, mut tree) = registry_and_tree();
    let installed = install(&tree, |_, _| true, &registry, &Limits::default()).await.expect("files");
    let paths: Vec<_> =
        installed.packages.iter().map(|(path, files)| (path.as_str(), files.keys().next().expect("a file").as_str())).collect();
    assert_eq!(paths, [("node_modules/a", "index.js"), ("node_modules/b", "binding.gyp"), ("node_modules/b/node_modules/a", "index.js")]);
    assert_eq!(installed.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::NativeCode]);
    assert_eq!(registry.reads.load(Ordering::Relaxed), 2);
    let only = install(&tree, |path, _| path == "node_modules/b", &registry, &Limits::default()).await.expect("files");
    assert_eq!(only.packages.len(), 1);
    let limits = Limits { total_bytes: 2, ..Limits::default() };
    assert!(matches!(install(&tree, |_, _| true, &registry, &limits).await, Err(Error::TooLarge { .. })));
    tree.packages.get_mut("node_modules/b").expect("b").integrity = Integrity::from_shasum(&"0".repeat(40));
    assert!(matches!(install(&tree, |_, _| true, &registry, &Limits::default()).await, Err(Error::Integrity { .. })));
    tree.packages.get_mut("node_modules/b").expect("b").version = "2.0.0".to_owned();
    assert!(matches!(install(&tree, |_, _| true, &registry, &Limits::default()).await, Err(Error::NoPackage { .. })));
}
