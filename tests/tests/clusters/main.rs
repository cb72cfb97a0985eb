//! Clusters of real processes on this machine. One binary: they wait most of the time, so that several go on together.

mod attached;
mod damaged;
mod discovery;
mod events;
mod failover;
mod full_disk;
mod groups;
mod hosting;
mod interrupted;
mod isolation;
mod killing;
mod leaving;
mod majority;
mod moving;
mod operating;
mod placing;
mod registration;
mod relaying;
mod repairs;
mod standing_still;
mod start_errors;
mod storm;
mod supervision;
mod surviving;
mod whole_cluster;
