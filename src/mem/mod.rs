//! Containers: generational slabs, timer wheel, windows.
