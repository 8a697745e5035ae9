//! The seeded world of the simulation.
