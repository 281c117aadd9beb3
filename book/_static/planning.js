/* The planner's arithmetic, twin of src/noise_scaling/plan (prices, library, designs, questions): same names, same
   steps. No drawing here. A model has parameters, draws, scatter and the measured ranges n and u; a shop has kits,
   flows, molecules by kit, factor, and in `have` the reads per cell of cells that are there already, or 0. */
"use strict";

const planning = {
  PROMISE_ERROR: 0.25,
  BEYOND: [10, 3],
  GRID: 400,
  FINE: 60,
  STEPS: 60,
  MULTIPLES: 64,
  LEAST: 1e-9,
  Z: 1.959963984540054,
  RARE: [10, 0.95],

  /** Molecules per cell of a library with this saturation at `reads` usable reads per cell; by bisection. */
  molecules(saturation, reads) {
    if (saturation < 1e-9) return Infinity;
    let [low, high] = [2 * saturation, 1 / (1 - saturation)];
    for (let i = 0; i < 200 && low < high; i++) {
      const x = (low + high) / 2;
      if (1 + Math.expm1(-x) / x < saturation) low = x;
      else high = x;
    }
    return reads / ((low + high) / 2);
  },

  umisOf: (reads, molecules) => (molecules === Infinity ? reads : -molecules * Math.expm1(-reads / molecules)),
  readsOf: (umis, molecules) => (molecules === Infinity ? umis : -molecules * Math.log1p(-Math.min(umis / molecules, 1))),

  /** A price card of kits or of reads with what the file leaves out. */
  card: (entry) => ({
    recovery: 1, multiplets: 0, multiplet_reads: 1, per_library: 0, least_reads: 0, mapped: 1, whole: true, assumed: [], ...entry,
  }),

  /** Prices without kits. */
  linear: (perCell, perMillion) => ({
    kits: [planning.card({ name: "per_cell", title: "cells", price: perCell, libraries: 1, cells: 1, whole: false })],
    flows: [planning.card({ name: "per_million_reads", title: "million reads", price: perMillion, reads: 1e6, whole: false })],
  }),

  up: (count, card) => (card.whole ? Math.ceil(count - planning.LEAST) + 0 : count), // 0, never -0
  singlets: (kit) => kit.cells * (1 - kit.multiplets * kit.cells),
  librariesFor: (kit, n) => (kit.whole ? Math.max(planning.up(n / planning.singlets(kit), kit), kit.donors ?? 1) : n / planning.singlets(kit)),
  kitsFor: (kit, libraries) => planning.up(libraries / kit.libraries, kit),

  prepared(shop, kit, n) {
    if (shop.have) return 0;
    const libraries = planning.librariesFor(kit, n);
    return planning.kitsFor(kit, libraries) * kit.price + libraries * kit.per_library;
  },

  recovered(kit, n) {
    if (kit.multiplets === 0) return n;
    const rate = kit.multiplets / planning.librariesFor(kit, n);
    return (1 - Math.sqrt(Math.max(1 - 4 * rate * n, 0))) / (2 * rate);
  },

  perCell: (kit, n) => 1 + kit.multiplet_reads * (planning.recovered(kit, n) / n - 1),
  affordable: (flow, money) => (flow.whole ? Math.floor(money / flow.price + planning.LEAST) : money / flow.price),

  /** UMIs of the panel from all reads per cell, and back; shop.molecules is by the kit's name. */
  umis: (shop, kit, reads) => planning.umisOf(reads * kit.mapped, shop.molecules[kit.name]) / shop.factor,
  reads: (shop, kit, umis) => planning.readsOf(umis * shop.factor, shop.molecules[kit.name]) / kit.mapped,
  least: (shop, kit) => (shop.have ? 0 : kit.least_reads),
  ordered: (shop, kit, n, reads) => Math.max(Math.max(reads, planning.least(shop, kit)) - shop.have, 0) * n * planning.perCell(kit, n),

  bits: (model, n, u) => laws.noiseBudget(n, Math.max(u, planning.LEAST), model.parameters),

  holds: (model, n, u) =>
    [[n, model.n], [u, model.u]].every(([x, [low, high]]) => low * (1 - 1e-6) <= x && x <= high * (1 + 1e-6)),

  /** 95 % for a new measurement at (n, u). */
  interval(model, n, u) {
    const bits = planning.bits(model, n, u);
    const [low, high] = laws.budgetInterval(n, Math.max(u, planning.LEAST), model.draws);
    const more = planning.Z * Math.hypot(model.scatter, planning.holds(model, n, u) ? 0 : planning.PROMISE_ERROR);
    return [bits - Math.hypot(Math.max(bits - low, 0), more), bits + Math.hypot(Math.max(high - bits, 0), more)];
  },

  /** A depth with this many bits at n cells: the noise budget solved for u; NaN where n cells never reach them. */
  depthFor(n, bits, [v0, v1, v2, v3, s, a]) {
    const few = n ** -s;
    const left = 1 / Math.expm1(2 * Math.LN2 * bits) - v0 - v2 * few;
    return left > 0 ? ((v1 + v3 * few) / left) ** (1 / a) : NaN;
  },

  /** n cells of a kit with so many flow cells: as deep as these go and no deeper than the range; null where none is. */
  offer(model, shop, span, kit, flow, n, units) {
    const bought = (Math.max(units, 0) * flow.reads) / (n * planning.perCell(kit, n));
    const deepest = planning.reads(shop, kit, span.u[1]);
    const reads = Math.min(shop.have + bought, deepest);
    const umis = Math.min(planning.umis(shop, kit, reads), span.u[1]);
    if (units < 0 || bought < planning.least(shop, kit) * (1 - 1e-9) || umis < span.u[0] * (1 - 1e-6)) return null;
    return { kit, flow, n, units, reads, umis, bits: planning.bits(model, n, umis), cost: planning.prepared(shop, kit, n) + units * flow.price };
  },

  forBudget: (model, shop, span, budget) => (kit, flow, n) => {
    const wanted = planning.up(planning.ordered(shop, kit, n, planning.reads(shop, kit, span.u[1])) / flow.reads, flow);
    const most = planning.affordable(flow, budget - planning.prepared(shop, kit, n));
    return planning.offer(model, shop, span, kit, flow, n, Math.min(most, wanted));
  },

  forBits: (model, shop, span, bits) => (kit, flow, n) => {
    let [low, high] = span.u.map(Math.log);
    for (let i = 0; i < planning.STEPS; i++) {
      const middle = (low + high) / 2;
      if (planning.bits(model, n, Math.exp(middle)) >= bits) high = middle;
      else low = middle;
    }
    const units = planning.up(planning.ordered(shop, kit, n, planning.reads(shop, kit, Math.exp(high))) / flow.reads, flow);
    const made = planning.offer(model, shop, span, kit, flow, n, units);
    return made && made.bits >= bits - 1e-6 ? made : null;
  },

  /** Whole numbers of cells, log-spaced, and those that fill libraries and kits. */
  cellsBetween(low, high, kit, count) {
    const [from, to] = [Math.log(low), Math.log(high)];
    const numbers = Array.from({ length: count }, (_, i) => Math.floor(Math.exp(from + i * ((to - from) / (count - 1))) + 0.5));
    if (kit && kit.whole) {
      for (let k = 1; k <= planning.MULTIPLES; k++) {
        const full = k * planning.singlets(kit);
        numbers.push(Math.floor(full), Math.floor(full * kit.libraries));
      }
    }
    return [...new Set(numbers)].filter((n) => n >= Math.ceil(low) && n <= high).sort((a, b) => a - b);
  },

  /** The design with most bits for a budget, or the cheapest for so many bits; null where there is none. */
  find(model, shop, span, role, { budget, bits }) {
    const cheapest = bits !== undefined;
    const buy = cheapest ? planning.forBits(model, shop, span, bits) : planning.forBudget(model, shop, span, budget);
    const keys = (made) => (cheapest ? [made.cost, -made.bits] : [-made.bits, made.cost]);
    let [best, found] = [[Infinity, Infinity], null];
    for (const kit of shop.kits) {
      for (const flow of shop.flows) {
        let cells = planning.cellsBetween(...span.n, kit, planning.GRID);
        for (const fine of [true, false]) {
          const made = cells.map((n) => buy(kit, flow, n));
          const first = Math.min(...made.map((one) => (one ? keys(one)[0] : Infinity)));
          if (first === Infinity) break;
          let at = -1;
          made.forEach((one, i) => {
            if (one && keys(one)[0] <= first + planning.LEAST && (at < 0 || keys(one)[1] < keys(made[at])[1])) at = i;
          });
          const [mine, second] = keys(made[at]);
          const gain = best[0] - mine;
          if (gain > planning.LEAST || (gain >= -planning.LEAST && second < best[1] - planning.LEAST)) {
            [best, found] = [[mine, second], made[at]];
          }
          if (fine) cells = planning.cellsBetween(cells[Math.max(at - 1, 0)], cells[Math.min(at + 1, cells.length - 1)], null, planning.FINE);
        }
      }
    }
    return found && planning.design(model, shop, found, role);
  },

  /** An offer in full, keys as of the command's JSON. */
  design(model, shop, { kit, flow, n, units, reads, umis, bits, cost }, role) {
    const libraries = shop.have ? 0 : planning.librariesFor(kit, n);
    const recovered = planning.recovered(kit, n);
    const counted = Math.max(reads * kit.mapped, planning.LEAST);
    const [low, high] = planning.interval(model, n, umis);
    return {
      role, model: model.said, n_cells: n, umis_per_cell: umis, library_umis_per_cell: umis * shop.factor, reads_per_cell: reads,
      reads_paid_per_cell: shop.have + (units * flow.reads) / (n * planning.perCell(kit, n)),
      saturation: Math.max(1 - planning.umisOf(counted, shop.molecules[kit.name]) / counted, 0), bits, bits_low: low, bits_high: high,
      cost, inside: planning.holds(model, n, umis), kit: kit.name, kits: planning.kitsFor(kit, libraries), libraries,
      flow_cell: flow.name, flow_cells: units, cells_recovered: recovered, cells_loaded: recovered / kit.recovery,
      rarest_type: planning.rarest(n),
    };
  },

  /** The least share of a type of which n cells hold so many with such a probability, as RARE says; by bisection. */
  rarest(n) {
    const [least, sure] = planning.RARE;
    if (n < least) return 1;
    let [low, high] = [0, 1];
    for (let i = 0; i < 100; i++) {
      const p = (low + high) / 2;
      let [fewer, ways] = [0, 0]; // probability of fewer, and the logarithm of n over k
      for (let k = 0; k < least; k++) {
        fewer += Math.exp(ways + k * Math.log(p) + (n - k) * Math.log1p(-p));
        ways += Math.log((n - k) / (k + 1));
      }
      if (fewer > 1 - sure) low = p;
      else high = p;
    }
    return (low + high) / 2;
  },

  /** n cells at so many reads each, with the kit and flow cell that cost least. */
  given(model, shop, n, reads, role) {
    const offers = shop.kits.flatMap((kit) => shop.flows.map((flow) => {
      const umis = planning.umis(shop, kit, reads);
      const units = planning.up(planning.ordered(shop, kit, n, reads) / flow.reads, flow);
      return { kit, flow, n, units, reads, umis, bits: planning.bits(model, n, umis), cost: planning.prepared(shop, kit, n) + units * flow.price };
    }));
    return planning.design(model, shop, offers.reduce((a, b) => (b.cost < a.cost ? b : a)), role);
  },

  /** Share of bootstrap draws in which one design beats another. */
  ahead(model, one, other) {
    const bits = (design, draw) => laws.noiseBudget(design.n_cells, Math.max(design.umis_per_cell, planning.LEAST), draw);
    return model.draws.filter((draw) => bits(one, draw) > bits(other, draw)).length / model.draws.length;
  },

  reach: (model) => planning.bits(model, model.n[1], model.u[1]),
  beyond: ({ n, u }) => ({ n: [n[0], n[1] * planning.BEYOND[0]], u: [u[0], u[1] * planning.BEYOND[1]] }),

  /** The answer for a budget: designs with the best first, ties and the share of draws; null where nothing is bought. */
  answerBudget(models, shop, budget) {
    const ranked = models.map((model) => planning.find(model, shop, model, "another model", { budget })).filter(Boolean)
      .sort((a, b) => b.bits - a.bits);
    if (!ranked.length) return null;
    const first = { ...ranked[0], role: "best" };
    const model = models.find((one) => one.said === first.model);
    const sides = [[model.n[0], first.n_cells / 2], [first.n_cells * 2, model.n[1]]].filter(([low, high]) => low <= high);
    const others = sides.map((n) => planning.find(model, shop, { n, u: model.u }, "runner-up", { budget })).filter(Boolean);
    const runnerUp = others.sort((a, b) => b.bits - a.bits)[0];
    const thrifty = planning.find(model, shop, model, "cheapest tie", { bits: first.bits - planning.PROMISE_ERROR });
    const beyond = shop.have ? null : planning.find(model, shop, planning.beyond(model), "extrapolation", { budget });
    const more = [
      shop.have ? planning.given(model, shop, first.n_cells, shop.have, "as it is") : null, runnerUp,
      thrifty && thrifty.cost < 0.99 * first.cost ? thrifty : null,
      beyond && !beyond.inside && beyond.bits > first.bits + planning.PROMISE_ERROR ? beyond : null,
    ].filter(Boolean);
    return {
      designs: [first, ...ranked.slice(1), ...more], model, ahead: runnerUp ? planning.ahead(model, first, runnerUp) : null, against: runnerUp,
      ties: ranked.slice(1).filter((d) => planning.tie(d, first)).map((d) => d.model),
    };
  },

  tie: (one, other) => Math.abs(one.bits - other.bits) < planning.PROMISE_ERROR,

  /** Two designs [cells, reads, name] by the model that has most bits at one of them; null where neither was in the range of any. */
  answerCompare(models, shop, pair) {
    const most = ({ two }) => Math.max(...two.filter((d) => d.inside).map((d) => d.bits));
    const made = models.map((model) => ({ model, two: pair.map(([n, reads, name]) => planning.given(model, shop, n, reads, `design ${name}`)) }));
    const inside = made.filter(({ two }) => two.some((d) => d.inside));
    if (!inside.length) return null;
    const { model, two } = inside.reduce((a, b) => (most(b) > most(a) ? b : a));
    const designs = [...two].sort((a, b) => b.inside - a.inside || b.bits - a.bits);
    const [first, second] = designs;
    return { designs, model, ahead: planning.ahead(model, first, second), against: second, ties: planning.tie(first, second) ? [second.role] : [] };
  },

  /** The answer for so many bits: the cheapest first; null where no model reaches them. */
  answerBits(models, shop, target) {
    const ranked = models.map((model) => planning.find(model, shop, model, "another model", { bits: target })).filter(Boolean)
      .sort((a, b) => a.cost - b.cost || b.bits - a.bits);
    if (!ranked.length) return null;
    const first = { ...ranked[0], role: "best" };
    return {
      designs: [first, ...ranked.slice(1)], model: models.find((one) => one.said === first.model), target, ahead: null,
      ties: ranked.slice(1).filter((d) => d.cost <= 1.01 * first.cost).map((d) => d.model),
    };
  },
};
