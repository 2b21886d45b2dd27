//! How a cost grows: the exponent `b` of `cost = a · size^b`, by least squares over logarithms.

/// `None` for less than two sizes.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .filter(|(size, cost)| *size > 0.0 && *cost > 0.0)
        .map(|(size, cost)| (size.ln(), cost.ln()))
        .collect();
    let count = logs.len() as f64;
    let (x, y) = (
        logs.iter().map(|(x, _)| x).sum::<f64>() / count,
        logs.iter().map(|(_, y)| y).sum::<f64>() / count,
    );
    let spread: f64 = logs.iter().map(|(at, _)| (at - x).powi(2)).sum();
    let together: f64 = logs.iter().map(|(at, of)| (at - x) * (of - y)).sum();
    (logs.len() > 1 && spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_found_again() {
        let points = [10.0_f64, 100.0, 1000.0].map(|size| (size, 3.0 * size.powf(1.25)));
        assert!((exponent(&points).unwrap() - 1.25).abs() < 1e-9);
        assert_eq!(exponent(&points[..1]), None);
        assert_eq!(exponent(&[]), None);
    }
}
