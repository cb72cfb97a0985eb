//! Writes batches into a store, says after each sync what is durable, and is killed while it does so.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use sworm_tests::batches::{Kind, batch};

/// Writes batches into a store.
#[derive(Parser)]
struct Options {
    /// The store's directory.
    directory: PathBuf,
    /// What the batches are made of.
    #[arg(long)]
    seed: u64,
    /// How many batches there are at most.
    #[arg(long, default_value_t = u64::MAX)]
    batches: u64,
    /// What kind of store it is.
    #[arg(long, default_value = "sled")]
    store: Kind,
    /// Syncs after each batch, not after some.
    #[arg(long)]
    each: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let store = options.store.open(&options.directory)?;
    let mut rng = fastrand::Rng::with_seed(options.seed);
    for number in 1..=options.batches {
        let ticket = store.write(batch(options.seed, number))?;
        if options.each || rng.u32(0..4) == 0 {
            store.sync(ticket).await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "durable {number}")?;
            out.flush()?;
            // The store cleans more when nobody writes.
            if rng.u32(0..16) == 0 {
                tokio::time::sleep(Duration::from_millis(rng.u64(0..20))).await;
            }
        }
    }
    Ok(())
}
