//! Devices of other machines, by Burn's remote backend over WebSocket, and the worker that lends them.
//!
//! The graph of gradients stays with whoever trains; tensors and operations go over the wire. It is not encrypted: a
//! token keeps uninvited clients out, not readers of the traffic. Only for networks that one trusts.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use burn::prelude::Device;
use burn::remote::RemoteHost;
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};

use super::{error, parse_all};
use crate::error::Result;

/// The environment variable with what worker and client both know.
pub const TOKEN: &str = "KSHOT_WORKER_TOKEN";

fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// The device at an address: `ws://HOST:PORT`, with `#N` behind it for the worker's device N, from 0.
pub(super) fn connect(name: &str) -> Result<Device> {
    let (address, index) = match name.split_once('#') {
        Some((address, index)) => {
            let index: usize = index.parse().map_err(|_| {
                error(format!(
                    "device `{name}`: `{index}` is not an index; write {address}#0 for the first"
                ))
            })?;
            (address, index)
        }
        None => (name, 0),
    };
    let host = RemoteHost::websocket(address.trim_end_matches('/'));
    let host = match token() {
        Some(token) => host.with_credential(token),
        None => host,
    };
    Device::remote_options(&host).device_index(index).init().map_err(|refused| {
        error(format!(
            "device `{name}`: {refused}; there `kshot worker --listen ADDRESS` must run, of the same version of kshot, \
             and {TOKEN} hold the same on both sides"
        ))
    })
}

/// Devices of this machine that are lent to others.
pub struct Worker {
    server: RemoteServer,
    listener: TcpListener,
    address: SocketAddr,
}

impl Worker {
    /// Listens at an address (`127.0.0.1:7700`, port 0 for any that is free) and will lend devices by their names, with
    /// commas between them. What [`TOKEN`] holds is asked of every client; without it only this machine's own
    /// clients can be served, so the address must be a loopback one.
    ///
    /// # Errors
    /// If a device cannot be opened, the address is none or taken, or it can be reached from elsewhere and there is no
    /// token.
    pub fn bind(listen: &str, devices: &str) -> Result<Self> {
        let wrong = |why: String| error(format!("--listen {listen}: {why}"));
        let mut addresses = listen.to_socket_addrs().map_err(|source| {
            wrong(format!("{source}; write an address and a port, such as 127.0.0.1:7700"))
        })?;
        let address = addresses.next().ok_or_else(|| wrong("no such address".to_owned()))?;
        let server = RemoteServer::new(parse_all(devices)?);
        let server = match token() {
            Some(token) => server.with_authorizer(
                TokenAuthorizer::new(token).map_err(|source| wrong(source.to_string()))?,
            ),
            None if address.ip().is_loopback() => server,
            None => {
                return Err(wrong(format!(
                    "others can reach this address, and anybody could compute here; set {TOKEN} to a secret on both \
                     sides, or listen at 127.0.0.1"
                )));
            }
        };
        let listener = TcpListener::bind(address).map_err(|source| wrong(source.to_string()))?;
        let address = listener.local_addr().map_err(|source| wrong(source.to_string()))?;
        Ok(Self { server, listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    /// If the network fails.
    pub fn serve(self) -> Result<()> {
        let transport = WebSocketTransport::from_listener(self.listener);
        self.server
            .serve(transport)
            .map_err(|source| error(format!("the worker stopped: {source}")))
    }
}
