//! Containers: generational slabs, timer wheel, reorder window, and small ones for what is empty or
//! alone in nearly every session.

pub mod few;
pub mod lent;
pub mod slab;
pub mod wheel;
pub mod window;
