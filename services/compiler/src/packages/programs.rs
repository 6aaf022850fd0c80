//! Tools of a bundle, as bytecode.

use bytes::Bytes;
use compiler_client::message::{PackageModule, PackagesAnswer, finding::code, tools};
use sha2::{Digest as _, Sha256};

use super::notes::Notes;
use crate::tool;

/// What a bundle has of a tool with this source, which is a module that imports nothing.
///
/// # Errors
/// A sentence: the engine refuses the source.
pub fn bytecode(source: &str) -> Result<Bytes, String> {
    tool::bytecode::compile(source).map(Bytes::from).map_err(|failure| failure.0)
}

/// Replaces the source of each tool that runs in an engine. One that cannot be compiled is left out, and has a finding.
pub(super) fn compile(answer: &mut PackagesAnswer, notes: &Notes) {
    let (tools, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut answer.packages).into_iter().partition(|package| tool::runs_in_engine(&package.specifier));
    answer.packages = others;
    for mut package in tools {
        let Some(at) = answer.modules.iter().position(|module| module.url == package.url) else { continue };
        let source = answer.modules.remove(at).code;
        match bytecode(&String::from_utf8_lossy(&source)) {
            Ok(code) => {
                package.url = tools::program_url(Sha256::digest(&code));
                answer.modules.push(PackageModule { url: package.url.clone(), code });
                answer.packages.push(package);
            }
            Err(message) => notes.add(code::NOT_BUNDLED, "", &format!("{} cannot be compiled: {message}", package.specifier)),
        }
    }
}
