//! How much is read.

/// Limits of files, resolutions and tarballs. The default fits projects of people.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a `package.json`.
    pub manifest_bytes: usize,
    /// Bytes of a lock file.
    pub lock_bytes: usize,
    /// Entries of a lock file.
    pub lock_entries: usize,
    /// Bytes of one packument.
    pub packument_bytes: usize,
    /// Bytes of all packuments of a resolution.
    pub packuments_bytes: usize,
    /// Bytes of memory for the versions of all packuments of a resolution.
    pub packuments_memory: usize,
    /// Packuments of a resolution.
    pub packuments: usize,
    /// Different dependencies, each a name with a specifier, of all packages that a resolution looks at.
    pub requests: usize,
    /// Packages of a tree.
    pub packages: usize,
    /// Levels of `node_modules` in a tree.
    pub depth: usize,
    /// Comparisons of a resolution, over all builds of its tree. A tree of 1,300 packages needs less than six million. A hundred million take
    /// about a second.
    pub steps: u64,
    /// Bytes of a tarball.
    pub packed_bytes: usize,
    /// Bytes of the files of a package.
    pub unpacked_bytes: u64,
    /// Bytes of the files of all packages.
    pub total_bytes: u64,
    /// Bytes of files for each byte of the tarball, above the first MiB.
    pub ratio: u64,
    /// Entries of a tarball.
    pub entries: usize,
    /// Bytes of a path in a package.
    pub path_bytes: usize,
    /// Folders above a file in a package.
    pub path_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 1 << 20,
            lock_bytes: 8 << 20,
            lock_entries: 20_000,
            packument_bytes: 64 << 20,
            packuments_bytes: 2 << 30,
            packuments_memory: 384 << 20,
            packuments: 5_000,
            requests: 100_000,
            packages: 3_000,
            depth: 32,
            steps: 50_000_000,
            packed_bytes: 64 << 20,
            unpacked_bytes: 256 << 20,
            total_bytes: 1 << 30,
            ratio: 200,
            entries: 100_000,
            path_bytes: 512,
            path_depth: 32,
        }
    }
}
