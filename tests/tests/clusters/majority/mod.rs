//! Mode "majority" with real processes: whatever is cut, stopped or killed, a name's workers never overlap, and nothing that
//! was acknowledged is lost.
//!
//! That two workers of a name do not run at a time is what the system says: each holds a lock while it exists. That none
//! answers from an old state is seen in the replies: each counts one up, and no number comes twice.

mod blocked;
mod cuts;
mod deaths;
mod founding;
mod operating;
mod stopped;
mod voters;
