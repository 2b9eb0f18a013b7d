//! The reference model's figures (`tests/sim/reference/lbsim.csv`), and how far ours are from them.
//! The worlds, arrivals and demands are the same seed by seed, so the policies' own draws are all
//! that may differ.

use super::super::{Scenario, Service, play_all};

const TABLE: &str = include_str!("../../../reference/lbsim.csv");

/// One line of the table: the mean over so many seeds, from 11 on.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub policy: String,
    pub nodes: usize,
    pub service: Service,
    pub load: f64,
    pub mean_ms: f64,
    pub p99_ms: f64,
    pub seeds: u64,
}

impl Reference {
    /// All lines.
    ///
    /// # Panics
    ///
    /// If the table, which is a part of the program, is broken.
    pub fn all() -> Vec<Self> {
        TABLE.lines().skip(1).map(|line| Self::parse(line).expect("a good table")).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(',');
        let policy = words.next()?.to_string();
        let nodes = words.next()?.parse().ok()?;
        let service = match words.next()? {
            "exponential" => Service::Exponential,
            "bimodal" => Service::Bimodal,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        Some(Self {
            policy,
            nodes,
            service,
            load: number()?,
            mean_ms: number()?,
            p99_ms: number()?,
            seeds: words.next()?.parse().ok()?,
        })
    }
}

/// Run what the table has for so many nodes, with most seeds, and give the line whose mean differs
/// most, with how much, as a share.
pub fn largest_difference(nodes: usize) -> (String, f64) {
    let mut largest = (String::new(), 0.0);
    let lines: Vec<Reference> = Reference::all();
    let seeds = |policy: &str| {
        let same = lines.iter().filter(|line| line.nodes == nodes && line.policy == policy);
        same.map(|line| line.seeds).max()
    };
    let most = |line: &&Reference| seeds(&line.policy) == Some(line.seeds);
    for line in lines.iter().filter(|line| line.nodes == nodes).filter(most) {
        let scenario =
            Scenario { nodes, load: line.load, service: line.service, ..Scenario::default() };
        let scenario = scenario.suited();
        let policies = [line.policy.clone()];
        let seeds = 11..11 + line.seeds;
        let sum: f64 = seeds.map(|seed| play_all(&scenario, seed, &policies)[0].mean_ms).sum();
        let difference = (sum / line.seeds as f64 / line.mean_ms - 1.0).abs();
        if difference > largest.1 {
            let Reference { policy, load, service, .. } = line;
            largest = (format!("{policy} at {load}, {}", service.as_str()), difference);
        }
    }
    largest
}
