/* Eq. 1 fitted to points in the browser, as `fit_noise_law` of src/noise_scaling/laws does it; tests/book holds the two
   to one another. Intervals are Eq. 1's own: they hold if the law does. */
"use strict";

const fitting = {
  /** Points of a text: a table with columns u (or umis_per_cell) and bits (or mi_bits), or two columns of numbers and no more. */
  read(text) {
    const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
    const cells = lines.map((line) => line.split(line.includes("\t") ? "\t" : line.includes(";") ? ";" : /\s*,\s*|\s+/));
    const decimal = (value = "") => (value.trim() === "" ? NaN : Number(value.replace(",", "."))); // a comma that parts no cells
    const names = (cells[0] ?? []).map((name) => name.trim().replaceAll('"', "").toLowerCase());
    const headed = names.some((name) => name !== "" && Number.isNaN(decimal(name)));
    const at = (...known) => names.findIndex((name) => known.includes(name));
    const [u, bits] = headed ? [at("umis_per_cell", "u"), at("mi_bits", "bits")] : [0, 1];
    if (u < 0 || bits < 0) return { error: `no columns u and bits in the first line, which has ${names.join(", ")}: name them so` };
    const points = [];
    const width = headed ? names.length : 2;
    for (const [i, line] of cells.slice(headed ? 1 : 0).entries()) {
      const where = `line ${i + (headed ? 2 : 1)} has`;
      const pair = [decimal(line[u]), decimal(line[bits])];
      if (/^\s*[1-9]\d{0,2}(,\d{3})+\s*$/.test(line[u])) return { error: `${where} a depth of ${line[u].trim()}: write it without the comma` };
      if (line.slice(width).some((value) => value.trim())) {
        return { error: `${where} ${line.length} values, not ${width}: write 1,000 as 1000, or name all columns (u, bits and others) in a first line` };
      }
      if (!pair.every(Number.isFinite)) return { error: `${where} no two numbers: correct it or take it out` };
      if (pair[0] <= 0) return { error: `${where} a depth of ${pair[0]}: it must be above 0` };
      points.push(pair);
    }
    const depths = new Set(points.map(([depth]) => depth)).size;
    if (depths < 3) return { error: `${depths === 1 ? "one depth" : `${depths} different depths`} cannot fit Eq. 1: give at least 3` };
    return { points };
  },

  /** Parameters [ln ū, I_max] with the least sum of squares, from five starts; bounds as in laws/law.py. */
  solve(points) {
    const u = points.map((p) => p[0]);
    const most = Math.max(...points.map((p) => p[1]));
    const [low, high] = [Math.log(Math.min(...u)), Math.log(Math.max(...u))];
    const bounds = [[low - Math.log(1e4), high + Math.log(1e6)], [0, 20]];
    const runs = [-0.2, 0.225, 0.65, 1.075, 1.5].map((place) =>
      fitting.descend(points, [low + place * (high - low), 1.1 * Math.max(most, 0.1)], bounds));
    return { ...runs.reduce((a, b) => (b.cost < a.cost ? b : a)), bounds };
  },

  /** Levenberg-Marquardt within bounds; a parameter on its bound that is pushed outwards is held there. */
  descend(points, start, bounds) {
    const clip = (theta) => theta.map((value, i) => Math.min(Math.max(value, bounds[i][0]), bounds[i][1]));
    let theta = clip(start);
    let { cost, gradient: g, curvature: c } = fitting.normal(points, theta);
    let damping = 1e-3;
    for (let step = 0; step < 500; step++) {
      const held = theta.map((value, i) => (value <= bounds[i][0] && g[i] > 0) || (value >= bounds[i][1] && g[i] < 0));
      const [a, d] = [c[0] * (1 + damping), c[2] * (1 + damping)];
      const b = held[0] || held[1] ? 0 : c[1];
      const det = a * d - b * b;
      const move = [-(d * g[0] - b * g[1]) / det, -(a * g[1] - b * g[0]) / det].map((value, i) => (held[i] ? 0 : value));
      const tried = clip(theta.map((value, i) => value + move[i]));
      const next = fitting.normal(points, tried);
      const better = Number.isFinite(next.cost) && next.cost <= cost;
      const still = Math.max(...tried.map((value, i) => Math.abs(value - theta[i]))) < 1e-12;
      if (better ? cost - next.cost <= 1e-14 * cost + 1e-20 : damping > 1e10 || still || !Number.isFinite(det)) {
        return better ? { theta: tried, ...next, converged: true } : { theta, cost, curvature: c, converged: true };
      }
      if (better) [theta, cost, g, c] = [tried, next.cost, next.gradient, next.curvature];
      damping = better ? Math.max(damping * 0.2, 1e-9) : damping * 5;
    }
    return { theta, cost, curvature: c, converged: false };
  },

  /** Sum of squares, half its gradient, and J'J as [a, b, c]. */
  normal(points, [logUBar, iMax]) {
    let cost = 0;
    const [gradient, curvature] = [[0, 0], [0, 0, 0]];
    for (const [u, bits] of points) {
      const left = laws.noiseLaw(u, Math.exp(logUBar), iMax) - bits;
      const [p, q] = laws.noiseSlope(u, Math.exp(logUBar), iMax);
      cost += left ** 2;
      gradient[0] += p * left;
      gradient[1] += q * left;
      curvature[0] += p * p;
      curvature[1] += p * q;
      curvature[2] += q * q;
    }
    return { cost, gradient, curvature };
  },

  /** The fit of points [[u, bits], ...]: parameters, 95 % intervals if Eq. 1 holds, R², status and note. */
  fit(points) {
    const { theta, cost, curvature: [a, b, c], converged, bounds } = fitting.solve(points);
    const [uBar, iMax] = [Math.exp(theta[0]), theta[1]];
    const freedom = Math.max(points.length - 2, 1);
    const mean = points.reduce((sum, p) => sum + p[1], 0) / points.length;
    const spread = points.reduce((sum, p) => sum + (p[1] - mean) ** 2, 0);
    const det = a * c - b * b;
    const singular = !(a > 0 && c > 0) || !(det > 1e-14 * a * c);
    const covariance = singular ? null : [[c, -b], [-b, a]].map((row) => row.map((x) => (x * cost) / freedom / det));
    const near = theta.findIndex((value, i) => Math.min(value - bounds[i][0], bounds[i][1] - value) < 1e-3 * (bounds[i][1] - bounds[i][0]));
    const t = fitting.tQuantile(0.975, freedom);
    const half = covariance && near < 0 ? [0, 1].map((i) => t * Math.sqrt(covariance[i][i])) : [NaN, NaN];
    const ends = [[uBar * Math.exp(-half[0]), uBar * Math.exp(half[0])], [Math.max(iMax - half[1], 0), iMax + half[1]]];
    const deepest = Math.max(...points.map((p) => p[0]));
    const [status, note] = !converged ? ["failed", "no minimum found within 500 steps"]
      : near >= 0 ? ["at bound", `${["ū", "I_max"][near]} ran to its bound`]
      : singular ? ["no error bar", "the curvature at the minimum gives no covariance"]
      : !(ends[0][1] <= 1e4 * ends[0][0]) ? ["not identified", "the 95 % interval of ū spans more than a factor 10,000"]
      : uBar > deepest ? ["beyond the data", `ū lies beyond the deepest counts, ${charts.number(deepest)} UMIs per cell`]
      : ["converged", ""];
    return {
      u_bar: uBar, u_bar_low: ends[0][0], u_bar_high: ends[0][1], i_max: iMax, i_max_low: ends[1][0], i_max_high: ends[1][1],
      r_squared: spread > 0 ? 1 - cost / spread : NaN, n_points: points.length, status, note, covariance,
    };
  },

  /** Value below which Student's t with `freedom` degrees lies with probability p > 1/2, by bisection. */
  tQuantile(p, freedom) {
    const tail = (t) => 0.5 * fitting.beta(freedom / (freedom + t * t), freedom / 2, 0.5);
    let [low, high] = [0, 1e6];
    for (let i = 0; i < 100; i++) {
      const middle = (low + high) / 2;
      if (tail(middle) > 1 - p) low = middle;
      else high = middle;
    }
    return low;
  },

  /** The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22, Lentz's method). */
  beta(x, a, b) {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - fitting.beta(1 - x, b, a);
    let [c, d, value] = [1, 1 / (1 - ((a + b) * x) / (a + 1)), 0];
    value = d;
    for (let m = 1; m < 500; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      let change = 1;
      for (const term of [even, odd]) {
        d = 1 / (1 + term * d);
        c = 1 + term / c;
        change *= c * d;
      }
      value *= change;
      if (Math.abs(change - 1) < 1e-15) break;
    }
    const log = fitting.logGamma(a + b) - fitting.logGamma(a) - fitting.logGamma(b) + a * Math.log(x) + b * Math.log1p(-x);
    return (Math.exp(log) / a) * value;
  },

  /** ln Γ(x) for x > 0: Stirling's series (DLMF 5.11.1) after going up to x > 10. */
  logGamma(x) {
    let below = 0;
    for (; x < 10; x++) below += Math.log(x);
    const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5) - 1 / (1680 * x ** 7);
    return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series - below;
  },
};
