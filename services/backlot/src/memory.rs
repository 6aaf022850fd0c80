//! The allocator of the executable. The allocator of glibc keeps the memory of large bodies in the arena of each thread, so that a process
//! used several times its normal memory after a burst. jemalloc returns unused pages after ten seconds, with its own thread.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;
