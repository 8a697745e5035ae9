//! Documentation as modules.
