//! Faults that can be planted to prove that the simulator finds them. They are compiled in with the feature `faults`
//! only, which nothing but the tests asks for; without it [`planted`] is `false` and costs nothing.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $fault:ident = $name:literal,)+) => {
        /// A mistake that somebody could have made.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault {
            $($(#[doc = $doc])+ $fault,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Fault] = &[$(Fault::$fault),+];

            /// Its name on a command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)+
                }
            }

            /// What goes wrong.
            pub fn about(self) -> &'static str {
                match self {
                    $(Fault::$fault => concat!($($doc),+).trim_ascii_start(),)+
                }
            }
        }
    };
}

faults! {
    /// A delta that starts after what is known is taken in all the same.
    AcceptGap = "accept-gap",
    /// A large delta is cut into deltas of their own, each with a number short of the lane's.
    PageDelta = "page-delta",
    /// A node that is thought to be gone counts as ended.
    EndOnSuspicion = "end-on-suspicion",
    /// Of two claims of one major epoch the weak one wins.
    WeakBeatsOriginal = "weak-beats-original",
    /// Names are given away before all members have acknowledged the view.
    NoViewBarrier = "no-view-barrier",
    /// Names are adopted before all that the members hold was pulled.
    AdoptIncomplete = "adopt-incomplete",
    /// A node that has just started gives names away without waiting for those that it remembers.
    RegisterUnasked = "register-unasked",
    /// A name is given away again while its former host still stops the worker.
    EndedIsFree = "ended-is-free",
    /// Whoever asks again for the end of a name is told that it has ended while its worker still stops.
    EndedHasStopped = "ended-has-stopped",
    /// A name whose host is not in view counts as free.
    HiddenIsFree = "hidden-is-free",
    /// The end of a name bans one of its births only.
    BanOneBirth = "ban-one-birth",
    /// The cell of a host that is not in view still counts as a claim.
    DownHostClaims = "down-host-claims",
    /// A node founds a cluster of its own without waiting for those that it looks for.
    FoundAlone = "found-alone",
    /// A lane is given up although only an ended lane covers its names, be it the lane itself.
    DropCoveredByEnded = "drop-covered-by-ended",
    /// A lane is given up although its bans still ban something.
    DropBans = "drop-bans",
    /// To drop an incarnation drops those before it unseen.
    DropEarlier = "drop-earlier",
    /// What must be durable first is said at once.
    AckBeforeDurable = "ack-before-durable",
    /// The loser of a conflict takes its name back but is not stopped.
    LoserRunsOn = "loser-runs-on",
    /// The loser of a conflict is stopped and not told that it has lost.
    LoserUntold = "loser-untold",
    /// A node takes the incarnation that it had before.
    ReuseIncarnation = "reuse-incarnation",
    /// Whoever takes a name back does not say because of what.
    TakenBackUnseen = "taken-back-unseen",
    /// What is said of a name that was handed on goes before all have heard who has it now.
    HandOnUnheard = "hand-on-unheard",
    /// Whoever adopts a name removes the former host's cell from its own copy.
    RemoveAnothersCell = "remove-anothers-cell",
    /// A whole lane is put into the copy that there is, instead of replacing it.
    FullLaneMerges = "full-lane-merges",
    /// The later parts of a whole lane leave out what was removed since the first one.
    NoTombstones = "no-tombstones",
    /// The arbiter of a name depends on the value that is registered, too.
    PlaceByValue = "place-by-value",
    /// A node starts one worker after the other.
    StartsInOrder = "starts-in-order",
    /// A host takes a grant whatever epochs and ends it has seen.
    TakeAnyGrant = "take-any-grant",
    /// Bans and lanes are forgotten while somebody who is not there may still hold what they cover.
    ForgetEarly = "forget-early",
    /// A ban is forgotten though somebody who has left may still speak of what it bans.
    ForgetTheAway = "forget-the-away",
    /// A checkpoint is acknowledged that others hold than the last one, before anybody else knows who they are.
    HoldersUnheard = "holders-unheard",
    /// The same, when those who know it have it in memory only.
    HeardInMemory = "heard-in-memory",
    /// A node that has no majority any more goes on.
    NoStopWithoutMajority = "no-stop-without-majority",
    /// Names of a silent node start elsewhere when its lease may have ended, and its workers may not have stopped.
    TakeOverEarly = "take-over-early",
    /// A lease is counted from when the echo came, not from when the heartbeat was sent.
    LeaseFromReceipt = "lease-from-receipt",
    /// A majority is one of those that are heard of.
    QuorumOfVisible = "quorum-of-visible",
    /// A node that has lost its store votes at once.
    VoteWithoutStore = "vote-without-store",
    /// The state of a worker that is parked since the majority is lost is taken, and not stored.
    ParkUnstored = "park-unstored",
    /// A worker that has just started is stopped without its state when the majority is lost.
    ParkUnsettled = "park-unsettled",
    /// What somebody says to an attempt of a request counts for a later one.
    AnyAttempt = "any-attempt",
    /// What was pulled in a view counts when the same view comes back, whatever was decided in between.
    SameViewAgain = "same-view-again",
    /// A view that has come back counts as acknowledged by those who acknowledged it when it was there before.
    AgreedBefore = "agreed-before",
    /// A time seen elsewhere that is ahead of the wall clock stands still until that is there.
    SeenTimeStands = "seen-time-stands",
    /// A worker that was stopped when the lease ended is started again here, without being granted anew.
    RestartAfterLease = "restart-after-lease",
    /// A node counts as gone in mode "majority" when one voter says so.
    OneVoiceIsEnough = "one-voice-is-enough",
    /// A copy of a state that was just promised is thrown away for older news.
    DropPromisedCopy = "drop-promised-copy",
    /// A saved state that the present worker of its name lacks is thrown away.
    DropDiverged = "drop-diverged",
    /// A released name may be adopted at once by somebody else.
    ReleasedIsOrphan = "released-is-orphan",
    /// A worker starts from what its new node has, and nobody else is asked.
    RestoreWithoutAsking = "restore-without-asking",
    /// Whoever was to have a state counts as one that has it, though its disk was lost.
    CountEmptyHolders = "count-empty-holders",
    /// A state that a worker was not given counts as one that it has.
    NotGivenIsGiven = "not-given-is-given",
    /// A store that has lost what was written last counts as one that has it.
    CountDoubtful = "count-doubtful",
    /// A checkpoint is acknowledged when this node's disk has it, and its replicas need not.
    ReplyBeforeReplica = "reply-before-replica",
    /// A checkpoint is acknowledged before it is on this node's disk.
    ReplyBeforeSync = "reply-before-sync",
    /// A worker starts from the first state that somebody tells, not from the newest.
    RestoreFirstCome = "restore-first-come",
    /// An older state is taken at once where somebody may have a newer one.
    OlderAtOnce = "older-at-once",
    /// A copy of a state is replaced by an older one that comes later.
    KeepOlder = "keep-older",
    /// Copies of a state are thrown away as soon as somebody else has the name, before its worker runs with one of its own.
    DeleteBeforeProof = "delete-before-proof",
    /// A move releases the name before the receiver said that it has the state.
    ReleaseUnheld = "release-unheld",
    /// A chunk of a state is taken in whatever its checksum is.
    ChunkWithoutChecksum = "chunk-without-checksum",
    /// A replica says that it has a state when it has the manifest, and not all chunks.
    ManifestFirst = "manifest-first",
    /// Heartbeats do not lead to a comparison of what is held: what was lost stays lost.
    NoAntiEntropy = "no-anti-entropy",
    /// Bytes that do not match their checksum are taken in.
    TrustBytes = "trust-bytes",
    /// What is sent to a node over another one is not passed on.
    NoRelay = "no-relay",
    /// A node to which the link is lost counts as gone after the grace time, whoever is linked to it.
    DownThoughHeard = "down-though-heard",
    /// Nobody minds what others say of whom they are linked to.
    TellOfNobody = "tell-of-nobody",
    /// Whoever takes a worker over does not know how often it was restarted.
    ForgetRestarts = "forget-restarts",
    /// When a node is gone, the workers of the others are started anew as well.
    RestartBystanders = "restart-bystanders",
    /// Names move for balance while others are to be recovered.
    BalanceFirst = "balance-first",
    /// Names move for balance while others that were given to nodes that stay do not run there yet.
    BalanceWhileStarting = "balance-while-starting",
    /// Each host rounds up what it gives a node that has joined, and does not look at what the others gave.
    RoundUpShares = "round-up-shares",
    /// The source of a move forgets the name before its receiver has taken it.
    TombstoneFirst = "tombstone-first",
    /// What waits for a worker that moves is sent on twice.
    ForwardTwice = "forward-twice",
    /// A worker whose task is gone without a word counts as running.
    VanishedUnnoticed = "vanished-unnoticed",
    /// Voters demand no more silence than a lease and the time to stop, however old what they say is and clocks run.
    NoMargin = "no-margin",
    /// A worker that has lost its name does not get it back.
    NamelessUnnoticed = "nameless-unnoticed",
    /// A name that is said to run on a node, and of which that node knows no worker, is left so.
    WorkerlessUnnoticed = "workerless-unnoticed",
    /// A name that ran before is not started again when its start fails.
    OneStart = "one-start",
    /// A worker is stopped without its state when its node has lost the majority.
    ParkWithoutState = "park-without-state",
    /// All that a node is to give for balance goes at once.
    BalanceAllAtOnce = "balance-all-at-once",
    /// When a node has joined, names also move between those that were there before.
    LevelAll = "level-all",
    /// Names wait no longer for a node that comes and goes than for one that comes once.
    FlapsUndamped = "flaps-undamped",
    /// Every worker is started again as if its restart strategy were the usual one.
    OneStrategy = "one-strategy",
    /// What an answer said of a name is shown until somebody speaks of that name again, however late it came.
    AnswersStay = "answers-stay",
    /// What was granted to a node that died before it answered comes back with it, though something else was decided since.
    AbandonedComesBack = "abandoned-comes-back",
    /// A node's clock stands still while its machine is suspended (the simulated one: in production it is `node/clock.rs`).
    ClockStandsStill = "clock-stands-still",
    /// It is said that a name has ended, or that a request came to nothing, when one node alone has that on its disk.
    EndsAlone = "ends-alone",
    /// It is said that a registration came to nothing, since its worker could not start, when its host says so, be it in memory.
    FailsAlone = "fails-alone",
    /// Names are placed on nodes that their distribution strategy leaves out.
    PlaceAnywhere = "place-anywhere",
    /// A worker that starts where it did not run before is in no group.
    GroupsForgotten = "groups-forgotten",
    /// Of a worker that has lost a conflict, with a later epoch, the state counts as later, too.
    LoserIsLater = "loser-is-later",
    /// A copy takes the place of what the worker that runs here, or that has won a conflict, has saved.
    KeepAnothers = "keep-anothers",
    /// A node counts as emptied though names are parked on it, whose states only it has.
    DrainedThoughParked = "drained-though-parked",
    /// A request to join or to leave a group that comes again is carried out again, though it was undone since.
    RegroupAgain = "regroup-again",
}

#[cfg(feature = "faults")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in everything that runs on this thread, or takes it away.
#[cfg(feature = "faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this fault is planted.
#[cfg(feature = "faults")]
pub fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this fault is planted: never, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub const fn planted(_: Fault) -> bool {
    false
}
