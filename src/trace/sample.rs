//! Which traces that begin here are kept: a share of them, by their id alone, so that everybody who
//! samples by the same share keeps the same traces.

/// How many values the last 56 bits of an id can take.
const VALUES: f64 = 72_057_594_037_927_936.0;

/// Keeps a share of traces. A trace that comes from elsewhere was decided about there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    threshold: f64,
}

impl Sampler {
    /// Keeps this share, from 0 for none to 1 for all.
    #[must_use]
    pub fn ratio(share: f64) -> Self {
        Self { threshold: (1.0 - share.clamp(0.0, 1.0)) * VALUES }
    }

    /// Whether a trace is kept: by the last 56 bits of its id, which are random (W3C Trace Context
    /// level 2), and at least the threshold of OpenTelemetry's probability sampling.
    #[must_use]
    pub fn keeps(self, trace: [u8; 16]) -> bool {
        let random = trace.iter().skip(9).fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
        // As a float the greatest random number is rounded up to the threshold of none.
        self.threshold < VALUES && random >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    #[test]
    fn all_or_none_are_kept_whatever_the_id() {
        for id in [[0; 16], [0xff; 16], [7; 16]] {
            assert!(Sampler::ratio(1.0).keeps(id));
            assert!(!Sampler::ratio(0.0).keeps(id));
        }
    }

    #[test]
    fn about_the_share_is_kept_and_a_larger_share_keeps_those_as_well() {
        let chance = Chance::seeded(1);
        let ids: Vec<[u8; 16]> = (0..10_000).map(|_| chance.bytes()).collect();
        let kept = |share| ids.iter().filter(move |id| Sampler::ratio(share).keeps(**id));
        assert!((2_300..2_700).contains(&kept(0.25).count()), "{}", kept(0.25).count());
        assert!(kept(0.25).all(|id| Sampler::ratio(0.5).keeps(*id)));
    }

    #[test]
    fn only_the_random_part_of_an_id_counts() {
        let mut id = [0xff; 16];
        id[9..].fill(0);
        assert!(!Sampler::ratio(0.99).keeps(id));
    }
}
