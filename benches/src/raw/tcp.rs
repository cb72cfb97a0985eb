//! Messages over one TCP connection of tokio's: each has its length before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sworm::BoxError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::{MESSAGE_BYTES, Waiting};
use crate::load::{Load, load};

const LENGTH_BYTES: usize = 4;

/// Sends back whatever comes. Gives the address.
pub(crate) async fn echo() -> Result<(String, JoinHandle<()>), BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let (mut from, mut to) = stream.split();
                let mut bytes = Vec::with_capacity(64 << 10);
                while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) && to.write_all(&bytes).await.is_ok() {
                    bytes.clear();
                }
            });
        }
    });
    Ok((address, task))
}

async fn connect(address: &str) -> Result<TcpStream, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends messages and waits for their answers: several callers share the connection, and do not wait for each other.
pub(crate) async fn call(address: &str, callers: usize, time: Duration) -> Result<Load, BoxError> {
    let stream = connect(address).await?;
    if callers == 1 {
        let stream = Arc::new(Mutex::new(stream));
        return load(1, time, |_| {
            let stream = stream.clone();
            move || {
                let stream = stream.clone();
                async move {
                    let mut stream = stream.lock().await;
                    stream.write_all(&framed(&[7; MESSAGE_BYTES])).await?;
                    stream.read_exact(&mut [0; LENGTH_BYTES + MESSAGE_BYTES]).await?;
                    Ok(())
                }
            }
        })
        .await;
    }
    let (from, to) = stream.into_split();
    let waiting = Arc::new(Waiting::default());
    let (messages, mut queued) = mpsc::unbounded_channel::<[u8; MESSAGE_BYTES]>();
    let mut to = BufWriter::new(to);
    let writer = tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            to.write_all(&framed(&message)).await?;
            // What is ready goes together.
            while let Ok(message) = queued.try_recv() {
                to.write_all(&framed(&message)).await?;
            }
            to.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    });
    let answers = waiting.clone();
    let mut from = BufReader::with_capacity(64 << 10, from);
    let reader = tokio::spawn(async move {
        let mut message = [0; LENGTH_BYTES + MESSAGE_BYTES];
        while from.read_exact(&mut message).await.is_ok() {
            answers.answered(&message[LENGTH_BYTES..]);
        }
    });
    let measured = load(callers, time, |_| {
        let (waiting, messages) = (waiting.clone(), messages.clone());
        move || {
            let (message, answered) = waiting.message();
            let sent = messages.send(message);
            async move {
                sent?;
                Ok(answered.await?)
            }
        }
    })
    .await;
    drop(messages);
    reader.abort();
    writer.await??;
    measured
}

/// Copies states one after another, each when the one before is there. Answers the seconds that it took.
pub(crate) async fn copy(address: &str, states: impl Iterator<Item = Vec<u8>>) -> Result<f64, BoxError> {
    let mut stream = connect(address).await?;
    let started = Instant::now();
    for state in states {
        let message = framed(&state);
        stream.write_all(&message).await?;
        stream.read_exact(&mut vec![0; message.len()]).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages here are short");
    [&length.to_be_bytes(), message].concat()
}
