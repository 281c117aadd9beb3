/* The planner: which cells and depth a budget buys, drawn over the law's contours. Arithmetic in planning.js. */
"use strict";

(() => {
  const opened = charts.open("planner");
  if (!opened) return;
  const { root, data } = opened;
  const part = (name) => charts.part(root, name);
  const [group, model, budget, slider] = ["group", "planned", "budget", "budget-slider"].map(part);
  const BUDGET_COLOUR = "#d55e00"; // vermilion: apart from the viridis contours for every kind of colour vision

  const chosenGroup = () => data.groups.find((g) => g.name === group.value);
  const whole = (value) => Math.round(value).toLocaleString("en-US");
  const field = (name) => (part(name).value.trim() === "" ? NaN : Number(part(name).value));

  /** Prices and library as the controls say, or a sentence about what is wrong with them. */
  function read() {
    const purchase = {
      budget: field("budget"), perCell: field("per-cell"), perMillionReads: field("per-million"), usable: field("usable") / 100,
    };
    const saturation = field("saturation") / 100;
    const names = { budget: "The budget", perCell: "The cost per cell", perMillionReads: "The cost per million reads" };
    for (const [key, name] of Object.entries(names)) {
      if (!(purchase[key] > 0 && Number.isFinite(purchase[key]))) return { problem: `${name} must be a number above 0.` };
    }
    if (!(purchase.usable > 0 && purchase.usable <= 1)) return { problem: "Usable reads: give a percentage above 0, at most 100." };
    if (!(saturation >= 0 && saturation < 1)) return { problem: "Saturation: give a percentage from 0 to below 100." };
    const cells = purchase.budget / purchase.perCell;
    if (cells < 2 * planning.LEAST_CELLS) {
      return { problem: `The budget buys ${charts.number(cells)} cells before any read: plans start at ${2 * planning.LEAST_CELLS}.` };
    }
    const given = part("at-reads").value.trim() !== "";
    const at = given ? field("at-reads") : chosenGroup().deepest / (1 - saturation);
    if (!(at > 0)) return { problem: "Reads per cell of that saturation: give a number above 0, or leave it empty." };
    return { purchase, molecules: planning.molecules(saturation, at) };
  }

  /** Contour levels between the bits of two corners: 4 to 9 round numbers. */
  function levels(low, high) {
    const step = [0.02, 0.05, 0.1, 0.25, 0.5, 1].find((s) => (high - low) / s <= 9) ?? 2;
    const first = Math.max(Math.ceil(low / step), 1);
    return Array.from({ length: Math.max(Math.floor(high / step) - first + 1, 0) }, (_, i) => (first + i) * step);
  }

  /** One line of equal information, with its bits written where it leaves the picture. */
  function contour(chosen, bits, view, colour) {
    const points = charts.geomspace(...view.x, 90)
      .map((n) => [n, planning.depthFor(n, bits, chosen.parameters)])
      .filter(([, u]) => u >= view.y[0] && u <= view.y[1]);
    const at = points.length < 12 ? -1 : Math.floor(points.length * 0.7); // no room for words on a short piece
    return {
      x: points.map((p) => p[0]), y: points.map((p) => p[1]), mode: "lines+text", line: { color: colour, width: 1.5 },
      text: points.map((_, i) => (i === at ? `<b>${Number(bits.toFixed(2))} bits</b>` : "")), textposition: "top center",
      textfont: { color: colour, size: 12 }, hoverinfo: "skip", showlegend: false,
    };
  }

  /** What the whole budget buys, number of cells by number of cells. */
  function along(purchase, molecules, low, high, count) {
    return charts.geomspace(low, high, count)
      .map((n) => [n, planning.umis(planning.readsBought(n, purchase), molecules)])
      .filter(([, u]) => u > 0);
  }

  /** The picture's corner values: the measured range and the designs, with room around them. */
  function view(chosen, made) {
    const designs = [made.best, made.runnerUp, made.inside].filter(Boolean);
    const around = (values) => [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
    return { x: around([...chosen.n, ...designs.map((d) => d.cells)]), y: around([...chosen.u, ...designs.map((d) => d.umis)]) };
  }

  const star = (design, bits, name, symbol, filled) => ({
    x: [design.cells], y: [bits ? design.bits : design.umis], mode: "markers", name,
    marker: { symbol, size: 15, color: filled ? "#000" : "#fff", line: { color: "#000", width: 2 } },
    text: [`${name}: ${whole(design.cells)} cells at ${whole(design.umis)} UMIs per cell, ${charts.bits(design.bits)} bits`],
    hovertemplate: "%{text}<extra></extra>",
  });

  function drawMap(chosen, made, { purchase, molecules }) {
    const seen = view(chosen, made);
    const corner = (i) => laws.noiseBudget(seen.x[i], seen.y[i], chosen.parameters);
    const all = levels(corner(0), corner(1));
    const colour = (i) => data.ramp[Math.round((i / Math.max(all.length - 1, 1)) * (data.ramp.length - 1))];
    const line = along(purchase, molecules, seen.x[0], Math.min(seen.x[1], purchase.budget / purchase.perCell), 200)
      .filter(([, u]) => u >= seen.y[0] && u <= seen.y[1]);
    const traces = [
      ...all.map((bits, i) => contour(chosen, bits, seen, colour(i))),
      { x: line.map((p) => p[0]), y: line.map((p) => p[1]), mode: "lines", name: "what the budget buys",
        line: { color: BUDGET_COLOUR, width: 4, dash: "dash" }, hoverinfo: "skip" },
      star(made.runnerUp, false, "runner-up", "diamond", false), star(made.best, false, "best", "star", true),
    ];
    const box = { type: "rect", x0: chosen.n[0], x1: chosen.n[1], y0: chosen.u[0], y1: chosen.u[1], layer: "below" };
    charts.draw(part("map"), traces, {
      shapes: [{ ...box, fillcolor: "#eef2f7", line: { color: "#8a97a6", width: 1 } }],
      xaxis: charts.logAxis("training cells", { range: seen.x.map(Math.log10) }),
      yaxis: charts.logAxis("UMIs per cell", { range: seen.y.map(Math.log10) }),
    });
  }

  /** Bits along the budget for one model: solid within the measured range, dotted beyond; a band for the chosen one. */
  function budgetTraces(one, chosen, input, [low, high]) {
    const points = along(input.purchase, input.molecules, low, high, 120)
      .map(([n, u]) => ({ n, u, bits: laws.noiseBudget(n, u, one.parameters), out: planning.outside(one, { cells: n, umis: u }).length > 0 }));
    const style = { color: one.colour, width: one === chosen ? 3 : 1.5 };
    const line = (keep, dash, first) => ({
      x: points.map((p) => p.n), y: points.map((p) => (keep(p) ? p.bits : null)), mode: "lines", line: { ...style, dash },
      name: one.label, showlegend: first, hoverinfo: "skip", connectgaps: false,
    });
    const lines = [line((p) => p.out, "dot", !points.some((p) => !p.out)), line((p) => !p.out, "solid", points.some((p) => !p.out))];
    if (one !== chosen) return lines;
    const some = points.filter((_, i) => i % 3 === 0).map((p) => [p.n, ...laws.budgetInterval(p.n, p.u, one.draws)]);
    return [{
      x: [...some.map((p) => p[0]), ...some.map((p) => p[0]).reverse()],
      y: [...some.map((p) => p[2]), ...some.map((p) => p[1]).reverse()],
      fill: "toself", fillcolor: charts.faded(one.colour, 0.2), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
      name: "95 % interval", showlegend: true,
    }, ...lines];
  }

  function drawAlong(chosen, made, input) {
    const most = input.purchase.budget / input.purchase.perCell;
    const ends = [Math.max(planning.LEAST_CELLS, Math.min(chosen.n[0], made.best.cells / 4)), most * 0.999];
    const traces = chosenGroup().models.flatMap((one) => budgetTraces(one, chosen, input, ends));
    traces.push(star(made.runnerUp, true, "runner-up", "diamond", false), star(made.best, true, "best", "star", true));
    charts.draw(part("along"), traces, {
      xaxis: charts.logAxis("training cells, the budget spent"), yaxis: charts.axis("information (bits)", { rangemode: "tozero" }),
    });
  }

  const withInterval = (d) => `${charts.bits(d.bits)} (${charts.bits(d.low)} to ${charts.bits(d.high)})`;

  const row = (name, who, d) => [
    name, who, whole(d.cells), whole(d.umis), whole(d.reads), `${Math.round(100 * d.saturation)} %`, withInterval(d), whole(d.cost),
  ];

  /** The designs as rows of the table: this model's first, then what the other models would make of the budget. */
  function rows(chosen, made, others) {
    const out = [row("best", chosen.label, made.best), row("runner-up", chosen.label, made.runnerUp)];
    if (made.inside) out.push(row("best within the measured range", chosen.label, made.inside));
    return [...out, ...others.map(([one, plan]) => row("another model's best", one.label, plan.best))];
  }

  function sentence(chosen, made, others) {
    const { best, runnerUp } = made;
    const words = [
      `Best: ${chosen.label} on ${whole(best.cells)} cells at ${whole(best.umis)} UMIs per cell (${whole(best.reads)} reads ` +
        `each): ${charts.bits(best.bits)} bits (95 % ${charts.bits(best.low)} to ${charts.bits(best.high)}).`,
      `Runner-up: ${whole(runnerUp.cells)} cells at ${whole(runnerUp.umis)} UMIs per cell, ${charts.bits(runnerUp.bits)} bits; ` +
        `the best is ahead in ${Math.round(100 * made.ahead)} % of bootstrap draws.`,
      `Within ${planning.FLAT} bits of the best: ${whole(made.flat[0])} to ${whole(made.flat[1])} cells.`,
    ];
    const [other] = others;
    if (other) {
      const gap = other[1].best.bits - best.bits;
      words.push(`${other[0].label} would give ${charts.bits(Math.abs(gap))} bits ${gap > 0 ? "more" : "less"}.`);
    }
    return words.join(" ");
  }

  function warning(chosen, made) {
    const words = [];
    if (made.outside.length) {
      words.push(`Outside what was measured: ${made.outside.join(" and ")}.`);
      words.push(made.inside
        ? `Within it, ${whole(made.inside.cells)} cells at ${whole(made.inside.umis)} UMIs per cell give ` +
          `${charts.bits(made.inside.bits)} bits and cost ${whole(made.inside.cost)}.`
        : "The budget buys no design within it.");
    }
    if (chosen.status !== "converged") words.push(`The fit of ${chosen.label} is ${chosen.status}: ${chosen.note}.`);
    return words.join(" ");
  }

  function say(said, warned) {
    part("said").textContent = said;
    part("warning").textContent = warned;
    part("warning").hidden = warned === "";
  }

  function refuse(problem) {
    say(problem, "");
    part("said").classList.add("warned");
    charts.rows(part("table"), []);
    part("designs").removeAttribute("href");
    for (const chart of ["map", "along"]) Plotly.purge(part(chart));
  }

  function update() {
    charts.fill(group, data.groups.map((g) => [g.name, g.name]));
    const { models } = chosenGroup();
    charts.fill(model, models.map((m) => [m.name, m.label]), models[0].name);
    const input = read();
    if (input.problem) return refuse(input.problem);
    part("said").classList.remove("warned");
    const chosen = models.find((m) => m.name === model.value);
    const made = planning.plan(chosen, input.purchase, input.molecules);
    const others = models.filter((m) => m !== chosen)
      .map((m) => [m, planning.plan(m, input.purchase, input.molecules)])
      .sort((a, b) => b[1].best.bits - a[1].best.bits);
    say(sentence(chosen, made, others), warning(chosen, made));
    const table = rows(chosen, made, others);
    charts.rows(part("table"), table);
    const names = ["design", "model", "cells", "umis_per_cell", "reads_per_cell", "saturation", "bits", "cost"];
    charts.download(part("designs"), "plan.csv", table.map((r) => Object.fromEntries(names.map((n, i) => [n, r[i]]))));
    drawMap(chosen, made, input);
    drawAlong(chosen, made, input);
  }

  slider.addEventListener("input", () => {
    budget.value = Number((10 ** Number(slider.value)).toPrecision(2));
  });
  budget.addEventListener("input", () => {
    if (field("budget") > 0) slider.value = Math.log10(field("budget"));
  });
  root.addEventListener("input", update);
  update();
})();
