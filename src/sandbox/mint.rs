//! Ids and chance, all out of one seed.

/// The alphabet of ids.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Mints ids: the same seed gives the same ids in the same order.
#[derive(Debug)]
pub(crate) struct Mint {
    seed: u64,
    count: u64,
}

impl Mint {
    /// A mint at its beginning.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// `prefix_` and 24 characters.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.take(prefix, 24)
    }

    /// `req_` and 14 characters.
    pub(crate) fn request(&mut self) -> String {
        self.take("req", 14)
    }

    fn take(&mut self, prefix: &str, length: usize) -> String {
        self.count += 1;
        let mut id = String::with_capacity(prefix.len() + 1 + length);
        id.push_str(prefix);
        id.push('_');
        let mut bits = 0;
        for n in 0..length {
            if n % 10 == 0 {
                let turn = u64::try_from(n / 10).unwrap_or_default();
                bits = mix(self.seed ^ mix(self.count.wrapping_mul(4).wrapping_add(turn)));
            }
            let digit = usize::try_from(bits % 62).unwrap_or_default();
            id.extend(ALPHABET.get(digit).map(|byte| char::from(*byte)));
            bits /= 62;
        }
        id
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_no_id_comes_twice() {
        let ids = |seed| {
            let mut mint = Mint::new(seed);
            (0..10_000).map(|_| mint.id("ch")).collect::<Vec<_>>()
        };
        let first = ids(7);
        assert_eq!(first, ids(7));
        assert_ne!(first, ids(8));
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 10_000);
        assert!(first.iter().all(|id| id.len() == 27));
    }
}
