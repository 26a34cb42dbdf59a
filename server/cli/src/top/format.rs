//! Numbers as short texts: they keep their width while they change.

use jiff::Timestamp;

/// A number of records: `999`, `1.2k`, `34.5M`.
pub(super) fn count(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T"])
}

/// A number of bytes: `512B`, `1.2Ki`, `34.5Gi`.
pub(super) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["B", "Ki", "Mi", "Gi", "Ti", "Pi"])
}

fn scaled(number: f64, base: f64, units: &[&str]) -> String {
    let (mut number, mut unit) = (number.max(0.0), 0);
    // What rounds to 1000.0 has the next unit.
    while number >= base - 0.05 && unit + 1 < units.len() {
        number /= base;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 && (number >= 10.0 || number.fract() == 0.0) {
        format!("{number:.0}{name}")
    } else {
        format!("{number:.1}{name}")
    }
}

/// A time span: `59s`, `12m05s`, `3h04m`, `5d06h`.
pub(super) fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// A time in µs since the epoch, to the second: `2026-01-31 12:00:00Z`.
pub(super) fn time(micros: u64) -> String {
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    format!("{time:.0}").replace('T', " ")
}

/// Rates as bars of eight heights, the newest at the right end, in at most `width` columns.
pub(super) fn sparkline<'a>(
    rates: impl DoubleEndedIterator<Item = &'a f32> + Clone,
    width: usize,
) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let newest = rates.rev().take(width);
    let most = newest.clone().copied().fold(0.0, f32::max);
    let bars = newest.map(|rate| {
        if *rate <= 0.0 || most <= 0.0 {
            return BARS[0];
        }
        let height = (rate / most * (BARS.len() - 1) as f32).round() as usize;
        // The lowest bar is for nothing.
        BARS[height.clamp(1, BARS.len() - 1)]
    });
    let bars: Vec<char> = bars.collect();
    let padding = width.saturating_sub(bars.len());
    std::iter::repeat_n(' ', padding).chain(bars.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_six_characters() {
        for (number, expected) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (7.0, "7"),
            (99.6, "100"),
            (999.0, "999"),
            (1000.0, "1.0k"),
            (12_345.0, "12.3k"),
            (999_960.0, "1.0M"),
            (1e9, "1.0G"),
            (-1.0, "0"),
        ] {
            assert_eq!(count(number), expected, "{number}");
        }
        for (number, expected) in
            [(0.0, "0B"), (1023.0, "1023B"), (1024.0, "1.0Ki"), (1e9, "953.7Mi"), (6e15, "5.3Pi")]
        {
            assert_eq!(bytes(number), expected, "{number}");
        }
    }

    #[test]
    fn spans_have_two_units_and_times_are_in_utc() {
        let second = 1_000_000;
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (725, "12m05s"), (11_040, "3h04m"), (453_600, "5d06h")]
        {
            assert_eq!(span(seconds * second), expected);
        }
        assert_eq!(time(1_767_225_600_999_999), "2026-01-01 00:00:00Z");
        assert!(time(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn sparkline_ends_with_the_newest_rate_and_shows_the_smallest_one() {
        assert_eq!(sparkline([0.0, 1.0, 7.0, 1000.0].iter(), 6), "  ▁▂▂█");
        assert_eq!(sparkline([9.0, 9.0, 4.0].iter(), 2), "█▄");
        assert_eq!(sparkline([0.0, 0.0].iter(), 2), "▁▁");
        assert_eq!(sparkline([].iter(), 2), "  ");
    }
}
