//! A hasher of passwords that adds up its work.

use argon2_rust::{Argon2, Error, Hasher};

/// Computes hashes in memory that it keeps, and adds up their work.
pub(crate) struct MeteredHasher {
    hasher: Hasher,
    /// Blocks of one KiB that were filled since the work was last taken.
    filled: u64,
}

impl MeteredHasher {
    /// A hasher without memory yet. Its first hash allocates the memory.
    pub(crate) fn new(argon2: &Argon2) -> Self {
        Self { hasher: argon2.hasher(), filled: 0 }
    }

    /// Sets the cost of the hashes that follow.
    pub(crate) fn set_argon2(&mut self, argon2: Argon2) {
        self.hasher.set_argon2(argon2);
    }

    /// # Errors
    /// The parameters are out of bounds, or there is no memory.
    pub(crate) fn hash_into(&mut self, password: &[u8], salt: &[u8], output: &mut [u8]) -> Result<(), Error> {
        self.count();
        self.hasher.hash_into(password, salt, output)
    }

    /// # Errors
    /// [`Error::VerifyMismatch`] for another password; otherwise those of [`Self::hash_into`].
    pub(crate) fn verify(&mut self, password: &[u8], salt: &[u8], expected: &[u8]) -> Result<(), Error> {
        self.count();
        self.hasher.verify(password, salt, expected)
    }

    /// Gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.hasher.clear();
    }

    /// The blocks of one KiB that were filled since the last call: the memory of each hash in KiB times its passes.
    pub(crate) fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.filled)
    }

    fn count(&mut self) {
        let params = self.hasher.params();
        self.filled += u64::from(params.memory_kib()) * u64::from(params.passes());
    }

    #[cfg(test)]
    pub(crate) fn reserved_blocks(&self) -> usize {
        self.hasher.reserved_blocks()
    }
}
