/* The scaling zoo: every measured curve of information against depth, with its fit of Eq. 1. */
"use strict";

(() => {
  const opened = charts.open("zoo");
  if (!opened) return;
  const { root, data } = opened;
  const part = (name) => charts.part(root, name);
  const [source, signal, estimator, model, cells] = ["source", "signal", "estimator", "model", "cells"].map(part);
  const chosenView = () => root.querySelector('input[name="zoo-view"]:checked').value;
  const leaveOut = part("flagged");
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon", "hexagon"];

  /** The curves that source, signal and estimator leave; the three selects are filled on the way. */
  function candidates() {
    charts.fill(source, charts.distinct(data.curves, (c) => c.source).map((s) => [s, s]));
    let left = data.curves.filter((c) => c.source === source.value);
    const titles = charts.distinct(left, (c) => `${c.dataset}/${c.signal}`);
    charts.fill(signal, titles.map((key) => [key, data.titles[key]]));
    left = left.filter((c) => `${c.dataset}/${c.signal}` === signal.value);
    charts.fill(estimator, charts.distinct(left, (c) => c.estimator).map((e) => [e, data.estimators[e] ?? e]));
    return left.filter((c) => c.estimator === estimator.value);
  }

  /** The curves to show: one, or one of every model, or one model at every number of cells. */
  function shown() {
    const left = candidates();
    const view = chosenView();
    const models = charts.distinct(left, (c) => c.kind);
    charts.fill(model, models.map((k) => [k, data.kinds[k].label]), models[0]);
    model.disabled = view === "models";
    const ofModel = view === "models" ? left : left.filter((c) => c.kind === model.value);
    const numbers = charts.distinct(ofModel, (c) => c.n_cells).sort((a, b) => a - b);
    charts.fill(cells, numbers.map((n) => [String(n), n.toLocaleString("en-US")]), String(numbers.at(-1)));
    cells.disabled = view === "cells";
    return view === "cells" ? ofModel : ofModel.filter((c) => String(c.n_cells) === cells.value);
  }

  /** The rows of a curve as objects, without the flagged ones if so chosen. */
  function points(curve) {
    const flagged = new Set(curve.flagged);
    const all = curve.u.map((u, i) => ({
      umis_per_cell: u, mi_bits: curve.bits[i], mi_stderr: curve.stderr?.[i] ?? null, seed: curve.seed[i],
      fraction: curve.fraction[i], flagged: flagged.has(i),
    }));
    return leaveOut.checked ? all.filter((p) => !p.flagged) : all;
  }

  const fitOf = (curve) => (leaveOut.checked && curve.kept_fit ? curve.kept_fit : curve.fit);
  const hasFit = (fit) => Number.isFinite(fit.u_bar);

  /** Colour, symbol and name of a curve among those shown. */
  function look(curve, i, count) {
    const kind = data.kinds[curve.kind];
    if (chosenView() !== "cells") return { colour: kind.colour, symbol: kind.symbol, name: kind.label };
    const at = count > 1 ? Math.round((i / (count - 1)) * (data.ramp.length - 1)) : 0;
    const name = `${curve.n_cells.toLocaleString("en-US")} cells`;
    return { colour: data.ramp[at], symbol: SYMBOLS[i % SYMBOLS.length], name };
  }

  /** Means over the seeds of one fraction, with the lowest and the highest. */
  function overSeeds(rows) {
    const groups = groupBy(rows, (r) => r.fraction);
    return [...groups.values()].map((group) => {
      const bits = group.map((r) => r.mi_bits);
      const mean = bits.reduce((a, b) => a + b) / bits.length;
      const u = group.reduce((a, r) => a + r.umis_per_cell, 0) / group.length;
      return { u, mean, up: Math.max(...bits) - mean, down: mean - Math.min(...bits), seeds: bits.length };
    });
  }

  function groupBy(rows, key) {
    const out = new Map();
    for (const row of rows) out.set(key(row), [...(out.get(key(row)) ?? []), row]);
    return out;
  }

  /** Points of one curve alone: each seed with its standard error, where the table has one. */
  function seedTrace(rows, { colour, symbol, name }) {
    const bars = rows.some((r) => r.mi_stderr !== null);
    return {
      x: rows.map((r) => r.umis_per_cell), y: rows.map((r) => r.mi_bits), mode: "markers", name: `${name}, one seed each`,
      text: rows.map((r) => `seed ${r.seed}${r.flagged ? ", flagged" : ""}`),
      hovertemplate: "%{x:,.4~g} UMIs per cell<br>%{y:.3f} bits<br>%{text}<extra></extra>",
      marker: { color: rows.map((r) => (r.flagged ? "#fff" : colour)), symbol, size: charts.markerSize(symbol), line: { color: colour, width: 1.5 } },
      error_y: bars ? { array: rows.map((r) => r.mi_stderr ?? 0), color: colour, thickness: 1, width: 3 } : undefined,
    };
  }

  /** Points of one curve among others: means over seeds, bars from the lowest seed to the highest. */
  function meanTrace(rows, { colour, symbol, name }) {
    const means = overSeeds(rows);
    return {
      x: means.map((m) => m.u), y: means.map((m) => m.mean), mode: "markers", name,
      text: means.map((m) => `${name}, mean of ${m.seeds} ${m.seeds === 1 ? "seed" : "seeds"}`),
      hovertemplate: "%{text}<br>%{x:,.4~g} UMIs per cell<br>%{y:.3f} bits<extra></extra>",
      marker: { color: colour, symbol, size: charts.markerSize(symbol) },
      error_y: { array: means.map((m) => m.up), arrayminus: means.map((m) => m.down), color: colour, thickness: 1, width: 3 },
    };
  }

  /** The fitted law as a line, and its band where the fit has a covariance. */
  function fitTraces(curve, rows, { colour, name }, alone) {
    const fit = fitOf(curve);
    if (!hasFit(fit) || rows.length === 0) return [];
    const us = rows.map((r) => r.umis_per_cell);
    const x = charts.geomspace(Math.min(...us), Math.max(...us), 80);
    const line = {
      x, y: x.map((u) => laws.noiseLaw(u, fit.u_bar, fit.i_max)), mode: "lines", name: "Eq. 1", hoverinfo: "skip",
      line: { color: colour, width: 2, dash: fit.status === "converged" ? "solid" : "dash" }, showlegend: alone,
    };
    if (!fit.covariance) return [line];
    const band = x.map((u) => laws.noiseBand(u, fit.u_bar, fit.i_max, fit.covariance));
    const area = {
      x: [...x, ...x.toReversed()], y: [...band.map((b) => b[1]), ...band.map((b) => b[0]).toReversed()],
      fill: "toself", fillcolor: charts.faded(colour, 0.18), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
      name: "2 standard errors", showlegend: alone,
    };
    return [area, line];
  }

  function tableRow(curve) {
    const fit = fitOf(curve);
    return [
      data.kinds[curve.kind].label, curve.n_cells.toLocaleString("en-US"),
      charts.parameter(fit, "u_bar", charts.number), charts.parameter(fit, "i_max", charts.bits),
      Number.isFinite(fit.r_squared) ? fit.r_squared.toFixed(3) : "–", String(fit.n_points), fit.status, fit.note ?? "",
    ];
  }

  /** One sentence for the ear: what is shown and what the fit says. */
  function sentence(curves) {
    const where = `${data.titles[signal.value]}, ${source.value}`;
    if (curves.length === 1) {
      const [name, n, , , , count, status] = tableRow(curves[0]);
      const fit = hasFit(fitOf(curves[0])) ? `${charts.lawSaid(fitOf(curves[0]))}, fit ${status}` : "no fit";
      return `${where}: ${name} trained on ${n} cells, ${count} measurements; ${fit}.`;
    }
    const tops = curves.map((curve) => {
      const deepest = overSeeds(points(curve)).sort((a, b) => b.u - a.u)[0];
      return { curve, deepest };
    }).filter((t) => t.deepest && !data.controls.includes(t.curve.model)).sort((a, b) => b.deepest.mean - a.deepest.mean);
    if (!tops.length) return `${where}: controls alone.`;
    const [{ curve, deepest }] = tops;
    const who = `${data.kinds[curve.kind].label} trained on ${curve.n_cells.toLocaleString("en-US")} cells`;
    const good = curves.filter((c) => fitOf(c).status === "converged").length;
    return `${where}: ${curves.length} curves, ${good} with a fit that converged. Most information at full depth: ` +
      `${who}, ${charts.bits(deepest.mean)} bits at ${charts.number(deepest.u)} UMIs per cell.`;
  }

  function downloads(curves) {
    const head = (c) => ({
      source: c.source, dataset: c.dataset, signal: c.signal, model: c.model, preset: c.preset, estimator: c.estimator,
      n_cells: c.n_cells,
    });
    const rows = curves.flatMap((c) => points(c).map((p) => ({
      ...head(c), ...p, fitted_bits: hasFit(fitOf(c)) ? laws.noiseLaw(p.umis_per_cell, fitOf(c).u_bar, fitOf(c).i_max) : null,
    })));
    charts.download(part("points"), "zoo_points.csv", rows);
    charts.download(part("fits"), "zoo_fits.csv", curves.map((c) => {
      const { covariance, ...fit } = fitOf(c);
      return { ...head(c), ...fit };
    }));
    part("counts").textContent = `${rows.length} points, ${curves.length} ${curves.length === 1 ? "fit" : "fits"}`;
  }

  function update() {
    const curves = shown().sort((a, b) => a.n_cells - b.n_cells);
    part("flagged-line").hidden = !curves.some((c) => c.flagged.length);
    const alone = curves.length === 1;
    const traces = curves.flatMap((curve, i) => {
      const style = look(curve, i, curves.length);
      const rows = points(curve);
      return [...fitTraces(curve, rows, style, alone), alone ? seedTrace(rows, style) : meanTrace(rows, style)];
    });
    charts.rows(part("table"), curves.map(tableRow));
    charts.say(part("said"), sentence(curves));
    downloads(curves);
    charts.draw(part("chart"), traces, {
      xaxis: charts.logAxis("UMIs per cell"), yaxis: charts.axis("information (bits)", { zeroline: true, zerolinecolor: "#bbb" }),
    });
  }

  const keep = charts.remember(root);
  root.addEventListener("change", () => {
    update();
    keep();
  });
  part("chart").replaceChildren();
  update();
})();
