//! Containers: generational slabs, timer wheel, reorder window, a table whose entries age, and
//! small ones for what is empty or alone in nearly every session.

pub mod aging;
pub mod bucket;
pub mod few;
pub mod lent;
pub mod slab;
pub mod wheel;
pub mod window;
