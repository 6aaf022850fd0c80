//! `yarn.lock` of yarn 1: blocks of lines, indented by two spaces.

use super::{
    check_entries,
    picks::{Locked, Picks},
};
use crate::{error::Error, integrity::Integrity, limits::Limits};

#[derive(Default)]
struct Block {
    /// Names and specifiers.
    keys: Vec<(String, String)>,
    version: String,
    integrity: Option<Integrity>,
}

pub(super) fn read(file: &str, text: &str, limits: &Limits) -> Result<Picks, Error> {
    let (mut picks, mut block, mut count) = (Picks::default(), Block::default(), 0);
    for (at, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match line.len() - line.trim_start().len() {
            0 => {
                finish(&mut picks, std::mem::take(&mut block));
                block.keys = keys(content, limits.lock_entries)
                    .ok_or_else(|| Error::syntax(file, format!("line {} is not the head of a block", at + 1)))?;
                count += block.keys.len();
                check_entries(file, count, limits)?;
            }
            2 => field(&mut block, content),
            _ => {}
        }
    }
    finish(&mut picks, block);
    Ok(picks)
}

/// `"a@^1", "a@^2":` → names and specifiers, at most one more than the limit.
fn keys(line: &str, limit: usize) -> Option<Vec<(String, String)>> {
    line.strip_suffix(':')?.split(',').take(limit + 1).map(|key| split_key(unquoted(key.trim()))).collect()
}

/// `@scope/name@^1` → name and specifier.
pub(super) fn split_key(key: &str) -> Option<(String, String)> {
    let at = key.get(1..)?.find('@')? + 1;
    Some((key[..at].to_owned(), key[at + 1..].to_owned()))
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn field(block: &mut Block, content: &str) {
    let Some((name, value)) = content.split_once(' ') else { return };
    let value = unquoted(value.trim());
    match name {
        "version" => value.clone_into(&mut block.version),
        "integrity" => block.integrity = Integrity::parse(value).or(block.integrity.take()),
        // The fragment of the address is the SHA-1.
        "resolved" if block.integrity.is_none() => {
            block.integrity = value.rsplit_once('#').and_then(|(_, hash)| Integrity::from_shasum(hash));
        }
        _ => {}
    }
}

fn finish(picks: &mut Picks, block: Block) {
    for (name, spec) in block.keys {
        let alias = spec.strip_prefix("npm:").and_then(split_key);
        let package = alias.as_ref().map_or(name.as_str(), |(package, _)| package);
        if let Some(locked) = Locked::new(package, &block.version, block.integrity.clone()) {
            picks.add_for_spec(&name, &spec, locked);
        }
    }
}
