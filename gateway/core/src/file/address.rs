//! Addresses and networks as text, with messages that say how to write them.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An IP address and a port: `127.0.0.1:8080`, `[::1]:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Parsed::new(
                "an address",
                "an IP address and a port, such as `127.0.0.1:8080`",
            ))
            .map(Self)
    }
}

/// A network: `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Parsed::new(
                "a network",
                "an IP network, such as `10.0.0.0/8`",
            ))
            .map(Self)
    }
}

/// A name server: `10.0.0.2`, `127.0.0.1:5353`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer(pub SocketAddr);

impl<'de> Deserialize<'de> for NameServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new(
            "the address of a name server",
            "an IP address, such as `10.0.0.2`, with a port unless it is 53",
        ))
    }
}

/// Parses text whose own error says too little.
struct Parsed<T> {
    noun: &'static str,
    expected: &'static str,
    target: PhantomData<T>,
}

impl<T> Parsed<T> {
    fn new(noun: &'static str, expected: &'static str) -> Self {
        Self {
            noun,
            expected,
            target: PhantomData,
        }
    }
}

impl<T: FromStr> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| {
            let Self { noun, expected, .. } = self;
            E::custom(format!("`{text}` is not {noun}; write {expected}"))
        })
    }
}
