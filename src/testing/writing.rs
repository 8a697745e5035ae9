//! Writing what hubs have to send to the wires of the simulation.

use crate::base::id::ConnKey;
use crate::base::limits::WRITES_AT_ONCE;
use crate::proto::output::Written;
use crate::testing::world::World;

impl World {
    /// Writes so many of the connections that were named, some at a time.
    pub(crate) fn write_named(&mut self, shard: usize, count: usize) {
        let Self { hubs, wires, index, random, rounds, now, named, .. } = self;
        let count = count.min(named[shard].len());
        let mut conns: Vec<ConnKey> = named[shard].drain(..count).collect();
        // Those of wires that are gone are in the hub no more either.
        conns.retain(|&conn| index.contains_key(&(shard, conn)));
        let mut rest = &conns[..];
        while !rest.is_empty() {
            let most = rest.len().min(WRITES_AT_ONCE);
            let together = 1 + rounds.below(most as u64) as usize;
            hubs[shard].transmit(&rest[..together], *now, |conn, slices| {
                let total = slices.iter().map(|slice| slice.len()).sum();
                let Some(wire) = index.get(&(shard, conn)).map(|&id| &mut wires[id]) else {
                    return Written { bytes: 0, blocked: true };
                };
                let written = wire.offer(total, *now, random);
                let mut bytes = Vec::with_capacity(written.bytes);
                for slice in slices {
                    let count = slice.len().min(written.bytes - bytes.len());
                    bytes.extend_from_slice(&slice[..count]);
                }
                wire.put(bytes, *now);
                written
            });
            rest = &rest[together..];
        }
    }
}
