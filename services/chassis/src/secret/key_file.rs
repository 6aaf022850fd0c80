//! The file with a cluster's secret. The secret must be as strong as one in the environment, and only the owner may read or write the
//! file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{make_data_dir, strength};

/// The permission bits of the group and of others.
const GROUP_AND_OTHERS: u32 = 0o077;

pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    // The mode of the open file, because another file could get the name meanwhile.
    let mode = file.metadata()?.permissions().mode();
    if mode & GROUP_AND_OTHERS != 0 {
        let text = format!("its mode {:03o} gives access to others; run `chmod 600 {}`", mode & 0o777, path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let text = text.trim();
    strength::check(text).map_err(|weakness| io::Error::new(io::ErrorKind::InvalidData, format!("its content {weakness}")))?;
    Ok(text.to_owned())
}

/// Creates the file if it does not exist. Processes that start at the same time get the same file: each writes a complete temporary file,
/// and the first hard link to the final name succeeds.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    make_data_dir(folder)?;
    let temporary = path.with_extension(format!("{}.{}", std::process::id(), random_hex()?));
    let written = write_new(&temporary).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    let _ = fs::remove_file(&temporary);
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
