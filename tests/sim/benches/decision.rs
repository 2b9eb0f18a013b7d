//! What one decision costs: the beliefs of so many holders, their expected times, weights, the draw.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use izna_core::{
    Time,
    placement::{Belief, Candidates, Costs, here, stays, there},
};
use izna_proto::Load;

const COSTS: Costs = Costs { hop_us: 100.0, move_us: 30.0, demand_us: 2000.0 };
const LATE_AFTER: Duration = Duration::from_micros(2400);

/// Holders as they are at high load: most have some wait, some an idle core.
fn beliefs(count: u32) -> Vec<Belief> {
    let load = |n: u32| Load {
        wait_us: if n.is_multiple_of(8) { 0 } else { n * 7919 % 6000 },
        idle: u16::from(n.is_multiple_of(8)),
        capacity_milli: 4000,
        speed_milli: 1000,
        accepting: true,
        ..Load::default()
    };
    (0..count).map(|n| Belief::new(load(n), Time::from_micros(0))).collect()
}

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for count in [8, 64, 512] {
        let beliefs = beliefs(count);
        let own =
            Load { wait_us: 9000, capacity_milli: 4000, speed_milli: 1000, ..Load::default() };
        let own = here(&own, &COSTS);
        let mut candidates = Candidates::default();
        let mut unit = 0.0;
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                let now = Time::from_micros(black_box(1));
                candidates.clear();
                for (node, belief) in (0u32..).zip(black_box(&beliefs)) {
                    if !belief.is_late(now, LATE_AFTER) {
                        candidates.push(node, there(belief, &COSTS));
                    }
                }
                unit = (unit + 0.618) % 1.0;
                let best = candidates.best_us().unwrap_or_default();
                if stays(&own, best, &COSTS) { None } else { candidates.draw(&COSTS, unit) }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
