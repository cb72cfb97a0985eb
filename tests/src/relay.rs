//! A network between nodes that a test can cut: every node is reached through a relay, which knows who dials.
//!
//! A node listens at a port that it tells nobody, and advertises its door, where a relay listens for as long as its
//! process lives. The first message of a zenoh link carries the session's id; the nodes of [`Network`] have ids that begin
//! with their number, so that the relay knows which link it carries. Gossip is off: it would tell the way around.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::protocol::NodeSpec;

/// What becomes of bytes that go one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// They are held back until the way is open again; neither side is told. New links never come about.
    Silent,
    /// Links are closed, and new ones as soon as they say whose they are.
    Closed,
}

/// The links between some nodes; all are open at first.
pub struct Network {
    host: String,
    nodes: Vec<Node>,
    ways: Ways,
}

struct Node {
    id: String,
    listen: u16,
    door: u16,
    /// Ends with the node's process.
    relay: JoinSet<()>,
}

type Ways = Arc<BTreeMap<(usize, usize), watch::Sender<Way>>>;

/// So many equal bytes in a session's id stand for a node.
const MARK: usize = 8;
/// How long a message before which a relay does not know whose link it is may be.
const FIRST: usize = 4096;
/// How much is passed on at a time.
const PIECE: usize = 64 << 10;

impl Network {
    /// A network for these nodes at a loopback address that nobody else uses.
    pub async fn new(host: &str, ids: &[&str]) -> Self {
        let mut taken = Vec::new();
        let mut port = async || {
            let listener = TcpListener::bind((host, 0)).await.expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            taken.push(listener);
            port
        };
        let mut nodes = Vec::new();
        for id in ids {
            let (listen, door) = (port().await, port().await);
            nodes.push(Node { id: (*id).into(), listen, door, relay: JoinSet::new() });
        }
        let pairs = (0..ids.len()).flat_map(|a| (0..ids.len()).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let ways = Arc::new(pairs.map(|pair| (pair, watch::Sender::new(Way::Open))).collect());
        Self { host: host.into(), nodes, ways }
    }

    /// Lets a node be reached by the others and by nothing else, and opens its door.
    pub async fn connect(&mut self, spec: NodeSpec) -> NodeSpec {
        let number = self.number(&spec.id);
        let host = self.host.clone();
        let door = |node: &Node| format!("tcp/{host}:{}", node.door);
        let join = self.nodes.iter().filter(|node| node.id != spec.id).map(door).collect();
        let advertise = vec![door(&self.nodes[number])];
        let listen = vec![format!("tcp/{host}:{}", self.nodes[number].listen)];
        // A fresh id at every start, as zenoh would take one.
        let (mark, rest) = (format!("{:02x}", mark(number)).repeat(MARK), fastrand::u64(..));
        let zenoh = Some(format!(
            "{{ id: \"{mark}{rest:016x}\", mode: \"peer\", scouting: {{ multicast: {{ enabled: false }}, \
             gossip: {{ enabled: false }} }} }}"
        ));
        self.open_door(number).await;
        NodeSpec { listen, advertise, join, zenoh, ..spec }
    }

    async fn open_door(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.relay.shutdown().await;
        let (host, listen) = (self.host.clone(), node.listen);
        // Its door is its own, but a process that is just being started elsewhere may hold a copy of it for a moment.
        let bind = || async { TcpListener::bind((host.as_str(), node.door)).await.ok() };
        let listener = crate::eventually("the door being free", bind).await;
        let ways = self.ways.clone();
        node.relay.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((dialler, _)) = listener.accept().await {
                links.spawn(carry(dialler, (host.clone(), listen), number, ways.clone()));
                while links.try_join_next().is_some() {}
            }
        });
    }

    /// Closes the door of a node whose process is gone: dialling it is refused, as it is at a dead node's port.
    pub async fn gone(&mut self, id: &str) {
        let number = self.number(id);
        self.nodes[number].relay.shutdown().await;
    }

    /// What becomes of bytes from one node to another from now on.
    pub fn set(&self, from: &str, to: &str, way: Way) {
        self.ways[&(self.number(from), self.number(to))].send_replace(way);
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        for way in self.ways.values() {
            way.send_replace(Way::Open);
        }
    }

    fn number(&self, id: &str) -> usize {
        self.nodes.iter().position(|node| node.id == id).expect("a node of this network")
    }
}

/// The byte that a node's session ids begin with.
fn mark(number: usize) -> u8 {
    0xa0 + u8::try_from(number).expect("there are few")
}

/// Carries one link to a node.
async fn carry(dialler: TcpStream, node: (String, u16), number: usize, ways: Ways) -> Option<()> {
    let (mut from_dialler, to_dialler) = dialler.into_split();
    let first = first_message(&mut from_dialler).await?;
    let by = (0..=u8::MAX - mark(0)).find(|by| first.windows(MARK).any(|part| part == [mark(0) + by; MARK]))?;
    let (to, back) = ((usize::from(by), number), (number, usize::from(by)));
    let (to, back) = (ways.get(&to)?.subscribe(), ways.get(&back)?.subscribe());
    let closed = [to.clone(), back.clone()];
    let carried = async {
        if *to.borrow() != Way::Open {
            // Over a real line it would not even have come so far: a link that is asked for now is not made later.
            open(&mut to.clone()).await;
            return None;
        }
        let (from_node, to_node) = TcpStream::connect(node).await.ok()?.into_split();
        tokio::select! {
            () = pump(from_dialler, to_node, first, to.clone()) => {}
            () = pump(from_node, to_dialler, Vec::new(), back.clone()) => {}
        }
        // Its end is news like any other.
        open(&mut to.clone()).await;
        open(&mut back.clone()).await;
        Some(())
    };
    let [mut one, mut other] = closed;
    tokio::select! {
        carried = carried => carried,
        _ = one.wait_for(|way| *way == Way::Closed) => None,
        _ = other.wait_for(|way| *way == Way::Closed) => None,
    }
}

/// The first message of a link, with its length before it; nothing if it ends before that.
async fn first_message(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; 2];
    from.read_exact(&mut message).await.ok()?;
    let length = usize::from(u16::from_le_bytes([message[0], message[1]]));
    message.resize(2 + length.min(FIRST), 0);
    from.read_exact(&mut message[2..]).await.ok()?;
    Some(message)
}

/// Passes bytes on for as long as both sides live.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut bytes: Vec<u8>, mut way: watch::Receiver<Way>) {
    loop {
        open(&mut way).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        bytes.clear();
        bytes.reserve(PIECE);
        if from.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

async fn open(way: &mut watch::Receiver<Way>) {
    let _ = way.wait_for(|way| *way == Way::Open).await;
}
