/* The planner's arithmetic, twin of src/noise_scaling/plan/designs.py: same names, same steps. No drawing here. */
"use strict";

const planning = {
  LEAST_CELLS: 10,
  FLAT: 0.02,
  GRID: 400,
  STEPS: 60,
  GOLDEN: (Math.sqrt(5) - 1) / 2,

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

  /** Mean UMIs per cell from usable reads per cell. */
  umis(reads, molecules) {
    return molecules === Infinity ? reads : -molecules * Math.expm1(-reads / molecules);
  },

  /** Usable reads per cell that give these UMIs per cell; infinite where the library holds no more. */
  reads(umis, molecules) {
    return molecules === Infinity ? umis : -molecules * Math.log1p(-Math.min(umis / molecules, 1));
  },

  perUsableRead: (purchase) => purchase.perMillionReads / 1e6 / purchase.usable,

  /** Usable reads per cell that the whole budget pays for n cells. */
  readsBought: (n, purchase) => Math.max(purchase.budget / n - purchase.perCell, 0) / planning.perUsableRead(purchase),

  cost: (n, reads, purchase) => n * (purchase.perCell + reads * planning.perUsableRead(purchase)),

  /** A depth with this many bits at n cells: the noise budget solved for u; NaN where n cells never reach them. */
  depthFor(n, bits, [v0, v1, v2, v3, s, a]) {
    const few = n ** -s;
    const left = 1 / Math.expm1(2 * Math.LN2 * bits) - v0 - v2 * few;
    return left > 0 ? ((v1 + v3 * few) / left) ** (1 / a) : NaN;
  },

  /** Where `bits` is highest between low and high: a grid of logarithms, then golden section. */
  bestCells(bits, low, high) {
    const [from, to] = [Math.log(low), Math.log(high)];
    const grid = Array.from({ length: planning.GRID }, (_, i) => from + ((to - from) * i) / (planning.GRID - 1));
    const values = grid.map((x) => bits(Math.exp(x)));
    const top = values.indexOf(Math.max(...values));
    let [a, b] = [grid[Math.max(top - 1, 0)], grid[Math.min(top + 1, planning.GRID - 1)]];
    for (let i = 0; i < planning.STEPS; i++) {
      const c = b - planning.GOLDEN * (b - a);
      const d = a + planning.GOLDEN * (b - a);
      if (bits(Math.exp(c)) >= bits(Math.exp(d))) b = d;
      else a = c;
    }
    return Math.exp((a + b) / 2);
  },

  /** The design with n cells (rounded) that spends the budget, or as much of it as `mostUmis` per cell asks for. */
  design(model, n, purchase, molecules, mostUmis = Infinity) {
    const cells = Math.max(Math.floor(n + 0.5), 1);
    const most = Number.isFinite(mostUmis) ? planning.reads(mostUmis, molecules) : Infinity;
    const reads = Math.min(planning.readsBought(cells, purchase), most);
    const umis = Math.max(planning.umis(reads, molecules), 1e-9);
    const bits = laws.noiseBudget(cells, umis, model.parameters);
    const [low, high] = laws.budgetInterval(cells, umis, model.draws);
    return {
      cells, umis, reads: reads / purchase.usable, saturation: reads > 0 ? 1 - planning.umis(reads, molecules) / reads : 0,
      cost: planning.cost(cells, reads, purchase), bits, low: Math.min(low, bits), high: Math.max(high, bits),
    };
  },

  /** Bits that n cells buy if the whole budget is spent, at most `mostUmis` per cell. */
  bitsFor(model, n, purchase, molecules, mostUmis = Infinity) {
    const umis = planning.umis(planning.readsBought(n, purchase), molecules);
    return laws.noiseBudget(n, Math.max(Math.min(umis, mostUmis), 1e-9), model.parameters);
  },

  /** Phrases for what lies outside the measured range, by more than 1 %. */
  outside(model, { cells, umis }) {
    const axes = [[cells, model.n, "training cells"], [umis, model.u, "UMIs per cell"]];
    const whole = (value) => Math.round(value).toLocaleString("en-US");
    return axes
      .filter(([value, [low, high]]) => value < low / 1.01 || value > high * 1.01)
      .map(([value, [low, high], what]) => `${whole(value)} ${what} (measured: ${whole(low)} to ${whole(high)})`);
  },

  /** The best design within the measured range, or null if the budget reaches none. */
  inside(model, purchase, molecules) {
    const most = purchase.budget / planning.cost(1, planning.reads(model.u[0], molecules), purchase);
    const [low, high] = [model.n[0], Math.min(model.n[1], most)];
    if (!(low < high)) return null;
    const n = planning.bestCells((at) => planning.bitsFor(model, at, purchase, molecules, model.u[1]), low, high);
    return planning.design(model, n, purchase, molecules, model.u[1]);
  },

  /** Cell numbers around n that come within FLAT bits of it. */
  flat(bits, n, low, high) {
    const least = bits(n) - planning.FLAT;
    const edge = (end) => {
      let [good, bad] = [Math.log(n), Math.log(end)];
      if (bits(Math.exp(bad)) >= least) return end;
      for (let i = 0; i < planning.STEPS; i++) {
        const middle = (good + bad) / 2;
        if (bits(Math.exp(middle)) >= least) good = middle;
        else bad = middle;
      }
      return Math.exp(good);
    };
    return [edge(low), edge(high)];
  },

  /** Share of bootstrap draws in which one design beats another. */
  ahead(model, one, other) {
    const wins = model.draws.filter(
      (draw) => laws.noiseBudget(one.cells, one.umis, draw) > laws.noiseBudget(other.cells, other.umis, draw),
    );
    return wins.length / model.draws.length;
  },

  /** The plan for one model: model has parameters, draws, and the measured ranges n and u. */
  plan(model, purchase, molecules) {
    const bits = (n) => planning.bitsFor(model, n, purchase, molecules);
    const [low, high] = [planning.LEAST_CELLS, (purchase.budget / purchase.perCell) * (1 - 1e-9)];
    const n = planning.bestCells(bits, low, high);
    const best = planning.design(model, n, purchase, molecules);
    const sides = [[low, n / 2], [2 * n, high]].filter(([from, to]) => from < to);
    const others = sides.map(([from, to]) => planning.bestCells(bits, from, to)).sort((a, b) => bits(b) - bits(a));
    const runnerUp = planning.design(model, others[0], purchase, molecules);
    const outside = planning.outside(model, best);
    return {
      best, runnerUp, outside, ahead: planning.ahead(model, best, runnerUp), flat: planning.flat(bits, n, low, high),
      inside: outside.length ? planning.inside(model, purchase, molecules) : null,
    };
  },
};
