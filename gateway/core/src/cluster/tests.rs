//! What no file of the cluster can test alone.

mod simulation;
