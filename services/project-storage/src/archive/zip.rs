//! The records of zip files (APPNOTE.TXT of PKWARE).

/// The signature of a file's header, which is before its content.
pub(super) const LOCAL: u32 = 0x0403_4b50;
/// The signature of an entry of the directory at the end.
pub(super) const CENTRAL: u32 = 0x0201_4b50;
/// The signature of the last record.
pub(super) const END: u32 = 0x0605_4b50;
/// The flag of a name in UTF-8.
pub(super) const UTF8: u16 = 1 << 11;
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;
