/* The planner: which cells and depth answer a lab's question, drawn over the law's contours. Arithmetic in planning.js.
   Its state is in the address, so that a link opens the same plan. */
"use strict";

(() => {
  const opened = charts.open("planner");
  if (!opened) return;
  const { root, data } = opened;
  const part = (name) => charts.part(root, name);
  const BUDGET_COLOUR = "#d55e00"; // vermilion: apart from the viridis contours for every kind of colour vision
  const FIELDS = [
    "group", "planned", "question", "amount", "one", "two", "have", "donors", "kit", "flow", "per-cell", "per-million", "saturation", "at-reads",
    "usable", "library-umis",
  ];
  const ALL = "all";
  const LINEAR = "linear";
  let keeping = 0;
  const AMOUNTS = { budget: "20000", bits: "2", share: "90" };
  const [KITS, FLOWS] = [Object.values(data.prices.preparations), Object.values(data.prices.sequencing)];
  const EDITED = { // what a reader may put in place of a card's number: what it is, from and to
    price: ["price", 1e-9, 1e9], libraries: ["libraries in a kit", 1, 1e4], cells: ["cells in a library, at most", 1, 1e8],
    per_library: ["more for each library", 0, 1e9], least_reads: ["reads per cell, at least", 0, 1e9], reads: ["read pairs", 1, 1e15],
  };
  const filled = new Map(); // designs that the page put into the two fields, not the reader
  const own = new Map(); // these numbers as text, by "card.number"
  let shownCards = "";

  const chosenGroup = () => data.groups.find((g) => g.name === part("group").value);
  const whole = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en-US") : "–");
  const text = (name) => part(name).value.trim();
  const field = (name) => (text(name) === "" ? NaN : Number(text(name)));
  const inRange = (value, most) => value > 0 && value <= most;

  /** [cells, reads per cell, text] of a field that holds CELLS:READS; null where it does not. */
  function designOf(name) {
    const [n, reads, ...more] = text(name).replaceAll(",", "").split(":").map((x) => (x.trim() === "" ? NaN : Number(x)));
    return more.length || !inRange(Math.floor(n), 1e15) || !inRange(reads, 1e15) ? null : [Math.floor(n), reads, text(name)];
  }

  const untouched = (name) => text(name) === (filled.get(name) ?? part(name).defaultValue);

  /** Two designs within what was measured of a model, fewer cells deeper and more cells shallower, where no reader put any. */
  function suggest(model, shop) {
    if (!untouched("one") || !untouched("two")) return;
    const round = ([low, high], share) => Number((low * (high / low) ** share).toPrecision(2));
    for (const [name, cells, depth] of [["one", 0.6, 0.85], ["two", 0.85, 0.6]]) {
      const reads = planning.reads(shop, shop.kits[0], round(model.u, depth));
      if (!Number.isFinite(reads)) continue;
      part(name).value = `${Math.round(round(model.n, cells))}:${Math.round(reads.toPrecision(2))}`;
      filled.set(name, part(name).value);
    }
  }

  /** A price card with the reader's numbers in place of its own. */
  function mine(card) {
    const changed = Object.keys(EDITED).filter((field) => field in card && own.has(`${card.name}.${field}`));
    const numbers = changed.map((field) => [field, Number(own.get(`${card.name}.${field}`))]);
    return { ...card, ...Object.fromEntries(numbers), assumed: card.assumed.filter((field) => !changed.includes(field)) };
  }

  /** A sentence about a number of these cards that none can be bought with; nothing where all are right. */
  function wrongCard(cards) {
    for (const card of cards) {
      for (const [field, [, low, high]] of Object.entries(EDITED)) {
        const value = card[field];
        const whole = field !== "libraries" || Number.isInteger(value);
        if (value === undefined || (value >= low && value <= high && whole)) continue;
        return `Prices of “${card.title}”, ${data.words[field]}: give a ${field === "libraries" ? "whole " : ""}number from ${low} to ${high}, or leave it empty.`;
      }
      if (card.multiplets * card.cells > 0.5) return `Prices of “${card.title}”: so many cells in a library would be mostly multiplets; give fewer.`;
    }
    return "";
  }

  /** What can be bought, and the laws, as the controls say; or a sentence about what is wrong with them. */
  function read() {
    const group = chosenGroup();
    const isLinear = part("kit").value === LINEAR;
    const saturation = field("saturation") / 100;
    const names = { amount: "The amount asked for", "per-cell": "The cost per cell", "per-million": "The cost per million reads" };
    for (const [name, said] of Object.entries(names)) {
      if ((name === "amount" ? !comparing() : isLinear) && !inRange(field(name), 1e12)) return { problem: `${said} must be a number above 0.` };
    }
    if (part("question").value === "share" && field("amount") > 100) return { problem: "Give a share of at most 100 %." };
    if (!(saturation >= 0 && saturation < 1)) return { problem: "Saturation: give a percentage from 0 to below 100." };
    for (const [name, most, said] of [
      ["usable", 100, "Usable reads: give a percentage above 0, at most 100, or leave it empty."],
      ["at-reads", 1e12, "Reads per cell of that saturation: give a number above 0, or leave it empty."],
      ["library-umis", 1e12, "UMIs of the library: give a number above 0, or leave it empty."],
    ]) {
      if (text(name) !== "" && !inRange(field(name), most)) return { problem: said };
    }
    const given = text("library-umis") !== "";
    const factor = given ? field("library-umis") / group.deepest : group.factor;
    if (factor < 0.99) {
      return { problem: `A library of ${whole(field("library-umis"))} UMIs per cell cannot have ${whole(group.deepest)} counted of it.` };
    }
    const have = !comparing() && text("have") !== "" ? designOf("have") : [NaN, 0];
    if (!have || (comparing() && !(designOf("one") && designOf("two")))) {
      return { problem: "A design is CELLS:READS_PER_CELL, such as 20000:5000: write it so." };
    }
    const shop = { ...bought(isLinear), factor: Math.max(factor, 1), molecules: {}, have: have[1] };
    const wrong = isLinear ? "" : wrongCard([...shop.kits, ...shop.flows]);
    if (wrong) return { problem: wrong };
    const most = Math.max(...group.models.map((m) => m.n[1]));
    if (!(Number.isInteger(field("donors")) && field("donors") >= 1 && field("donors") <= most)) {
      return { problem: `Donors: give a whole number from 1 to ${whole(most)}, the most cells that were measured.` };
    }
    shop.kits = shop.kits.map((kit) => ({ ...kit, donors: field("donors") }));
    if (text("usable") !== "") shop.kits = shop.kits.map((kit) => ({ ...kit, mapped: field("usable") / 100 }));
    for (const kit of shop.kits) {
      const at = text("at-reads") !== "" ? field("at-reads") * kit.mapped : (group.deepest * shop.factor) / (1 - saturation);
      shop.molecules[kit.name] = planning.molecules(saturation, at);
    }
    let models = part("planned").value === ALL ? group.models : group.models.filter((m) => m.name === part("planned").value);
    if (shop.have) {
      const [n] = have;
      models = models.filter((m) => m.n[0] <= n && n <= m.n[1]).map((m) => ({ ...m, n: [n, n], seen: m.n }));
      if (!models.length) return { problem: `No model was measured on ${whole(n)} cells: plan a library anew.` };
    }
    return { group, shop, models, known: given || group.known };
  }

  const comparing = () => part("question").value === "compare";

  function bought(isLinear) {
    if (isLinear) return planning.linear(field("per-cell"), field("per-million"));
    const kit = part("kit").value;
    const flow = part("flow").value;
    return {
      kits: KITS.filter((one) => (kit === ALL ? data.prices.default.includes(one.name) : one.name === kit)).map(mine),
      flows: FLOWS.filter((one) => flow === ALL || one.name === flow).map(mine),
    };
  }

  /** The answer to the question, or a sentence that says why there is none. */
  function ask({ shop, models }) {
    const amount = field("amount");
    if (comparing()) {
      const [{ n, u, label }] = models;
      suggest(models[0], shop);
      return planning.answerCompare(models, shop, [designOf("one"), designOf("two")]) ?? {
        problem: `Neither design lies within what was measured: ${whole(n[0])} to ${whole(n[1])} cells, at most ${whole(u[1])} UMIs of the panel (${label}).`,
      };
    }
    if (part("question").value === "budget") {
      const made = planning.answerBudget(models, shop, amount);
      if (made) return made;
      const costs = models.map((model) => planning.find(model, shop, model, "", { bits: 0 })).filter(Boolean);
      const least = costs.sort((a, b) => a.cost - b.cost)[0];
      return { problem: least
        ? `The budget buys no design within what was measured: the cheapest, ${whole(least.n_cells)} cells, costs ${whole(least.cost)}.`
        : "No kit gives a library within the measured range: check saturation, its reads and the library's UMIs." };
    }
    const most = models.reduce((a, b) => (planning.reach(b) > planning.reach(a) ? b : a));
    const target = part("question").value === "bits" ? amount : (amount / 100) * planning.reach(most);
    return planning.answerBits(models, shop, target) ?? {
      problem: `${charts.bits(target)} bits cannot be had within what was measured: the most is ${charts.bits(planning.reach(most))}, by ${most.label}.`,
    };
  }

  /** Contour levels between the bits of two corners: 4 to 9 round numbers. */
  function levels(low, high) {
    const step = [0.02, 0.05, 0.1, 0.25, 0.5, 1].find((s) => (high - low) / s <= 9) ?? 2;
    const first = Math.max(Math.ceil(low / step), 1);
    return Array.from({ length: Math.max(Math.floor(high / step) - first + 1, 0) }, (_, i) => (first + i) * step);
  }

  /** One line of equal information, with its bits written where there is room. */
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

  /** The best offer of all kits and flow cells at n cells, by the question; null where there is none. */
  function offerAt(model, shop, n, made) {
    const buy = made.target === undefined
      ? planning.forBudget(model, shop, model, field("amount")) : planning.forBits(model, shop, model, made.target);
    const all = shop.kits.flatMap((kit) => shop.flows.map((flow) => buy(kit, flow, n))).filter(Boolean);
    const value = (one) => (made.target === undefined ? -one.bits : one.cost);
    return all.reduce((a, b) => (a && value(a) <= value(b) ? a : b), null);
  }

  /** The best offers along the number of cells, closely where there are any: a budget may buy a small part of the range. */
  function offers(model, shop, made) {
    const along = (low, high, count) => planning.cellsBetween(low, high, null, count).map((n) => [n, offerAt(model, shop, n, made)]);
    const coarse = along(...model.n, 60);
    const there = coarse.map(([, offer], i) => (offer ? i : -1)).filter((i) => i >= 0);
    if (!there.length) return [];
    const ends = [Math.max(there[0] - 1, 0), Math.min(there.at(-1) + 1, coarse.length - 1)].map((i) => coarse[i][0]);
    return along(...ends, 90).map(([, offer]) => offer).filter(Boolean);
  }

  const star = (design, y, name, symbol, filled) => ({
    x: [design.n_cells], y: [design[y]], mode: "markers", name,
    marker: { symbol, size: 15, color: filled ? "#000" : "#fff", line: { color: "#000", width: 2 } },
    text: [`${name}: ${whole(design.n_cells)} cells at ${whole(design.umis_per_cell)} UMIs per cell, ${charts.bits(design.bits)} bits`],
    hovertemplate: "%{text}<extra></extra>",
  });

  const stars = (made, y) => {
    const now = made.designs.find((d) => d.role === "as it is");
    return [
      ...(made.against ? [star(made.against, y, made.against.role, "diamond", false)] : []),
      ...(now ? [star(now, y, now.role, "circle", false)] : []),
      star(made.designs[0], y, made.designs[0].role, "star", true),
    ];
  };

  function drawMap(made, { shop }) {
    const chosen = made.model;
    const cells = chosen.seen ?? chosen.n;
    const shown = comparing() ? made.designs : [];
    const around = (ends, values) => [Math.min(ends[0], ...values) / 1.3, Math.max(ends[1], ...values) * 1.3];
    const seen = { x: around(cells, shown.map((d) => d.n_cells)), y: around(chosen.u, shown.map((d) => d.umis_per_cell)) };
    const all = levels(planning.bits(chosen, seen.x[0], seen.y[0]), planning.bits(chosen, seen.x[1], seen.y[1]));
    const colour = (i) => data.ramp[Math.round((i / Math.max(all.length - 1, 1)) * (data.ramp.length - 1))];
    const line = comparing() ? [] : offers(chosen, shop, made);
    const name = made.target === undefined ? "what the budget buys" : "what gives the bits";
    const traces = [
      ...all.map((bits, i) => contour(chosen, bits, seen, colour(i))),
      { x: line.map((p) => p.n), y: line.map((p) => p.umis), mode: "lines", name, showlegend: line.length > 1,
        line: { color: BUDGET_COLOUR, width: 4, dash: "dash" }, hoverinfo: "skip" },
      ...stars(made, "umis_per_cell"),
    ];
    const box = { type: "rect", x0: cells[0], x1: cells[1], y0: chosen.u[0], y1: chosen.u[1], layer: "below" };
    charts.draw(part("map"), traces, {
      shapes: [{ ...box, fillcolor: "#eef2f7", line: { color: "#8a97a6", width: 1 } }],
      xaxis: charts.logAxis("training cells", { range: seen.x.map(Math.log10), tickformat: "~s" }),
      yaxis: charts.logAxis("UMIs per cell of the panel", { range: seen.y.map(Math.log10) }),
    });
  }

  /** Along the number of cells, one line a model: bits for the budget, or what the bits cost; a band for the chosen one. */
  function drawAlong(made, { shop, models }) {
    const ofBits = made.target === undefined;
    const traces = models.flatMap((model) => {
      const points = offers(model, shop, made);
      const line = {
        x: points.map((p) => p.n), y: points.map((p) => (ofBits ? p.bits : p.cost)), mode: "lines", name: model.label,
        line: { color: model.colour, width: model === made.model ? 3 : 1.5 }, hoverinfo: "skip",
      };
      if (!ofBits || model !== made.model) return [line];
      const some = points.filter((_, i) => i % 3 === 0 || i === points.length - 1).map((p) => [p.n, ...planning.interval(model, p.n, p.umis)]);
      return [{
        x: [...some.map((p) => p[0]), ...some.map((p) => p[0]).reverse()],
        y: [...some.map((p) => p[2]), ...some.map((p) => p[1]).reverse()],
        fill: "toself", fillcolor: charts.faded(model.colour, 0.2), line: { width: 0 }, mode: "lines", hoverinfo: "skip", name: "95 % interval",
      }, line];
    });
    traces.push(...stars(made, ofBits ? "bits" : "cost"));
    charts.draw(part("along"), traces, {
      xaxis: charts.logAxis(ofBits ? "training cells, the budget spent" : "training cells", { tickformat: "~s" }),
      yaxis: ofBits ? charts.axis("information (bits)", { rangemode: "tozero" }) : charts.logAxis(`cost${currency()}`, { dtick: undefined }),
    });
  }

  const currency = () => (part("kit").value === LINEAR ? "" : ` ${data.prices.currency}`);
  const labelOf = (said) => chosenGroup().models.find((m) => m.said === said).label;
  const withInterval = (d) => `${charts.bits(d.bits)} (${charts.bits(d.bits_low)} to ${charts.bits(d.bits_high)})`;
  const count = (value) => (Number.isInteger(value) ? whole(value) : charts.number(value));

  const ordered = (d, shop) => {
    const title = (name) => [...shop.kits, ...shop.flows].find((card) => card.name === name).title;
    return `${d.kits ? `${count(d.kits)}\u00a0× ${title(d.kit)}; ` : ""}${count(d.flow_cells)}\u00a0× ${title(d.flow_cell)}`;
  };

  const row = (d, shop) => [
    d.inside ? d.role : `${d.role}, outside what was measured`, labelOf(d.model), whole(d.n_cells), whole(d.umis_per_cell), whole(d.library_umis_per_cell), whole(d.reads_per_cell),
    `${Math.round(100 * d.saturation)} %`, withInterval(d), ordered(d, shop), whole(d.cost),
  ];

  const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0]);
  const capital = (words) => words[0].toUpperCase() + words.slice(1);

  function sentence(made) {
    const [best, other] = made.designs;
    const words = [
      `${comparing() ? "Better" : "Best"}: ${labelOf(best.model)} on ${whole(best.n_cells)} cells at ${whole(best.umis_per_cell)} UMIs per cell (${whole(best.reads_per_cell)} ` +
        `reads each): ${charts.bits(best.bits)} bits (95 % ${charts.bits(best.bits_low)} to ${charts.bits(best.bits_high)}) for ${whole(best.cost)}${currency()}.`,
    ];
    if (made.against) {
      const gap = best.bits - made.against.bits;
      words.push(`The ${made.against.role} (${whole(made.against.n_cells)} cells, ${whole(made.against.cost)}${currency()}) gives ` +
        `${charts.bits(Math.abs(gap))} bits ${gap < 0 ? "more" : "less"}, and fewer in ${Math.round(100 * made.ahead)} % of draws; ` +
        `promises err by ${planning.PROMISE_ERROR} bits, ${planning.tie(best, made.against) ? "so that is a tie" : "which is less"}.`);
    }
    if (comparing()) return words.join(" ");
    const now = made.designs.find((d) => d.role === "as it is");
    if (now) words.push(`As it is, the library gives ${withInterval(now)} bits.`);
    const thrifty = made.designs.find((d) => d.role === "cheapest tie");
    if (thrifty?.cost === 0) words.push("Buying nothing is already a tie with it.");
    else if (thrifty) {
      words.push(`The cheapest design that is a tie with it costs ${whole(thrifty.cost)}${currency()}: ${whole(thrifty.n_cells)} cells at ` +
        `${whole(thrifty.umis_per_cell)} UMIs per cell, ${charts.bits(thrifty.bits)} bits.`);
    }
    if (made.ties.length) words.push(`${made.target === undefined ? "It is a tie with" : "It is as cheap with"} ${listed(made.ties.map(labelOf))}.`);
    else if (other && other.role === "another model" && made.target === undefined) {
      words.push(`${labelOf(other.model)} would give ${charts.bits(best.bits - other.bits)} bits less.`);
    }
    return words.join(" ");
  }

  function warnings(made, { shop, known, group }) {
    const [best] = made.designs;
    const words = [];
    if (!known) words.push(`The library's UMIs are not known of ${group.dataset}: the measured panel of genes is taken for the whole library.`);
    if (made.model.status !== "converged") words.push(`The fit of ${made.model.label} is ${made.model.status}: ${made.model.note}.`);
    if (best.bits > made.model.most) words.push(`These are more bits than the most that were measured, ${charts.bits(made.model.most)}.`);
    if (best.reads_paid_per_cell > 1.01 * best.reads_per_cell) {
      words.push(`The invoice pays for ${whole(best.reads_paid_per_cell)} reads per cell (whole flow cells, the vendor's minimum); ` +
        "deeper than was measured, they are not counted on.");
    }
    if (!best.inside) words.push("The design lies outside what was measured.");
    const used = [...(shop.have ? [] : shop.kits), ...shop.flows].filter((card) => [best.kit, best.flow_cell].includes(card.name) && card.assumed.length);
    for (const { title, assumed } of used) {
      words.push(`${capital(listed(assumed.map((field) => data.words[field])))} ${assumed.length > 1 ? "are" : "is"} assumed for “${title}”, ` +
        "since no public source is known: put your quote under Prices.");
    }
    return words;
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
    for (const link of ["designs", "json"]) part(link).removeAttribute("href");
    for (const chart of ["map", "along"]) {
      Plotly.purge(part(chart));
      part(chart).hidden = true;
    }
  }

  /** Selects and fields as the data and the question have them. */
  function arrange() {
    charts.fill(part("group"), data.groups.map((g) => [g.name, g.name]), data.opening);
    charts.fill(part("planned"), [[ALL, "the best of all"], ...chosenGroup().models.map((m) => [m.name, m.label])], ALL);
    charts.fill(part("kit"), [[ALL, "10x 3', kit or lanes"], ...KITS.map((k) => [k.name, k.title]), [LINEAR, "so much a cell, so much a read"]], ALL);
    charts.fill(part("flow"), [[ALL, "the cheapest of all"], ...FLOWS.map((f) => [f.name, f.title])], ALL);
    const linear = part("kit").value === LINEAR;
    for (const name of ["per-cell", "per-million"]) part(name).parentElement.hidden = !linear;
    part("flow").parentElement.hidden = linear;
    for (const [name, shown] of Object.entries({ one: comparing(), two: comparing(), amount: !comparing(), have: !comparing() })) {
      part(name).parentElement.hidden = !shown;
    }
    drawCards(linear ? [] : [...bought(false).kits, ...bought(false).flows]);
    part("unit").textContent = { budget: currency() ? `in${currency()}` : "in any currency", bits: "bits", share: "% of the most that was measured" }[part("question").value];
  }

  /** The cards that are bought from with their sources, and fields for one's own numbers. */
  function drawCards(cards) {
    part("cards").closest("details").hidden = !cards.length;
    const file = { ...data.prices, preparations: {}, sequencing: {} };
    for (const [kind, entries] of [["preparations", KITS], ["sequencing", FLOWS]]) {
      for (const { name, ...entry } of entries.map(mine)) file[kind][name] = entry;
    }
    const json = JSON.stringify(file, null, 1).replace(/([:\s]\d+)e-/g, "$1.0e-"); // YAML takes 4e-7 for a word
    part("prices").href = `data:application/json;charset=utf-8,${encodeURIComponent(json)}`;
    const names = cards.map((card) => card.name).join();
    if (names === shownCards) return;
    shownCards = names;
    part("cards").replaceChildren(...cards.map((card) => {
      const box = document.createElement("fieldset");
      const [title, said, link] = ["legend", "p", "a"].map((tag) => document.createElement(tag));
      title.textContent = card.title;
      [link.href, link.textContent] = [card.url, "source"];
      [said.className, box.className] = ["hint", "price-card"];
      const original = [...KITS, ...FLOWS].find((one) => one.name === card.name);
      const assumed = original.assumed.map((field) => data.words[field]);
      said.append(link, ` of ${card.date}: ${card.source}. ${assumed.length ? `Without a source, and assumed: ${listed(assumed)}.` : ""}`);
      box.append(title, said, ...Object.entries(EDITED).filter(([field]) => original[field] !== undefined).map(([field, [label, low, high]]) => {
        const [outer, input] = ["label", "input"].map((tag) => document.createElement(tag));
        Object.assign(input, { type: "number", inputMode: "decimal", step: "any", min: low, max: high, placeholder: original[field] });
        input.dataset.own = `${card.name}.${field}`;
        input.value = own.get(input.dataset.own) ?? "";
        outer.append(label, input);
        return outer;
      }));
      return box;
    }));
  }

  /** Controls from the address, and the address from the controls; what it does not know, it leaves. */
  function restore() {
    const kept = new URLSearchParams(location.hash.slice(1));
    own.clear();
    filled.clear();
    shownCards = "";
    for (const card of [...KITS, ...FLOWS]) {
      for (const name of Object.keys(EDITED).map((field) => `${card.name}.${field}`)) if (kept.has(name)) own.set(name, kept.get(name));
    }
    arrange();
    for (const name of FIELDS) {
      if (!kept.has(name)) {
        if (part(name).tagName === "INPUT") part(name).value = part(name).defaultValue;
        continue;
      }
      const before = part(name).value;
      part(name).value = kept.get(name);
      if (part(name).tagName === "SELECT" && part(name).selectedIndex < 0) part(name).value = before;
      arrange();
    }
  }

  function keep() {
    const given = FIELDS.filter((name) => text(name) !== "" && !part(name).parentElement.hidden);
    const named = given.filter((name) => !["one", "two"].includes(name) || !(untouched("one") && untouched("two"))).map((name) => [name, text(name)]);
    const state = new URLSearchParams([...named, ...own]);
    try {
      history.replaceState(null, "", `#${state}`);
    } catch { // a page without an address of its own: the plan stands all the same
    }
  }

  function update() {
    arrange();
    clearTimeout(keeping);
    keeping = setTimeout(keep, 200); // browsers throttle pages that write their address at every key
    const input = read();
    const made = input.problem ? input : ask(input);
    if (made.problem) return refuse(made.problem);
    part("said").classList.remove("warned");
    const warned = warnings(made, input);
    say(sentence(made), warned.join(" "));
    charts.rows(part("table"), made.designs.map((d) => row(d, input.shop)));
    charts.download(part("designs"), "plan.csv", made.designs);
    const answer = {
      best: made.designs[0], designs: made.designs, warnings: warned, ties: made.ties, ahead_in_draws: made.ahead ?? null,
      target_bits: made.target, promise_error_bits: planning.PROMISE_ERROR, currency: currency().trim(),
      evidence: input.group.name, library_umis_per_panel_umi: input.shop.factor,
    };
    part("json").href = `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(answer, null, 1))}`;
    part("map").hidden = false;
    part("along").hidden = comparing() || input.shop.have > 0; // at one number of cells there is no line
    drawMap(made, input);
    if (!part("along").hidden) drawAlong(made, input);
  }

  part("question").addEventListener("input", () => {
    part("amount").value = AMOUNTS[part("question").value] ?? part("amount").value;
  });
  part("cards").addEventListener("input", ({ target }) => {
    if (target.value.trim() === "") own.delete(target.dataset.own);
    else own.set(target.dataset.own, target.value.trim());
  });
  root.addEventListener("input", update);
  window.addEventListener("hashchange", () => {
    restore();
    update();
  });
  restore();
  update();
})();
