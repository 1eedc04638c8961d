/// What several runs gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// Half of the runs gave less; of an even number of runs the mean of the two in the middle.
    pub(super) median: f64,
    /// The least that one gave.
    pub(super) least: f64,
    /// The most that one gave.
    pub(super) most: f64,
    /// How many there were.
    pub(super) runs: usize,
}

impl Summary {
    /// Of the values of one run at least.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (least, most, runs) = (*values.first()?, *values.last()?, values.len());
        let upper = *values.get(runs >> 1)?;
        let lower = *values.get(runs.saturating_sub(1) >> 1)?;
        Some(Self { median: (lower + upper) / 2.0, least, most, runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Summary::of(vec![]), None);
        assert_eq!(Summary::of(vec![3.0]).unwrap().median, 3.0);
        assert_eq!(Summary::of(vec![9.0, 1.0, 2.0]), Some(Summary { median: 2.0, least: 1.0, most: 9.0, runs: 3 }));
        assert_eq!(Summary::of(vec![9.0, 1.0, 2.0, 4.0]).unwrap().median, 3.0);
    }
}
