//! The frames of a lane's log: deltas, and those that are too large for one frame in parts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::core::ids::LaneId;
use crate::core::lane::{Delta, Part, Stage, fits};

/// What a frame of a log may weigh; a delta that is larger takes several.
const FRAME_BYTES: usize = 1 << 20;

/// A frame of a lane's log.
#[derive(Serialize, Deserialize)]
pub(super) enum Record<'a> {
    #[serde(rename = "d")]
    Delta(Cow<'a, Delta>),
    /// Of a delta that takes several frames: without all of them it was never there.
    #[serde(rename = "p")]
    Part(Part),
}

impl Record<'_> {
    pub(super) fn lane(&self) -> &LaneId {
        match self {
            Self::Delta(delta) => &delta.lane,
            Self::Part(part) => &part.lane,
        }
    }
}

/// A delta as it stands in a log: in one frame, or in several of which none counts without the others.
pub(super) fn frames(delta: Cow<'_, Delta>) -> impl Iterator<Item = Vec<u8>> {
    let (one, parts) = match fits(&delta.cells, FRAME_BYTES) {
        true => (Some(Record::Delta(delta)), None),
        false => (None, Some(delta.into_owned().into_parts(FRAME_BYTES).map(Record::Part))),
    };
    let records = one.into_iter().chain(parts.into_iter().flatten());
    records.map(|record| codec::encode(&record).expect("cells are made of plain data"))
}

/// The deltas that are there with all their parts, each with the number of frames up to its end, and how many records
/// there were.
pub(super) fn whole_deltas<'a>(records: impl Iterator<Item = Record<'a>>) -> (Vec<(Delta, usize)>, usize) {
    let (mut deltas, mut count, mut open) = (Vec::new(), 0, None::<Stage>);
    for record in records {
        let whole = match record {
            Record::Delta(delta) if open.is_none() => Some(delta.into_owned()),
            Record::Part(part) => {
                let stage = open.get_or_insert_with(|| Stage::of(&part));
                if !stage.continues(&part) {
                    break;
                }
                stage.take(part)
            }
            Record::Delta(_) => break,
        };
        count += 1;
        if let Some(whole) = whole {
            open = None;
            deltas.push((whole, count));
        }
    }
    (deltas, count)
}
