//! What the results of remembered queries depend on, as it becomes known while they are computed.

use std::cell::RefCell;

use crate::pg::datum::{Tags, Text, Varlena};
use crate::store::{Basis, Entry};

/// What a result depends on.
pub struct Dependencies {
    tags: Vec<Vec<u8>>,
    /// The time that all of it is of.
    pub as_of: i64,
}

impl Dependencies {
    pub fn tags(&self) -> Option<Tags<'_>> {
        let texts: Vec<Text> = self.tags.iter().map(|tag| Text::from_bytes(tag)).collect();
        let tags: Vec<Varlena<'_>> = texts.iter().map(Text::as_varlena).collect();
        (!tags.is_empty()).then(|| Tags::copied(&tags))
    }
}

thread_local! {
    /// Of the computations that are going on, the innermost last: a query may call `remember` itself, and then depends on
    /// what that depends on.
    static GOING_ON: RefCell<Vec<Dependencies>> = const { RefCell::new(Vec::new()) };
}

/// A computation that is going on.
pub struct Frame {
    depth: usize,
}

impl Frame {
    pub fn push() -> Frame {
        GOING_ON.with_borrow_mut(|frames| {
            frames.push(Dependencies { tags: Vec::new(), as_of: i64::MAX });
            Frame { depth: frames.len() }
        })
    }

    /// Ends it. What it depends on, the one around it does, too.
    pub fn pop(self) -> Dependencies {
        let dependencies = GOING_ON.with_borrow_mut(|frames| {
            frames.truncate(self.depth);
            frames.pop().expect("pushed by this frame")
        });
        note(&dependencies.tags, dependencies.as_of);
        dependencies
    }
}

impl Drop for Frame {
    /// Also where an error is on its way.
    fn drop(&mut self) {
        GOING_ON.with_borrow_mut(|frames| frames.truncate(self.depth - 1));
    }
}

/// The innermost computation depends on these tags, and is of no later time than this.
pub fn note(tags: &[Vec<u8>], as_of: i64) {
    GOING_ON.with_borrow_mut(|frames| {
        let Some(frame) = frames.last_mut() else { return };
        frame.as_of = frame.as_of.min(as_of);
        for tag in tags {
            if !frame.tags.contains(tag) {
                frame.tags.push(tag.clone());
            }
        }
    });
}

/// A computation that has come upon a remembered result depends on what that depends on.
pub fn note_entry(entry: Entry<'_>) {
    if GOING_ON.with_borrow(Vec::is_empty) {
        return;
    }
    if let Some(Basis { as_of, tags }) = entry.terms().basis {
        let tags: Vec<Vec<u8>> = tags.each().into_iter().flatten().map(<[u8]>::to_vec).collect();
        note(&tags, as_of);
    }
}
