/* Fit your own curve: points typed, pasted or dropped, their fit of Eq. 1, and a line to move by hand. */
"use strict";

(() => {
  const opened = charts.open("fit");
  if (!opened) return;
  const { root, data } = opened;
  const part = (name) => charts.part(root, name);
  const [curve, points, uBar, iMax] = ["curve", "points", "u_bar", "i_max"].map(part);
  const OWN = "own";

  const asText = (found) => ["u,bits", ...found.points.map((pair) => pair.join(","))].join("\n");

  function sentence(fit) {
    if (fit.status === "failed") return `${fit.n_points} points: the fit failed, ${fit.note}.`;
    return `${fit.n_points} points: ${charts.lawSaid(fit)}, R² = ` +
      `${Number.isFinite(fit.r_squared) ? fit.r_squared.toFixed(3) : "–"}, ${fit.status}${fit.note ? `: ${fit.note}` : ""}.` +
      (Number.isFinite(fit.u_bar_low + fit.i_max_low) ? " The 95 % intervals in brackets hold if Eq. 1 does; those of noise-scaling fit " +
      "are averaged over laws, and wider." : "");
  }

  function traces(found, fit) {
    const us = found.map((p) => p[0]);
    const x = charts.geomspace(Math.min(...us), Math.max(...us), 100);
    const out = [];
    if (fit.covariance && fit.status !== "failed") {
      const band = x.map((u) => laws.noiseBand(u, fit.u_bar, fit.i_max, fit.covariance));
      out.push({
        x: [...x, ...x.toReversed()], y: [...band.map((b) => b[1]), ...band.map((b) => b[0]).toReversed()], fill: "toself",
        fillcolor: charts.faded("#0173b2", 0.18), line: { width: 0 }, mode: "lines", hoverinfo: "skip", name: "2 standard errors",
      });
    }
    if (fit.status !== "failed") {
      out.push({
        x, y: x.map((u) => laws.noiseLaw(u, fit.u_bar, fit.i_max)), mode: "lines", name: "fitted", hoverinfo: "skip",
        line: { color: "#0173b2", width: 2 },
      });
    }
    out.push({
      x, y: x.map((u) => laws.noiseLaw(u, 10 ** Number(uBar.value), Number(iMax.value))), mode: "lines", name: "by the sliders",
      hoverinfo: "skip", line: { color: "#de8f05", width: 2, dash: "dash" },
    });
    out.push({
      x: us, y: found.map((p) => p[1]), mode: "markers", name: "points", marker: { color: "#222", size: 8 },
      hovertemplate: "%{x:,.4~g} UMIs per cell<br>%{y:.3f} bits<extra></extra>",
    });
    return out;
  }

  function update() {
    part("u_bar_said").textContent = charts.number(10 ** Number(uBar.value));
    part("i_max_said").textContent = charts.bits(Number(iMax.value));
    const read = fitting.read(points.value);
    part("said").classList.toggle("warned", "error" in read);
    if ("error" in read) {
      part("said").textContent = `These points cannot be fitted: ${read.error}.`;
      part("fit").removeAttribute("href");
      return Plotly.purge(part("chart"));
    }
    const fit = fitting.fit(read.points);
    const { covariance, ...row } = fit;
    charts.say(part("said"), sentence(fit));
    charts.download(part("fit"), "noise_law_fit.csv", [row]);
    charts.draw(part("chart"), traces(read.points, fit), {
      xaxis: charts.logAxis("UMIs per cell"), yaxis: charts.axis("information (bits)", { zeroline: true, zerolinecolor: "#bbb" }),
    });
    return fit;
  }

  /** The fit of other points, and the sliders where it is. */
  function follow() {
    const fit = update();
    if (!fit || fit.status === "failed") return;
    uBar.value = Math.log10(fit.u_bar);
    iMax.value = fit.i_max;
    update();
  }

  function choose() {
    const found = data.curves.find((c) => c.name === curve.value);
    if (found) points.value = asText(found);
    follow();
  }

  async function take(file) {
    if (!file) return;
    points.value = await file.text();
    curve.value = OWN;
    follow();
    keep();
  }

  charts.fill(curve, [...data.curves.map((c) => [c.name, c.name]), [OWN, "your own"]], data.curves[0]?.name ?? OWN);
  const given = location.hash.length > 1;
  const keep = charts.remember(root);
  curve.addEventListener("change", choose);
  points.addEventListener("input", () => {
    curve.value = OWN;
    follow();
  });
  part("file").addEventListener("change", (event) => take(event.target.files[0]));
  points.addEventListener("dragover", (event) => event.preventDefault());
  points.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  root.addEventListener("input", () => {
    update();
    keep();
  });
  if (given) update();
  else choose();
})();
