//! Containers: generational slabs, timer wheel, reorder window.

pub mod slab;
pub mod wheel;
pub mod window;
