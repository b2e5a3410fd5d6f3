//! A line of the table: a figure of ours beside what it is compared with.

use std::{fmt, time::Duration};

/// Heads of the table's columns.
pub const HEAD: &str = "| what | this project | compared with | | mark | |\n|---|---|---|---|---|---|";

/// How the two figures are compared, and what is asked of them.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// Ours is at most that much more than the other, in the row's unit.
    Plus(f64),
    /// Ours is at most so many times the other.
    Most(f64),
    /// Ours is at least so many times the other.
    Least(f64),
}

/// One line.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured, and beside what.
    pub what: String,
    /// Unit of both figures: `s`, `MB`, `MB/s`, `requests/s`.
    pub unit: &'static str,
    /// This project's figure.
    pub ours: f64,
    /// The figure beside it.
    pub other: f64,
    /// What is asked.
    pub mark: Mark,
}

impl Row {
    /// Whether the mark is met.
    pub fn passes(&self) -> bool {
        match self.mark {
            Mark::Plus(more) => self.ours <= self.other + more,
            Mark::Most(times) => self.ours <= self.other * times,
            Mark::Least(times) => self.ours >= self.other * times,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, ours, other, mark } = self;
        let digits = if *ours >= 1000.0 { 0 } else { 2 };
        let (relation, mark) = match mark {
            Mark::Plus(more) => (format!("{:+.2} {unit}", ours - other), format!("≤ +{more:.0} {unit}")),
            Mark::Most(times) => (format!("{:.2} ×", ours / other), format!("≤ {times} ×")),
            Mark::Least(times) => (format!("{:.2} ×", ours / other), format!("≥ {times} ×")),
        };
        let verdict = if self.passes() { "met" } else { "missed" };
        write!(f, "| {what} | {ours:.digits$} {unit} | {other:.digits$} {unit} | {relation} | {mark} | {verdict} |")
    }
}

/// The middle one of several figures; the mean of the middle two of an even number. 0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        length if length % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

/// The same of times, in seconds.
pub fn median_seconds(times: &[Duration]) -> f64 {
    median(times.iter().map(Duration::as_secs_f64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, mark: Mark) -> Row {
        Row { what: "a".into(), unit: "s", ours, other: 2.0, mark }
    }

    #[test]
    fn a_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert!((median(vec![9.0, 1.0, 2.0, 4.0]) - 3.0).abs() < 1e-9);
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_figure_beyond_its_mark_misses_it() {
        assert!(row(5.0, Mark::Plus(3.0)).passes() && !row(5.1, Mark::Plus(3.0)).passes());
        assert!(row(2.4, Mark::Most(1.2)).passes() && !row(2.5, Mark::Most(1.2)).passes());
        assert!(row(2.0, Mark::Least(1.0)).passes() && !row(1.9, Mark::Least(1.0)).passes());
    }

    #[test]
    fn a_line_says_both_figures_and_how_they_relate() {
        let line = row(3.0, Mark::Most(1.2)).to_string();
        assert_eq!(line, "| a | 3.00 s | 2.00 s | 1.50 × | ≤ 1.2 × | missed |");
    }
}
