//! Where the private server keeps its files and under which user it runs. PostgreSQL refuses to be root, so root hands the
//! folder to another user; and a socket's path must be short.

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

/// Where the files go when root's own folder lets nobody through.
const SHARED: &str = "/var/lib/backlot";
/// The file there that names the link which leads to the folder.
const ORIGIN: &str = "origin";
/// The longest path of a socket that every system takes, without its closing zero.
const LONGEST_SOCKET: usize = 103;
const SOCKET: &str = "/.s.PGSQL.5432";

/// A user that can run the server in place of root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The folders of a private server; nobody else has them while this lives.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) user: Option<User>,
    _lock: File,
}

impl Place {
    pub(super) fn claim(folder: &Path, progress: &dyn Fn(&str)) -> Result<Self, Error> {
        let failed = |source| Error::Folder { folder: folder.to_owned(), source };
        let user = if sys::is_root() {
            Some(unprivileged(&fs::read_to_string("/etc/passwd").map_err(failed)?).ok_or(Error::NoUser)?)
        } else {
            None
        };
        let folder = open(folder, user, Path::new(SHARED), progress).map_err(failed)?;
        let lock = open_file(File::options().create(true).truncate(false).write(true), &folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(folder)),
            Err(TryLockError::Error(source)) => return Err(Error::Folder { folder, source }),
        }
        let sockets = socket_folder(&folder, user).map_err(failed)?;
        Ok(Self { folder, sockets, user, _lock: lock })
    }

    /// The server's own folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where `initdb` works until it is done.
    pub(super) fn draft(&self) -> PathBuf {
        self.folder.join("data.new")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The log, to be written at its end by the server's user; begun anew when it has grown beyond the limit.
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

    /// What the log holds.
    pub(super) fn read_log(&self) -> io::Result<String> {
        let mut bytes = Vec::new();
        open_file(File::options().read(true), &self.log())?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Opens a file in the server's folder. The folder belongs to the server's user, so root must not go where that user leads: neither
/// through a link nor to a second name of somebody's file, nor wait at a pipe.
fn open_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let refuse = |what: &str| io::Error::other(format!("{} is {what}: remove it", path.display()));
    let opened = options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => refuse("a link"),
        Some(libc::ENXIO) => refuse("no file"),
        _ => e,
    })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refuse("no file"));
    }
    if meta.nlink() != 1 {
        return Err(refuse("one of several names of a file"));
    }
    Ok(file)
}

/// `postgres`, else `nobody`, as the machine lists them: `initdb` does not work for a user without a name.
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

/// Makes the folder, owned by the user. If that user cannot get there (root's home is closed to others), the folder becomes a
/// link to one that can be reached.
fn open(folder: &Path, user: Option<User>, shared: &Path, progress: &dyn Fn(&str)) -> io::Result<PathBuf> {
    if let Ok(target) = fs::read_link(folder) {
        // The link may outlive what it leads to.
        DirBuilder::new().recursive(true).mode(0o711).create(&target)?;
    } else {
        DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    }
    let mut real = fs::canonicalize(folder)?;
    if let Some(user) = user {
        if !reachable(&real, user)? {
            let text = real.to_string_lossy().into_owned();
            // An empty folder is replaced; files of an earlier server stay where they are, and say so.
            fs::remove_dir(&real).map_err(|e| {
                io::Error::new(e.kind(), format!("{text} holds files, and the user that runs PostgreSQL cannot get there: {e}"))
            })?;
            sweep(shared, &std::env::temp_dir());
            let target = shared.join(format!("postgres-{}", uuid::Uuid::new_v4().simple()));
            symlink(&target, &real)?;
            DirBuilder::new().recursive(true).mode(0o711).create(&target)?;
            fs::write(target.join(ORIGIN), real.as_os_str().as_encoded_bytes())?;
            real = fs::canonicalize(folder)?;
            progress(&format!("PostgreSQL cannot run as root nor reach {text}: its files are in {}", real.display()));
        }
        chown(&real, Some(user.uid), Some(user.gid))?;
    }
    fs::set_permissions(&real, fs::Permissions::from_mode(0o700))?;
    Ok(real)
}

/// Removes the folders of temporary clusters whose link is gone. The link of any other one may only have been moved.
fn sweep(shared: &Path, temporary: &Path) {
    let Ok(entries) = fs::read_dir(shared) else { return };
    for folder in entries.flatten().map(|entry| entry.path()) {
        // Without a note of its origin it is not ours to remove.
        let Ok(origin) = fs::read(folder.join(ORIGIN)) else { continue };
        let origin = Path::new(OsStr::from_bytes(&origin));
        if !origin.starts_with(temporary) || fs::read_link(origin).is_ok_and(|target| target == folder) {
            continue;
        }
        // Somebody else may be sweeping too.
        let _ = fs::remove_dir_all(&folder);
    }
}

/// Whether the user may pass through every folder above this one.
fn reachable(folder: &Path, user: User) -> io::Result<bool> {
    for above in folder.ancestors().skip(1) {
        let meta = fs::metadata(above)?;
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

/// A folder for the socket that only the server's user and root can enter: beside the data if the path is short enough.
fn socket_folder(folder: &Path, user: Option<User>) -> io::Result<PathBuf> {
    let near = folder.join("s");
    let fits = near.as_os_str().len() + SOCKET.len() <= LONGEST_SOCKET;
    let sockets = if fits { near } else { Path::new("/tmp").join(format!("backlot-{:016x}", fnv(folder.as_os_str().as_encoded_bytes()))) };
    match DirBuilder::new().mode(0o700).create(&sockets) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // In a shared folder somebody else could have been first, and could put another folder there meanwhile: what is open stays.
    let foreign = || io::Error::other(format!("{} belongs to somebody else", sockets.display()));
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

/// FNV-1a: the same name for the same folder in every run.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_becomes_postgres_else_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(unprivileged(passwd), Some(User { uid: 65_534, gid: 65_533 }));
        let with = format!("{passwd}postgres:x:105:113::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(unprivileged(&with), Some(User { uid: 105, gid: 113 }));
        assert_eq!(unprivileged("root:x:0:0::/:/bin/sh\npostgres:x:0:0::/:/bin/sh"), None);
    }

    #[test]
    fn a_folder_that_the_user_cannot_reach_becomes_a_link() {
        if !sys::is_root() {
            return; // only root hands folders over
        }
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (home, shared) = (root.path().join("home"), root.path().join("shared"));
        DirBuilder::new().mode(0o700).create(&home).unwrap();
        let (folder, user) = (home.join("data/postgres"), Some(User { uid: 65_534, gid: 65_534 }));
        let real = open(&folder, user, &shared, &|_| ()).unwrap();
        assert!(real.starts_with(&shared));
        assert_eq!(fs::metadata(&real).unwrap().uid(), 65_534);
        assert_eq!(open(&folder, user, &shared, &|_| ()).unwrap(), real, "the same one the next time");
        fs::remove_dir_all(&real).unwrap();
        assert_eq!(open(&folder, user, &shared, &|_| ()).unwrap(), real, "made again when lost");
        let second = open(&home.join("second"), user, &shared, &|_| ()).unwrap();
        fs::remove_dir_all(home.join("second")).unwrap_or_else(|_| fs::remove_file(home.join("second")).unwrap());
        open(&home.join("third"), user, &shared, &|_| ()).unwrap();
        assert!(!second.exists(), "removed when nothing leads to it");
    }

    #[test]
    fn a_long_path_gets_a_short_socket() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(90));
        for folder in [root.path().to_owned(), long] {
            fs::create_dir_all(&folder).unwrap();
            let sockets = socket_folder(&folder, None).unwrap();
            assert!(sockets.as_os_str().len() + SOCKET.len() <= LONGEST_SOCKET);
            assert_eq!(sockets, socket_folder(&folder, None).unwrap());
            assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);
            fs::remove_dir(sockets).unwrap();
        }
    }

    fn place(folder: &Path) -> Place {
        Place::claim(folder, &|_| ()).unwrap()
    }

    /// What is put in the log's place, and how.
    type Trap<'a> = (&'a str, &'a dyn Fn(&Path));

    #[test]
    fn the_log_is_a_file_of_the_servers_user_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = place(&root.path().join("pg"));
        place.open_log(10).unwrap();
        assert_eq!(
            fs::metadata(place.log()).unwrap().uid(),
            place.user.map_or_else(|| fs::metadata(root.path()).unwrap().uid(), |u| u.uid)
        );
        fs::write(place.log(), "ten bytes and more").unwrap();
        assert_eq!(place.read_log().unwrap(), "ten bytes and more");
        place.open_log(1_000).unwrap();
        assert_eq!(place.read_log().unwrap(), "ten bytes and more", "kept");
        place.open_log(10).unwrap();
        assert_eq!(place.read_log().unwrap(), "", "begun anew");

        let victim = root.path().join("victim");
        fs::write(&victim, "a file of somebody else, longer than the limit").unwrap();
        let owner = fs::metadata(&victim).unwrap().uid();
        let missing = root.path().join("missing");
        let traps: [Trap; 5] = [
            ("a link to a file", &|log| symlink(&victim, log).unwrap()),
            ("a link to nothing", &|log| symlink(&missing, log).unwrap()),
            ("a second name", &|log| fs::hard_link(&victim, log).unwrap()),
            ("a pipe", &|log| assert!(std::process::Command::new("mkfifo").arg(log).status().unwrap().success())),
            ("a folder", &|log| fs::create_dir(log).unwrap()),
        ];
        for (what, lay) in traps {
            fs::remove_file(place.log()).unwrap();
            lay(&place.log());
            assert!(place.open_log(10).is_err(), "{what}: written");
            assert!(place.read_log().is_err(), "{what}: read");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "a file of somebody else, longer than the limit", "{what}");
            assert_eq!(fs::metadata(&victim).unwrap().uid(), owner, "{what}");
            assert!(!missing.exists(), "{what}");
        }
    }

    #[test]
    fn neither_the_lock_nor_the_sockets_lead_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (folder, elsewhere) = (root.path().join("pg"), root.path().join("elsewhere"));
        drop(place(&folder));
        fs::create_dir(&elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
        let owner = fs::metadata(&elsewhere).unwrap().uid();
        fs::remove_dir(folder.join("s")).unwrap();
        symlink(&elsewhere, folder.join("s")).unwrap();
        let error = Place::claim(&folder, &|_| ()).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("belongs to somebody else"), "{error:?}");
        let meta = fs::metadata(&elsewhere).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (owner, 0o755));

        fs::remove_file(folder.join("s")).unwrap();
        fs::remove_file(folder.join("lock")).unwrap();
        symlink(root.path().join("made"), folder.join("lock")).unwrap();
        assert!(Place::claim(&folder, &|_| ()).is_err());
        assert!(!root.path().join("made").exists());
    }
}
