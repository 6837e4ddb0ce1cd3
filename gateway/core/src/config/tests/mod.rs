//! The decoder with types like those of the routes file.

mod broken;
mod mutation;
mod sample;

use serde::de::DeserializeOwned;

use super::{Positions, Problems, Source, decode};

fn variables(name: &str) -> Option<String> {
    match name {
        "NAMESPACE" => Some("prod.internal".to_owned()),
        "WORKERS" => Some("4".to_owned()),
        "SECRET" => Some("hunter22".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<(T, Positions), Problems> {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    decode(source, &variables)
}
