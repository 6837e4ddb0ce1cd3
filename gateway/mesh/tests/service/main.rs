//! A service of the mesh as its clients and its operators see it: the real router
//! in the real server, on port 0.

mod command_line;
mod database;
mod http;
mod identity;
mod notes;
mod registration;
mod stop;
mod traces;
