/* The laws as the interactive pages evaluate them. Each function has its twin in src/noise_scaling (laws, plan), and
   tests/book holds the two to one another. */
"use strict";

const laws = {
  /** Eq. 1: bits at u UMIs per cell. */
  noiseLaw(u, uBar, iMax) {
    const ratio = u / uBar;
    return iMax - 0.5 * (Math.log2(1 + ratio) - Math.log2(ratio + 2 ** (-2 * iMax)));
  },

  /** Derivatives of Eq. 1 by ln uBar and by iMax. */
  noiseSlope(u, uBar, iMax) {
    const ratio = u / uBar;
    const rest = 2 ** (-2 * iMax);
    return [(0.5 / Math.LN2) * ratio * (1 / (1 + ratio) - 1 / (ratio + rest)), 1 - rest / (ratio + rest)];
  },

  /** Bits of Eq. 1, 2 standard errors below and above: delta method, covariance of (ln uBar, iMax). */
  noiseBand(u, uBar, iMax, covariance) {
    const middle = laws.noiseLaw(u, uBar, iMax);
    const [byLogUBar, byIMax] = laws.noiseSlope(u, uBar, iMax);
    const [[a, b], [, c]] = covariance;
    const variance = a * byLogUBar ** 2 + 2 * b * byLogUBar * byIMax + c * byIMax ** 2;
    const half = 2 * Math.sqrt(Math.max(variance, 0));
    return [middle - half, middle + half];
  },

  /** The noise budget: bits at n training cells and u UMIs per cell; parameters [v0, v1, v2, v3, s, a, channels]. */
  noiseBudget(n, u, [v0, v1, v2, v3, s, a, channels = 1]) {
    const few = n ** -s;
    const shallow = u ** -a;
    const ratio = v0 + v1 * shallow + v2 * few + v3 * few * shallow;
    return channels * (0.5 / Math.LN2) * Math.log1p(1 / ratio);
  },

  /** Value below which a share `q` of sorted numbers lies, as numpy's default quantile. */
  quantile(sorted, q) {
    const at = (sorted.length - 1) * q;
    const low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  },

  /** 95 % interval of the noise budget at (n, u) from bootstrap draws of its parameters. */
  budgetInterval(n, u, draws) {
    const bits = draws.map((draw) => laws.noiseBudget(n, u, draw)).sort((a, b) => a - b);
    return [laws.quantile(bits, 0.025), laws.quantile(bits, 0.975)];
  },
};
