//! The allocator of the executable. glibc's keeps what large bodies took in the arena of each thread, so that a process stayed at
//! several times its level after a burst. This one gives unused pages back after ten seconds, by a thread of its own.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
