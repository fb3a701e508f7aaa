//! Choices that a property makes on its own, the same each time for the same input.

/// A stream of choices that an input decides (`SplitMix64` from an FNV-1a hash of it).
pub struct Choices(u64);

impl Choices {
    /// Those of `input`.
    pub fn of(input: &[u8]) -> Self {
        Self(input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// One of `count` (at least 1) possibilities.
    pub fn one_of(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(count).unwrap()).unwrap()
    }

    /// Heads or tails.
    pub fn flip(&mut self) -> bool {
        self.one_of(2) == 0
    }

    /// `text` as some encoder might write it: bytes for which `plain` holds as they are or encoded,
    /// all others encoded, digits of either case. A space may be `+` where `plus` says so.
    pub fn percent_encode(
        &mut self,
        text: &[u8],
        plus: bool,
        plain: impl Fn(u8) -> bool,
    ) -> String {
        let spell = |byte: &u8| match (*byte, self.one_of(4)) {
            (b' ', 0 | 1) if plus => "+".to_owned(),
            (byte, 0 | 1) if plain(byte) => char::from(byte).to_string(),
            (byte, 2) => format!("%{byte:02x}"),
            (byte, _) => format!("%{byte:02X}"),
        };
        text.iter().map(spell).collect()
    }
}
