//! A network between processes that counts bytes and can be cut: each is reached through a relay.
//!
//! A process listens at a port that it tells nobody, and advertises its door, where a relay listens. The first message of
//! a zenoh link carries the session's id; the ids begin with the process's number here, so that a relay knows whose link
//! it carries. Gossip is off: it would tell the way around.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sworm::BoxError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::protocol::NodeSpec;
use crate::raw::zenoh::settings;

/// So many equal bytes in a session's id stand for a process.
const MARK: usize = 8;
/// The mark of the first process.
const FIRST_MARK: u8 = 0xa0;
/// How long a first message may be.
const LONGEST_FIRST: usize = 4096;
/// How much is passed on at a time.
const PIECE: usize = 64 << 10;

/// The links between some processes.
pub(crate) struct Network {
    places: Vec<Place>,
    wire: Arc<Wire>,
    relays: JoinSet<()>,
}

struct Place {
    id: &'static str,
    listen: SocketAddr,
    door: SocketAddr,
}

/// What all links share.
struct Wire {
    bytes: AtomicU64,
    /// The process that is cut off from all others, if one is.
    cut: watch::Sender<Option<usize>>,
}

impl Network {
    /// A network for these processes, with their doors open.
    pub(crate) async fn new(ids: &[&'static str]) -> Result<Self, BoxError> {
        let wire = Arc::new(Wire { bytes: AtomicU64::new(0), cut: watch::Sender::new(None) });
        let (mut places, mut relays) = (Vec::new(), JoinSet::new());
        for (number, id) in ids.iter().enumerate() {
            let door = TcpListener::bind(("127.0.0.1", 0)).await?;
            // Free again when this is dropped, which nobody else takes at once.
            let listen = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
            places.push(Place { id, listen, door: door.local_addr()? });
            relays.spawn(relay(door, listen, number, wire.clone()));
        }
        Ok(Self { places, wire, relays })
    }

    /// Lets a node be reached by the others and by nothing else.
    pub(crate) async fn connect(&mut self, spec: NodeSpec) -> Result<NodeSpec, BoxError> {
        let (listen, join) = self.ends(&spec.id)?;
        let advertise = vec![door(&self.places[self.number(&spec.id)?])];
        Ok(NodeSpec { zenoh: Some(self.config(&spec.id)?), listen, advertise, join, ..spec })
    }

    /// The same for a process that has a session of zenoh's and nothing else.
    pub(crate) fn config(&self, id: &str) -> Result<String, BoxError> {
        let (listen, connect) = self.ends(id)?;
        let mark = format!("{:02x}", mark(self.number(id)?)).repeat(MARK);
        Ok(settings(Some(&mark), Some(&listen), &connect))
    }

    /// Where a process listens, and the doors of the others.
    fn ends(&self, id: &str) -> Result<(String, Vec<String>), BoxError> {
        let own = &self.places[self.number(id)?];
        let others = self.places.iter().filter(|place| place.id != own.id).map(door).collect();
        Ok((format!("tcp/{}", own.listen), others))
    }

    fn number(&self, id: &str) -> Result<usize, BoxError> {
        Ok(self.places.iter().position(|place| place.id == id).ok_or("it is not of this network")?)
    }

    /// What all links have carried so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.wire.bytes.load(Relaxed)
    }

    /// How many links there are, each for both directions.
    pub(crate) fn links(&self) -> usize {
        self.places.len() * (self.places.len() - 1) / 2
    }

    /// Holds back all that goes to or from this process, without telling anybody; with `None`, lets all pass again.
    pub(crate) fn cut(&self, id: Option<&str>) -> Result<(), BoxError> {
        self.wire.cut.send_replace(id.map(|id| self.number(id)).transpose()?);
        Ok(())
    }

    /// Ends all links.
    pub(crate) async fn close(&mut self) {
        self.relays.shutdown().await;
    }
}

fn door(place: &Place) -> String {
    format!("tcp/{}", place.door)
}

/// The byte that a process's session ids begin with.
fn mark(number: usize) -> u8 {
    FIRST_MARK + u8::try_from(number).expect("there are few")
}

async fn relay(door: TcpListener, listen: SocketAddr, number: usize, wire: Arc<Wire>) {
    let mut links = JoinSet::new();
    while let Ok((dialler, _)) = door.accept().await {
        links.spawn(carry(dialler, listen, number, wire.clone()));
        while links.try_join_next().is_some() {}
    }
}

/// Carries one link to a process.
async fn carry(dialler: TcpStream, listen: SocketAddr, number: usize, wire: Arc<Wire>) -> Option<()> {
    dialler.set_nodelay(true).ok()?;
    let (mut from_dialler, to_dialler) = dialler.into_split();
    let first = first_message(&mut from_dialler).await?;
    let by = (0..16).find(|by| first.windows(MARK).any(|part| part == [mark(*by); MARK]))?;
    let ends = [by, number];
    if is_cut(&wire, ends) {
        // Over a real line it would not even have come so far: a link that is asked for now is not made later.
        open(&mut wire.cut.subscribe(), ends).await;
        return None;
    }
    let stream = TcpStream::connect(listen).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (from_listener, to_listener) = stream.into_split();
    tokio::select! {
        () = pump(from_dialler, to_listener, first, ends, &wire) => {}
        () = pump(from_listener, to_dialler, Vec::new(), ends, &wire) => {}
    }
    // Its end is news like any other.
    open(&mut wire.cut.subscribe(), ends).await;
    Some(())
}

/// The first message of a link, with its length before it; nothing if it ends before that.
async fn first_message(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; 2];
    from.read_exact(&mut message).await.ok()?;
    let length = usize::from(u16::from_le_bytes([message[0], message[1]]));
    message.resize(2 + length.min(LONGEST_FIRST), 0);
    from.read_exact(&mut message[2..]).await.ok()?;
    Some(message)
}

/// Passes bytes on for as long as both sides live.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut bytes: Vec<u8>, ends: [usize; 2], wire: &Wire) {
    let mut cut = wire.cut.subscribe();
    loop {
        open(&mut cut, ends).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        wire.bytes.fetch_add(bytes.len() as u64, Relaxed);
        bytes.clear();
        bytes.reserve(PIECE);
        if from.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

fn is_cut(wire: &Wire, ends: [usize; 2]) -> bool {
    wire.cut.borrow().is_some_and(|cut| ends.contains(&cut))
}

/// Waits until a link between these two carries something again.
async fn open(cut: &mut watch::Receiver<Option<usize>>, ends: [usize; 2]) {
    let _ = cut.wait_for(|cut| cut.is_none_or(|cut| !ends.contains(&cut))).await;
}
