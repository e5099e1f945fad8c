//! The place of a row in its table: what an index entry points to.

use pgrx::itemptr;
use pgrx::pg_sys::ItemPointerData;

/// Block and offset. An index points to the first version of a row; later ones that are HOT hang from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub block: u32,
    pub offset: u16,
}

impl Place {
    pub fn from_tid(tid: ItemPointerData) -> Place {
        let (block, offset) = itemptr::item_pointer_get_both(tid);
        Place { block, offset }
    }

    pub fn to_tid(self) -> ItemPointerData {
        let mut tid = ItemPointerData::default();
        itemptr::item_pointer_set_all(&mut tid, self.block, self.offset);
        tid
    }

    /// As 48 bits. Never zero: offsets start at one.
    pub fn to_bits(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }

    pub fn from_bits(bits: u64) -> Place {
        Place { block: (bits >> 16) as u32, offset: bits as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_through_its_bits_and_its_tid() {
        for place in [Place { block: 0, offset: 1 }, Place { block: u32::MAX - 1, offset: 291 }] {
            assert_eq!(Place::from_bits(place.to_bits()), place);
            assert_eq!(Place::from_tid(place.to_tid()), place);
            assert!(place.to_bits() < 1 << 48);
        }
    }
}
