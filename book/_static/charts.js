/* What the interactive pages share: reading the data that the notebook put into the page, native controls, tables,
   downloads, and Plotly's settings. Plain functions, no framework; every state is in the controls. */
"use strict";

const charts = {
  /** The widget with this id and its data, its controls shown; null where Plotly did not load: its figure stays. */
  open(id) {
    const root = document.getElementById(id);
    if (!root || !window.Plotly) return null;
    for (const part of root.querySelectorAll(".controls, .results")) part.hidden = false;
    root.querySelector(".fallback").hidden = true;
    return { root, data: JSON.parse(root.querySelector("script.data").textContent) };
  },

  /** Element of the widget by its name in data-part. */
  part(root, name) {
    return root.querySelector(`[data-part="${name}"]`);
  },

  /** Put a sentence into an element, the symbol of the saturation set as such. */
  say(element, sentence) {
    element.textContent = sentence;
    element.innerHTML = element.innerHTML.replaceAll("I_max", "<i>I</i><sub>max</sub>");
  },

  /** Fill a select with [value, label] pairs, keeping its value where that is still among them. */
  fill(select, pairs, preferred) {
    const kept = pairs.some(([value]) => value === select.value) ? select.value : preferred;
    select.replaceChildren(...pairs.map(([value, label]) => new Option(label, value)));
    select.value = kept !== undefined && pairs.some(([value]) => value === kept) ? kept : pairs[0]?.[0];
    return select.value;
  },

  /** Different values of f over items, in the order met. */
  distinct(items, f) {
    return [...new Set(items.map(f))];
  },

  /** A number for reading: 12,345 or 12.3 or 0.0123, to `digits` significant digits below 1,000. */
  number(value, digits = 3) {
    if (value === null || value === undefined || !Number.isFinite(value)) return "–";
    const size = Math.abs(value);
    if (size !== 0 && (size >= 1e7 || size < 1e-3)) return value.toExponential(1);
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    return Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  },

  /** Bits always with two decimals, so that columns line up. */
  bits(value) {
    return Number.isFinite(value) ? value.toFixed(2).replace("-", "−") : "–";
  },

  /** A fitted parameter and its interval; of one that the fit does not determine what is known of it alone. */
  parameter(fit, name, form) {
    const [value, low, high] = ["", "_low", "_high"].map((end) => fit[name + end]);
    if (fit.status === "failed" || !Number.isFinite(value)) return "–";
    const undetermined = ["at bound", "no error bar", "not identified"].includes(fit.status);
    const ends = Number.isFinite(high) ? ` (${form(low)} to ${form(high)})` : low >= 1e-3 ? ` (over ${form(low)})` : "";
    return (undetermined ? "not determined" : form(value)) + ends;
  },

  /** The same in a sentence, with its symbol and unit: "ū = 80 (70 to 90) UMIs per cell". */
  parameterSaid(fit, name, form, symbol, unit) {
    const said = charts.parameter(fit, name, form);
    return said.startsWith("not") ? `${symbol} ${said}` : `${symbol} = ${said} ${unit}`;
  },

  /** Both parameters of Eq. 1 in a sentence. */
  lawSaid(fit) {
    return `${charts.parameterSaid(fit, "u_bar", charts.number, "ū", "UMIs per cell")}, ` +
      charts.parameterSaid(fit, "i_max", charts.bits, "I_max", "bits");
  },

  /** Keep every named control of a widget in the page's address, and restore it from there: an address can be shared. */
  remember(root) {
    const controls = () => [...root.querySelectorAll(".controls :is(select, input, textarea)")].filter((c) => c.type !== "file");
    const name = (control) => control.dataset.part ?? control.name;
    const given = new URLSearchParams(location.hash.slice(1));
    for (const control of controls().filter((c) => given.has(name(c)))) {
      const value = given.get(name(control));
      if (control.type === "radio") control.checked = control.value === value;
      else if (control.type === "checkbox") control.checked = value === "1";
      else {
        if (control.tagName === "SELECT") control.append(new Option(value, value));
        control.value = value;
      }
    }
    return () => {
      const state = new URLSearchParams();
      for (const control of controls().filter((c) => !c.disabled && (c.type !== "radio" || c.checked))) {
        state.set(name(control), control.type === "checkbox" ? (control.checked ? "1" : "0") : control.value);
      }
      history.replaceState(null, "", `#${state}`);
    };
  },

  /** Rows (arrays of text) into the body of a table. */
  rows(table, rows) {
    const cells = (row) => row.map((text, i) => {
      const cell = document.createElement(i === 0 ? "th" : "td");
      if (i === 0) cell.scope = "row";
      cell.textContent = text;
      return cell;
    });
    table.tBodies[0].replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      line.append(...cells(row));
      return line;
    }));
  },

  /** Put a CSV of these rows (objects with the same keys) behind a link: it works from the file system too. */
  download(link, name, rows) {
    const quote = (v) => (/[",\n]/.test(String(v ?? "")) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? ""));
    const columns = rows.length ? Object.keys(rows[0]) : [];
    const lines = [columns, ...rows.map((row) => columns.map((c) => row[c]))];
    const text = lines.map((line) => line.map(quote).join(",")).join("\n") + "\n";
    link.download = name;
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(text)}`;
  },

  /** n values from low to high, evenly spaced in the logarithm. */
  geomspace(low, high, n) {
    return Array.from({ length: n }, (_, i) => low * (high / low) ** (i / (n - 1)));
  },

  /** `#rrggbb` with an opacity. */
  faded(colour, opacity) {
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  },

  /** Triangles look smaller than the other symbols of one size. */
  markerSize(symbol) {
    return symbol.startsWith("triangle") || symbol.startsWith("star") ? 11 : 8;
  },

  axis(title, more = {}) {
    return {
      title: { text: title }, showgrid: true, gridcolor: "#ececec", linecolor: "#444", ticks: "outside",
      zeroline: false, automargin: true, ...more,
    };
  },

  /** A logarithmic axis with plain numbers at the powers of ten. */
  logAxis(title, more = {}) {
    return charts.axis(title, { type: "log", dtick: 1, tickformat: ",~r", exponentformat: "none", ...more });
  },

  /** Draw, always on white: the colours were chosen for it. Dragging is off so that a phone can scroll past. */
  draw(node, traces, layout) {
    const narrow = node.clientWidth < 520;
    const common = {
      paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest", dragmode: false, autosize: true,
      font: { family: "system-ui, sans-serif", size: narrow ? 12 : 14, color: "#222" },
      margin: { l: 56, r: 16, t: 12, b: 48 }, height: narrow ? 420 : 480,
      legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", itemclick: false, itemdoubleclick: false },
    };
    const buttons = [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
    const config = { responsive: true, displaylogo: false, modeBarButtons: buttons, displayModeBar: !narrow };
    return Plotly.react(node, traces, { ...common, ...layout }, config);
  },
};
