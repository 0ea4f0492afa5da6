//! Numbers that look random and are the same for the same seed.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(super) struct Random(u64);

impl Random {
    /// One series of a seed; series with neighbouring numbers have nothing in common.
    pub(super) fn new(seed: u64, series: u64) -> Self {
        let mut mixed = Self(seed);
        Self(mixed.next() ^ series.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u8, most: u8) -> u8 {
        let span = u64::from(most.saturating_sub(least)) + 1;
        let above = u8::try_from((self.next() >> 32) % span).unwrap_or(0);
        least.saturating_add(above)
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, chance: u8) -> bool {
        self.between(0, 99) < chance
    }

    /// One of a list, which must not be empty.
    pub(super) fn pick<T: Copy, const N: usize>(&mut self, list: &[T; N]) -> T {
        const { assert!(N > 0 && N < 256) };
        let at = usize::try_from(self.next() >> 32).unwrap_or(0) % N;
        *list.get(at).unwrap_or(&list[0])
    }

    /// One of a list by weights.
    pub(super) fn weigh<T: Copy, const N: usize>(&mut self, list: &[(u8, T); N]) -> T {
        const { assert!(N > 0) };
        let total: u8 = list.iter().map(|(weight, _)| *weight).sum();
        let mut at = self.between(0, total.saturating_sub(1));
        for (weight, item) in list {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *item,
            }
        }
        list[0].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_series() {
        let draw = |seed, series| {
            let mut random = Random::new(seed, series);
            (0..40).map(|_| random.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert!((3..=9).all(|number| draw(1, 0).contains(&number)) && draw(1, 0).iter().all(|number| (3..=9).contains(number)));
    }

    #[test]
    fn weights_of_nothing_are_never_drawn() {
        let mut random = Random::new(7, 7);
        let drawn: Vec<char> = (0..200).map(|_| random.weigh(&[(0, 'a'), (90, 'b'), (10, 'c')])).collect();
        assert!(!drawn.contains(&'a') && drawn.contains(&'b') && drawn.contains(&'c'));
    }
}
