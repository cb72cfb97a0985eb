//! Sworm beside other libraries of actors on several nodes: finding one by its name on another node, and calling it.
//! Each library has two processes of its own over loopback, one after the other.

use std::process::Stdio;

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm_benches::{Load, Row, table, write};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

mod measure;
mod with_kameo;
mod with_ractor;
mod with_sworm;

use measure::{CALLERS, Measured, NAMES, ROUNDS, Time};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// A short run.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// A process that this program starts.
#[derive(Subcommand)]
enum Part {
    /// The node that has the actors. Says where it listens, and ends with its input.
    #[command(hide = true)]
    There { library: Library },
    /// The node that looks for them and calls them. Says what it measured.
    #[command(hide = true)]
    Here {
        library: Library,
        address: String,
        #[arg(action = clap::ArgAction::Set)]
        quick: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
enum Library {
    Sworm,
    Kameo,
    Ractor,
}

impl Library {
    fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }

    /// What finding an actor by its name is.
    fn look_up(self) -> &'static str {
        match self {
            Self::Sworm => "whereis_name",
            Self::Kameo => "RemoteActorRef::lookup",
            Self::Ractor => "the member of a process group",
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    match options.part {
        Some(Part::There { library }) => there(library).await,
        Some(Part::Here { library, address, quick }) => here(library, &address, quick).await,
        None => compare(options.quick).await,
    }
}

async fn there(library: Library) -> Result<(), BoxError> {
    // What is given back lives until the input ends.
    let (address, _kept): (String, Box<dyn std::any::Any>) = match library {
        Library::Sworm => with_sworm::there().await?,
        Library::Kameo => with_kameo::there().await?,
        Library::Ractor => with_ractor::there().await?,
    };
    println!("{address}");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn here(library: Library, address: &str, quick: bool) -> Result<(), BoxError> {
    let time = Time { quick };
    let measured = match library {
        Library::Sworm => with_sworm::here(address, time).await?,
        Library::Kameo => with_kameo::here(address, time).await?,
        Library::Ractor => with_ractor::here(address, time).await?,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

async fn compare(quick: bool) -> Result<(), BoxError> {
    let mut rounds: [(Library, Vec<Measured>); 3] =
        [Library::Sworm, Library::Kameo, Library::Ractor].map(|library| (library, Vec::new()));
    // What is compared takes turns, since other programs may disturb the one or the other.
    for _ in 0..ROUNDS {
        for (library, measured) in &mut rounds {
            eprintln!("{} …", library.name());
            measured.push(measure(*library, quick).await.map_err(|error| format!("{}: {error}", library.name()))?);
        }
    }
    let [(_, sworm), others @ ..] = &rounds;
    let mut rows = Vec::new();
    for (library, other) in others {
        let name = library.name();
        let times = [Measured::look_up(other), Measured::look_up(sworm)];
        let metric = format!("{name}: {}, of a name on another node", library.look_up());
        let baseline = format!("Sworm: {}", Library::Sworm.look_up());
        rows.push(Row::new("peers", NAMES, metric, (times[0], "ns"), (baseline, times[1])));
        for callers in CALLERS {
            let [other, sworm] = [Measured::calls(other, callers), Measured::calls(sworm, callers)];
            let numbers: [(&str, &'static str, fn(&Load) -> f64); 3] = [
                ("remote call, p50", "us", |load| load.p50_us),
                ("remote call, p99", "us", |load| load.p99_us),
                ("remote calls per second", "calls/s", |load| load.per_second),
            ];
            for (metric, unit, number) in numbers {
                let value = (number(&other), unit);
                rows.push(Row::new("peers", callers, format!("{name}: {metric}"), value, ("Sworm", number(&sworm))));
            }
        }
    }
    println!("{}", table(&rows));
    println!("{}", write(&rows, "sworm-peers.json")?.display());
    Ok(())
}

/// Lets two processes of a library measure.
async fn measure(library: Library, quick: bool) -> Result<Measured, BoxError> {
    let name = library.name();
    let (mut there, address) = said(&["there", &name]).await?;
    let (mut here, measured) = said(&["here", &name, &address, if quick { "true" } else { "false" }]).await?;
    for process in [&mut here, &mut there] {
        process.kill().await?;
    }
    Ok(serde_json::from_str(&measured)?)
}

/// Starts a process of this program, and gives the first line that it says.
async fn said(arguments: &[&str]) -> Result<(Child, String), BoxError> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let lines = BufReader::new(process.stdout.take().ok_or("it has an output")?);
    let said = lines.lines().next_line().await?.ok_or_else(|| format!("{arguments:?} said nothing"))?;
    Ok((process, said))
}
