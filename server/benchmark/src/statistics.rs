//! [`Rounds`]: the median and the range of repeated measurements.

/// The figures of all rounds in ascending order. There is at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rounds(Vec<f64>);

impl Rounds {
    /// `None` if there are no figures.
    pub(super) fn of(mut figures: Vec<f64>) -> Option<Rounds> {
        figures.sort_by(f64::total_cmp);
        (!figures.is_empty()).then_some(Rounds(figures))
    }

    /// The median; with an even number of rounds, the lower of the two middle figures.
    pub(super) fn median(&self) -> f64 {
        self.0.get((self.0.len() - 1) / 2).copied().unwrap_or_default()
    }

    /// All figures in ascending order.
    pub(super) fn all(&self) -> &[f64] {
        &self.0
    }

    pub(super) fn low(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(super) fn high(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }
}

/// A rate with an SI prefix, for example `12.3 M`.
pub(super) fn format_rate(rate: f64) -> String {
    let (value, unit) = match rate {
        r if r >= 1e9 => (r / 1e9, " G"),
        r if r >= 1e6 => (r / 1e6, " M"),
        r if r >= 1e3 => (r / 1e3, " k"),
        r => (r, ""),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_one_of_the_figures() {
        let rounds = Rounds::of(vec![3.0, 1.0, 2.0]).expect("three");
        assert_eq!((rounds.low(), rounds.median(), rounds.high()), (1.0, 2.0, 3.0));
        assert_eq!(Rounds::of(vec![4.0, 3.0]).expect("two").median(), 3.0);
        assert_eq!(Rounds::of(Vec::new()), None);
    }

    #[test]
    fn rates_have_three_significant_digits() {
        for (rate, expected) in [
            (0.5, "0.50"),
            (12.34, "12.3"),
            (999.0, "999"),
            (12_345.0, "12.3 k"),
            (1.7e9, "1.70 G"),
        ] {
            assert_eq!(format_rate(rate), expected);
        }
    }
}
