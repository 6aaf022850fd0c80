//! The folders of a private server and the user that runs it. PostgreSQL refuses to run as root, so root gives the folders to another
//! user. The path of a Unix socket must be short.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown, symlink},
    },
    path::{Path, PathBuf},
};

use crate::{error::Error, sys};

/// Where the files are if the server's user cannot reach the requested folder.
const SHARED: &str = "/var/lib/backlot";
/// A file in such a folder. It contains the path of the symbolic link that leads to the folder.
const ORIGIN: &str = "origin";
/// The longest path of a Unix socket that every system accepts, in bytes without the terminating zero.
const MAX_SOCKET_PATH: usize = 103;
const SOCKET: &str = "/.s.PGSQL.5432";

/// A user that runs the server in place of root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The folders of a private server, locked until this value is dropped.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) root: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) user: Option<User>,
    _lock: File,
}

impl Folders {
    /// Creates the folders and locks them.
    pub(super) fn lock(folder: &Path, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let failed = |source| Error::Folder { folder: folder.to_owned(), source };
        let user = if sys::is_root() {
            Some(unprivileged(&fs::read_to_string("/etc/passwd").map_err(failed)?).ok_or(Error::NoUser)?)
        } else {
            None
        };
        let root = create_root(folder, user, Path::new(SHARED), progress).map_err(failed)?;
        let lock = open_file(File::options().create(true).truncate(false).write(true), &root.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(root)),
            Err(TryLockError::Error(source)) => return Err(Error::Folder { folder: root, source }),
        }
        let sockets = socket_folder(&root, user).map_err(failed)?;
        Ok(Self { root, sockets, user, _lock: lock })
    }

    /// The data folder of the server.
    pub(super) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The folder in which `initdb` creates the data.
    pub(super) fn unfinished_data(&self) -> PathBuf {
        self.root.join("data.new")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Opens the log for appending. The server's user owns it. A log of more than `limit` bytes is truncated.
    pub(super) fn open_log(&self, limit: u64) -> io::Result<File> {
        let log = open_file(File::options().create(true).append(true), &self.log())?;
        if let Some(user) = self.user {
            fchown(&log, Some(user.uid), Some(user.gid))?;
        }
        if log.metadata()?.len() > limit {
            log.set_len(0)?;
        }
        Ok(log)
    }

    pub(super) fn read_log(&self) -> io::Result<String> {
        let mut bytes = Vec::new();
        open_file(File::options().read(true), &self.log())?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Opens a file in the root folder. The server's user owns that folder and could have put anything there, so root follows no symbolic
/// link, opens no file that has another hard link, and does not block on a named pipe.
fn open_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let refuse = |what: &str| io::Error::other(format!("{} is {what}: remove it", path.display()));
    let opened = options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => refuse("a symbolic link"),
        Some(libc::ENXIO) => refuse("not a regular file"),
        _ => e,
    })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refuse("not a regular file"));
    }
    if meta.nlink() != 1 {
        return Err(refuse("a file with several hard links"));
    }
    Ok(file)
}

/// The user `postgres`, or else `nobody`, from the text of `/etc/passwd`. `initdb` does not work for a user without a name.
fn unprivileged(passwd: &str) -> Option<User> {
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let listed = fields.next()? == name;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (listed && uid != 0).then_some(User { uid, gid })
        })
    };
    find("postgres").or_else(|| find("nobody"))
}

/// Creates the folder, owned by the user, and returns its real path. If the user cannot reach the folder (as in root's home), it becomes a
/// symbolic link to a folder below `shared`.
fn create_root(folder: &Path, user: Option<User>, shared: &Path, progress: &dyn Fn(&str)) -> io::Result<PathBuf> {
    if let Ok(target) = fs::read_link(folder) {
        // The target may have been removed.
        DirBuilder::new().recursive(true).mode(0o711).create(&target)?;
    } else {
        DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    }
    let mut real = fs::canonicalize(folder)?;
    if let Some(user) = user {
        if !is_reachable(&real, user)? {
            let text = real.to_string_lossy().into_owned();
            // An empty folder is replaced. If the folder contains files, they are kept and this is an error.
            fs::remove_dir(&real).map_err(|e| {
                io::Error::new(e.kind(), format!("{text} contains files, and the user that runs PostgreSQL cannot reach it: {e}"))
            })?;
            remove_orphans(shared, &std::env::temp_dir());
            let target = shared.join(format!("postgres-{}", uuid::Uuid::new_v4().simple()));
            symlink(&target, &real)?;
            DirBuilder::new().recursive(true).mode(0o711).create(&target)?;
            fs::write(target.join(ORIGIN), real.as_os_str().as_encoded_bytes())?;
            real = fs::canonicalize(folder)?;
            progress(&format!("PostgreSQL cannot run as root, and its user cannot reach {text}: the files are in {}", real.display()));
        }
        chown(&real, Some(user.uid), Some(user.gid))?;
    }
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700))?;
    Ok(real)
}

/// Removes folders below `shared` whose link was in the temporary folder and is gone. Any other missing link may have been moved.
fn remove_orphans(shared: &Path, temporary: &Path) {
    let Ok(entries) = fs::read_dir(shared) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        // A folder without this file was not created here.
        let Ok(origin) = fs::read(folder.join(ORIGIN)) else { continue };
        let origin = Path::new(OsStr::from_bytes(&origin));
        if !origin.starts_with(temporary) || fs::read_link(origin).is_ok_and(|target| target == folder) {
            continue;
        }
        // Another process may remove it at the same time.
        let _ = fs::remove_dir_all(&folder);
    }
}

/// Whether the user may enter every folder above this one.
fn is_reachable(folder: &Path, user: User) -> io::Result<bool> {
    for parent in folder.ancestors().skip(1) {
        let meta = fs::metadata(parent)?;
        let class = if meta.uid() == user.uid {
            0o100
        } else if meta.gid() == user.gid {
            0o010
        } else {
            0o001
        };
        if meta.mode() & class == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates a folder for the socket that only the server's user and root can enter. It is below `folder` if that path is short enough, or
/// else below `/tmp`.
fn socket_folder(folder: &Path, user: Option<User>) -> io::Result<PathBuf> {
    let near = folder.join("s");
    let fits = near.as_os_str().len() + SOCKET.len() <= MAX_SOCKET_PATH;
    let sockets = if fits { near } else { Path::new("/tmp").join(format!("backlot-{:016x}", fnv(folder.as_os_str().as_encoded_bytes()))) };
    match DirBuilder::new().mode(0o700).create(&sockets) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // In `/tmp` another user could have created or could replace the folder. The checks and changes below use the opened folder.
    let foreign = || io::Error::other(format!("{} belongs to another user", sockets.display()));
    let open = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(&sockets).map_err(|e| {
        match e.raw_os_error() {
            Some(libc::ELOOP | libc::ENOTDIR | libc::EACCES) => foreign(),
            _ => e,
        }
    })?;
    let (meta, owner) = (open.metadata()?, fs::metadata(folder)?.uid());
    if !(meta.uid() == owner || (user.is_some() && meta.uid() == 0)) {
        return Err(foreign());
    }
    open.set_permissions(fs::Permissions::from_mode(0o700))?;
    if let Some(user) = user {
        fchown(&open, Some(user.uid), Some(user.gid))?;
    }
    Ok(sockets)
}

/// The FNV-1a hash, which is the same in every run.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_postgres_or_else_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(unprivileged(passwd), Some(User { uid: 65_534, gid: 65_533 }));
        let with = format!("{passwd}postgres:x:105:113::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(unprivileged(&with), Some(User { uid: 105, gid: 113 }));
        assert_eq!(unprivileged("root:x:0:0::/:/bin/sh\npostgres:x:0:0::/:/bin/sh"), None);
    }

    #[test]
    fn a_folder_that_the_user_cannot_reach_becomes_a_symbolic_link() {
        if !sys::is_root() {
            return; // Only root runs the server as another user.
        }
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (home, shared) = (root.path().join("home"), root.path().join("shared"));
        DirBuilder::new().mode(0o700).create(&home).unwrap();
        let (folder, user) = (home.join("data/postgres"), Some(User { uid: 65_534, gid: 65_534 }));
        let real = create_root(&folder, user, &shared, &|_| ()).unwrap();
        assert!(real.starts_with(&shared));
        assert_eq!(fs::metadata(&real).unwrap().uid(), 65_534);
        assert_eq!(create_root(&folder, user, &shared, &|_| ()).unwrap(), real, "the second start uses the same folder");
        fs::remove_dir_all(&real).unwrap();
        assert_eq!(create_root(&folder, user, &shared, &|_| ()).unwrap(), real, "a removed folder is created again");
        let second = create_root(&home.join("second"), user, &shared, &|_| ()).unwrap();
        fs::remove_dir_all(home.join("second")).unwrap_or_else(|_| fs::remove_file(home.join("second")).unwrap());
        create_root(&home.join("third"), user, &shared, &|_| ()).unwrap();
        assert!(!second.exists(), "a folder without its link is removed");
    }

    #[test]
    fn the_path_of_the_socket_is_short_below_a_long_path() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(90));
        for folder in [root.path().to_owned(), long] {
            fs::create_dir_all(&folder).unwrap();
            let sockets = socket_folder(&folder, None).unwrap();
            assert!(sockets.as_os_str().len() + SOCKET.len() <= MAX_SOCKET_PATH);
            assert_eq!(sockets, socket_folder(&folder, None).unwrap());
            assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);
            fs::remove_dir(sockets).unwrap();
        }
    }

    fn folders(root: &Path) -> Folders {
        Folders::lock(root, &|_| ()).unwrap()
    }

    /// What replaces the log, and a function that puts it there.
    type Trap<'a> = (&'a str, &'a dyn Fn(&Path));

    #[test]
    fn the_log_must_be_a_regular_file_with_one_name() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let folders = folders(&root.path().join("pg"));
        folders.open_log(10).unwrap();
        assert_eq!(
            fs::metadata(folders.log()).unwrap().uid(),
            folders.user.map_or_else(|| fs::metadata(root.path()).unwrap().uid(), |u| u.uid)
        );
        fs::write(folders.log(), "ten bytes and more").unwrap();
        assert_eq!(folders.read_log().unwrap(), "ten bytes and more");
        folders.open_log(1_000).unwrap();
        assert_eq!(folders.read_log().unwrap(), "ten bytes and more", "a short log is kept");
        folders.open_log(10).unwrap();
        assert_eq!(folders.read_log().unwrap(), "", "a long log is truncated");

        let victim = root.path().join("victim");
        fs::write(&victim, "a file of another user, longer than the limit").unwrap();
        let owner = fs::metadata(&victim).unwrap().uid();
        let missing = root.path().join("missing");
        let traps: [Trap; 5] = [
            ("a symbolic link to a file", &|log| symlink(&victim, log).unwrap()),
            ("a symbolic link without a target", &|log| symlink(&missing, log).unwrap()),
            ("a hard link", &|log| fs::hard_link(&victim, log).unwrap()),
            ("a named pipe", &|log| assert!(std::process::Command::new("mkfifo").arg(log).status().unwrap().success())),
            ("a folder", &|log| fs::create_dir(log).unwrap()),
        ];
        for (what, place) in traps {
            fs::remove_file(folders.log()).unwrap();
            place(&folders.log());
            assert!(folders.open_log(10).is_err(), "{what}: written");
            assert!(folders.read_log().is_err(), "{what}: read");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "a file of another user, longer than the limit", "{what}");
            assert_eq!(fs::metadata(&victim).unwrap().uid(), owner, "{what}");
            assert!(!missing.exists(), "{what}");
        }
    }

    #[test]
    fn symbolic_links_in_place_of_the_lock_and_the_socket_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (folder, elsewhere) = (root.path().join("pg"), root.path().join("elsewhere"));
        drop(folders(&folder));
        fs::create_dir(&elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
        let owner = fs::metadata(&elsewhere).unwrap().uid();
        fs::remove_dir(folder.join("s")).unwrap();
        symlink(&elsewhere, folder.join("s")).unwrap();
        let error = Folders::lock(&folder, &|_| ()).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("belongs to another user"), "{error:?}");
        let meta = fs::metadata(&elsewhere).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (owner, 0o755));

        fs::remove_file(folder.join("s")).unwrap();
        fs::remove_file(folder.join("lock")).unwrap();
        symlink(root.path().join("created"), folder.join("lock")).unwrap();
        assert!(Folders::lock(&folder, &|_| ()).is_err());
        assert!(!root.path().join("created").exists());
    }
}
