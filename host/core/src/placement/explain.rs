//! Why a process is where it is: what one decision knew, in figures. Small and without allocation,
//! so that each process carries the explanation of its last one.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use izna_proto::NodeId;

use super::{Candidates, Estimate};

/// How many of the best candidates are told.
const BEST_MAX: usize = 3;

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// Nothing yet.
    #[default]
    Undecided,
    /// A core here was idle: nothing can be better.
    Idle,
    /// No other node is markedly better.
    Stays,
    /// It has moved as often as it may.
    Settled,
    /// A local link leads to its entry, or back to it.
    Local,
    /// No other node can take it.
    Alone,
    /// Drawn among the others.
    Drawn,
    /// It came, and another node was markedly better.
    Bounced,
    /// A node with an idle core had asked before it came.
    Token,
    /// A node with an idle core asked while it waited.
    Pulled,
}

/// One candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// The node.
    pub node: NodeId,
    /// What was expected there.
    pub estimate: Estimate,
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Explanation {
    /// What decided.
    pub rule: Rule,
    /// What was expected here, if it could stay.
    pub here: Option<Estimate>,
    /// How many other nodes could take it.
    pub candidates: usize,
    /// The best of them, best first.
    pub best: [Option<Weighed>; BEST_MAX],
    /// The drawn number in [0, 1), and whom it met.
    pub draw: Option<(f64, NodeId)>,
}

impl Explanation {
    /// A decision for which no other node was looked at.
    pub fn plain(rule: Rule, here: Option<Estimate>) -> Self {
        Self { rule, here, ..Self::default() }
    }

    /// A decision among `candidates`.
    pub fn among(rule: Rule, here: Option<Estimate>, candidates: &Candidates<NodeId>) -> Self {
        let mut best: [Option<Weighed>; BEST_MAX] = [None; BEST_MAX];
        for (node, estimate) in candidates.iter() {
            let mut next = Some(Weighed { node, estimate: *estimate });
            for place in &mut best {
                let better = match (&next, &place) {
                    (Some(new), Some(old)) => new.estimate.time_us < old.estimate.time_us,
                    (Some(_), None) => true,
                    (None, _) => false,
                };
                if better {
                    core::mem::swap(place, &mut next);
                }
            }
        }
        Self { rule, here, candidates: candidates.len(), best, draw: None }
    }
}

impl Rule {
    /// The rule in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "not placed yet",
            Self::Idle => "a core here was idle",
            Self::Stays => "no other node is markedly better",
            Self::Settled => "it has moved as often as it may",
            Self::Local => "it is on a local link",
            Self::Alone => "no other node can take it",
            Self::Drawn => "drawn among the others",
            Self::Bounced => "passed on at arrival",
            Self::Token => "an idle node had asked",
            Self::Pulled => "an idle node asked",
        }
    }
}

impl Explanation {
    /// The decision on one line, with nodes by the names that `name` gives them.
    pub fn told(&self, name: impl Fn(NodeId) -> String) -> String {
        let mut text = String::from(self.rule.as_str());
        if let Some(here) = self.here {
            text += &format!("; here {:.0} us", here.time_us);
        }
        let best: Vec<String> = self
            .best
            .iter()
            .flatten()
            .map(|best| format!("{} {:.0} us", name(best.node), best.estimate.time_us))
            .collect();
        if !best.is_empty() {
            text += &format!("; {} others, best {}", self.candidates, best.join(", "));
        }
        if let Some((unit, node)) = self.draw {
            text += &format!("; drew {unit:.3}: {}", name(node));
        }
        text
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told(|node| node.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, `izna ps --why` names other nodes than those that were the best, or leaves
    /// out the figures.
    #[test]
    fn the_best_are_told_in_order() {
        let mut candidates = Candidates::default();
        for (node, time_us) in [(1, 400.0), (2, 100.0), (3, 300.0), (4, 200.0)] {
            candidates.push(NodeId(node), Estimate { time_us, idle: 0.0, capacity: 1.0 });
        }
        let here = Estimate { time_us: 900.0, idle: 0.0, capacity: 1.0 };
        let mut why = Explanation::among(Rule::Drawn, Some(here), &candidates);
        why.draw = Some((0.25, NodeId(2)));
        let (two, four, three) = (NodeId(2), NodeId(4), NodeId(3));
        assert_eq!(
            why.to_string(),
            format!(
                "drawn among the others; here 900 us; 4 others, best {two} 100 us, {four} 200 us, \
                 {three} 300 us; drew 0.250: {two}"
            )
        );
        assert_eq!(Explanation::plain(Rule::Idle, None).to_string(), "a core here was idle");
    }
}
