//! Private channels whose instance is lost: one that says so goes on with another instance, all
//! others are over.
