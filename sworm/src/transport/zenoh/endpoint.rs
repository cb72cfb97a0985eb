//! Endpoints: what they mean, ports that are taken before zenoh listens on them, and dialling.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use zenoh::config::EndPoint;

use crate::transport::{Dialed, TransportError};

/// How long a dial and the look-up of a host's name may take.
const DIAL_LIMIT: Duration = Duration::from_secs(1);

/// What endpoints may be of. zenoh has all but the first only where its features are enabled.
const OVER_TCP: [&str; 3] = ["tcp", "tls", "ws"];

/// Endpoints to listen on whose ports are settled: a port 0 is replaced by a free one, which stays taken for as long as
/// this lives (until zenoh listens there, on Linux), and no other port is in use.
pub(crate) struct Reserved {
    endpoints: Vec<String>,
    addresses: Vec<SocketAddr>,
    _sockets: Vec<TcpSocket>,
}

/// Settles the ports of endpoints. To find nodes on the same machine, settle first, announce what comes out, look for
/// others, and only then open the transport with what was found.
pub(crate) async fn reserve(endpoints: &[String]) -> Result<Reserved, TransportError> {
    let mut reserved = Reserved { endpoints: Vec::new(), addresses: Vec::new(), _sockets: Vec::new() };
    for endpoint in endpoints {
        let parsed = parse(endpoint)?;
        let Some((host, port)) = tcp_address(&parsed) else { continue };
        let bad = |why: String| TransportError::BadEndpoint { endpoint: endpoint.clone(), why };
        let address = *resolve(host, port).await.first().ok_or_else(|| bad("there is no such host".into()))?;
        let (socket, address) = bind(address).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => TransportError::PortInUse { endpoint: endpoint.clone() },
            ErrorKind::AddrNotAvailable => bad("that is no address of this machine".into()),
            _ => bad(error.to_string()),
        })?;
        reserved.endpoints.push(if port == 0 { with_port(endpoint, host, address.port()) } else { endpoint.clone() });
        reserved.addresses.push(address);
        // Only Linux lets another socket listen where this one is merely bound. Elsewhere the port is free again until
        // zenoh takes it, which is a race that is lost once in a blue moon and then reported as `PortInUse`.
        if port == 0 && cfg!(target_os = "linux") {
            reserved._sockets.push(socket);
        }
    }
    Ok(reserved)
}

impl Reserved {
    /// What to give to [`ZenohOptions::listen`](super::ZenohOptions::listen).
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The endpoints as others can dial them: with an address of this machine instead of "all interfaces".
    pub(crate) fn dialable(&self) -> Vec<String> {
        let dialable = |endpoint: &String| {
            let parsed = parse(endpoint).ok()?;
            let (host, port) = tcp_address(&parsed)?;
            let unspecified = host.trim_matches(['[', ']']).parse::<IpAddr>().ok().filter(IpAddr::is_unspecified)?;
            Some(endpoint.replacen(&format!("{host}:{port}"), &outward(unspecified, port).to_string(), 1))
        };
        self.endpoints.iter().map(|endpoint| dialable(endpoint).unwrap_or_else(|| endpoint.clone())).collect()
    }

    /// Whether an address is one of these endpoints.
    fn covers(&self, address: &SocketAddr) -> bool {
        self.addresses.iter().any(|own| {
            let everywhere = || own.ip().is_unspecified() && UdpSocket::bind((address.ip(), 0)).is_ok();
            own.port() == address.port() && (own.ip() == address.ip() || everywhere())
        })
    }

    /// The endpoints to connect to: checked, without repetitions (a second link to a peer is refused by it, and tried again
    /// for ever) and without this node's own.
    pub(super) async fn others(&self, connect: &[String]) -> Result<Vec<String>, TransportError> {
        // All at once: where names cannot be looked up, each takes its whole second.
        let resolved = join_all(connect.iter().map(|endpoint| addresses_of(endpoint))).await;
        let mut others = Vec::new();
        let mut seen: Vec<Vec<SocketAddr>> = Vec::new();
        for (endpoint, addresses) in connect.iter().zip(resolved) {
            let addresses = addresses?;
            let own = !addresses.is_empty() && addresses.iter().all(|address| self.covers(address));
            let repeated = others.contains(endpoint) || !addresses.is_empty() && seen.contains(&addresses);
            if !own && !repeated {
                seen.push(addresses);
                others.push(endpoint.clone());
            }
        }
        Ok(others)
    }
}

/// Connects by plain TCP.
pub(crate) async fn dial(endpoint: &str) -> Dialed {
    timeout(DIAL_LIMIT, dial_all(endpoint)).await.unwrap_or(Dialed::Unreachable)
}

async fn dial_all(endpoint: &str) -> Dialed {
    let Ok(parsed) = parse(endpoint) else { return Dialed::Unreachable };
    let Some((host, port)) = tcp_address(&parsed) else { return Dialed::Unreachable };
    let mut dialed = Dialed::Unreachable;
    for (number, address) in resolve(host, port).await.into_iter().enumerate() {
        match TcpStream::connect(address).await {
            // A free port of this machine that happens to be picked for the dialling side connects to itself.
            Ok(stream) if stream.local_addr().ok() != stream.peer_addr().ok() => return Dialed::Answered,
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => dialed = Dialed::Unreachable,
            Ok(_) | Err(_) if number == 0 => dialed = Dialed::Refused,
            Ok(_) | Err(_) => {}
        }
    }
    dialed
}

/// What an endpoint says, if it is one.
pub(super) fn parse(endpoint: &str) -> Result<EndPoint, TransportError> {
    let bad = |why: String| TransportError::BadEndpoint { endpoint: endpoint.into(), why };
    if endpoint.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err(bad("it has quotes, backslashes or control characters".into()));
    }
    let write = |why: &str| bad(format!("{why}; write tcp/host:port"));
    let Some((protocol, rest)) = endpoint.split_once('/') else { return Err(write("it names no protocol")) };
    if !OVER_TCP.contains(&protocol) {
        return Err(write(&format!("nodes are linked over tcp, tls or ws, not over {protocol:?}")));
    }
    let parsed: EndPoint = endpoint.parse().map_err(|_| write("it names no host"))?;
    match tcp_address(&parsed) {
        Some(_) => Ok(parsed),
        None if rest.contains(':') => Err(write("it has no host, or its port is none from 0 to 65535")),
        None => Err(write("it has no port")),
    }
}

/// Host and port of an endpoint.
fn tcp_address(endpoint: &EndPoint) -> Option<(&str, u16)> {
    let text = endpoint.as_str();
    let (_, rest) = text.split_once('/')?;
    let address = rest.split(['?', '#']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

fn with_port(endpoint: &str, host: &str, port: u16) -> String {
    endpoint.replacen(&format!("{host}:0"), &format!("{host}:{port}"), 1)
}

/// Nothing if its host is unknown at present.
async fn addresses_of(endpoint: &str) -> Result<Vec<SocketAddr>, TransportError> {
    match tcp_address(&parse(endpoint)?) {
        Some((host, port)) => Ok(resolve(host, port).await),
        None => Ok(Vec::new()),
    }
}

async fn resolve(host: &str, port: u16) -> Vec<SocketAddr> {
    match timeout(DIAL_LIMIT, lookup_host(format!("{host}:{port}"))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        _ => Vec::new(),
    }
}

/// Binds as zenoh does, without listening: fails if anybody listens there.
fn bind(address: SocketAddr) -> std::io::Result<(TcpSocket, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// The address from which this machine would speak to the world, else its loopback address. Connecting a UDP socket
/// chooses a route and sends nothing. Listening on all IPv6 addresses covers those of IPv4, which last longer.
fn outward(unspecified: IpAddr, port: u16) -> SocketAddr {
    let from = |any: &str, to: &str| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
    };
    let four = || from("0.0.0.0:0", "192.0.2.1:9");
    let six = || from("[::]:0", "[2001:db8::1]:9");
    let found = four().or_else(|| six().filter(|_| unspecified.is_ipv6()));
    SocketAddr::new(found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)
}
