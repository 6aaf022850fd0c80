//! The file that holds a cluster's secret. Its content is as strong as a secret of the environment must be, and nobody but its owner
//! can read or write it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{make_data_dir, strength};

/// Group and others.
const OTHERS: u32 = 0o077;

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    // Asked of the open file: what the name leads to may change.
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS != 0 {
        let text = format!("its mode {:03o} lets others in; run `chmod 600 {}`", mode & 0o777, path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let text = text.trim();
    strength::check(text).map_err(|weakness| io::Error::new(io::ErrorKind::InvalidData, format!("what it holds {weakness}")))?;
    Ok(text.to_owned())
}

/// Makes the file unless it is there. Two processes that start at once end with the same: each writes a file of its own in full,
/// and the first link to the final name wins.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    make_data_dir(folder)?;
    let draft = path.with_extension(format!("{}.{}", std::process::id(), random_hex()?));
    let written = write_new(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&draft);
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", random_hex()?)?;
    file.sync_all()
}

fn random_hex() -> io::Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers from the system"))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
