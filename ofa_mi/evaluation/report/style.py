"""Style sheet and script of the report's page, beside those of every page (:mod:`ofa_mi.document.page`)."""

from ofa_mi.evaluation.report.charts import COLOURS
from ofa_mi.evaluation.report.charts import STYLE as CHART_STYLE

STYLE = (
    CHART_STYLE
    + """
body { max-width: 1280px; }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .4rem; font-size: .88rem; }
nav a, .toolbar select { color: inherit; background: var(--panel); border: 1px solid var(--line); border-radius: 999px;
  padding: .25rem .75rem; text-decoration: none; }
nav a:hover { border-color: rgb(var(--accent)); }
h1, h2, h3, p { overflow-wrap: anywhere; }
h2 { scroll-margin-top: 1rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
:focus-visible { outline: 2px solid rgb(var(--accent)); outline-offset: 2px; }
figure { margin: 0; padding: 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .6rem; }
.chart { display: block; width: 100%; max-width: 450px; height: auto; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: .75rem;
  margin: .75rem 0; align-items: start; }
.side > div { min-width: 0; }
.side .scroll { margin: .25rem 0 .75rem; }
.side h3 { margin-top: .25rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; padding: .3rem 0; }
figure details { margin: .5rem 0 0; }
figure .scroll { border: 0; margin: 0; }
figure .scroll table { font-size: .82rem; }
.items { margin: .5rem 0; padding-left: 1.2rem; max-width: 60rem; }
.items li { margin: .25rem 0; overflow-wrap: anywhere; }
thead th { white-space: normal; }
thead th:first-child { min-width: 8rem; }
tbody th, thead th { overflow-wrap: break-word; }
tr.total td span { font-weight: 400; }
table.dense { font-size: .8rem; }
table.dense small { font-size: .7rem; }
table.dense thead th { font-size: .74rem; }
table.dense td span { display: block; font-size: .95em; }
tr.paper th small { white-space: nowrap; }
table.dense th, table.dense td { padding: .35rem .3rem; }
table.dense tbody th, table.dense thead th:first-child { min-width: 7.4rem; }
td.soft { color: var(--soft); }
td.soft b { font-weight: 400; }
tr.paper th, tr.paper td { color: var(--soft); border-top-style: dashed; font-size: .95em; }
tr.paper td b { font-weight: 400; }
tr.level th, tr.level td { color: var(--soft); font-style: italic; }
table.words td { text-align: left; overflow-wrap: anywhere; min-width: 7rem; max-width: 26rem; }
table.words thead th { text-align: left; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
.side .heat td { min-width: 2.5rem; padding: .4rem .2rem; }
.heat td { background: rgba(var(--accent), calc(var(--heat, 0) * .62)); }
.toolbar { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .75rem 0; font-size: .9rem; }
.toolbar label { display: flex; gap: .35rem; align-items: center; color: var(--soft); }
.toolbar select { font: inherit; color: var(--ink); max-width: 15rem; }
.toolbar output { color: var(--soft); }
.task > summary { font-weight: 600; color: var(--ink); font-size: 1rem; border-bottom: 1px solid var(--line); }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); margin: .75rem 0; }
[hidden] { display: none !important; }
.maps { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); }
.maps figure { min-width: 0; }
img.map { display: block; width: 100%; min-width: 560px; height: auto; }
.picture { background: var(--line); }
.picture > div { position: relative; margin: 0 auto; }
.card img.image { display: block; width: 100%; height: auto; max-height: none; }
.card img.tiny { image-rendering: pixelated; }
.boxes { position: absolute; inset: 0; width: 100%; height: 100%; }
.boxes rect { fill: none; stroke-width: 2; stroke: currentColor; vector-effect: non-scaling-stroke; }
.boxes .edge { stroke: #000; stroke-width: 4; opacity: .55; }
.boxes text { font: 700 10.5px system-ui, sans-serif; fill: currentColor; paint-order: stroke; stroke: #000;
  stroke-width: 3px; stroke-linejoin: round; }
.boxes .truth { color: #ffffff; } .boxes .truth rect:not(.edge) { stroke-dasharray: 6 4; }
.boxes .region { color: #ffe14d; } .boxes .option { color: #c9d1da; } .boxes .option rect { stroke-width: 1.2; }
.card .body { padding: .6rem .9rem .8rem; }
.card p { margin: .25rem 0; }
.tag { color: var(--soft); font-size: .78rem; overflow-wrap: anywhere; }
.card .prompt { max-height: 8rem; overflow-y: auto; overflow-wrap: anywhere; }
.answers { font-size: .86rem; margin-top: .4rem; }
.answers th, .answers td { padding: .28rem .3rem; text-align: left; min-width: 0; position: static; background: none; }
.answers th { white-space: nowrap; font-weight: 500; color: var(--soft); width: 1%; }
.answers td { overflow-wrap: anywhere; }
.answers td:last-child { text-align: right; white-space: nowrap; width: 1%; }
.answers td span { display: inline; }
.answers .truth th, .answers .truth td { color: var(--ink); font-weight: 600; border-top: 0; }
.dot { display: inline-block; width: .6rem; height: .6rem; border-radius: 50%; margin-right: .4rem; }
.dot.truth { border: 2px dashed var(--ink); }
@media (max-width: 640px) {
  body { padding: 1rem .8rem 3rem; }
  figure { padding: .7rem; }
  nav { flex-wrap: nowrap; overflow-x: auto; margin: 1rem -.8rem; padding: .15rem .8rem; }
  nav a { white-space: nowrap; }
  tbody th, thead th:first-child { min-width: 6.6rem; max-width: 8.4rem; }
  .scroll thead th { min-width: 4.6rem; }
  .scroll .heat thead th { min-width: 2.4rem; }
  .scroll .dense thead th { min-width: 3.4rem; }
  .scroll table.dense tbody th, .scroll table.dense thead th:first-child { min-width: 5.8rem; }
  .heat tbody th, .scroll .heat thead th:first-child { min-width: 7.4rem; max-width: 8.4rem; }
  .toolbar label { width: 100%; justify-content: space-between; }
  .toolbar select { max-width: 68%; }
  .answers tbody th { min-width: 0; max-width: none; }
}
"""
    + "".join(f".b{i} {{ background: var(--s{i}); }}\n" for i in range(COLOURS))
    # Boxes lie on photos in both modes, so they take the light tones of the dark one.
    + ".boxes { --s0: #c3ccd6; --s1: #4ea8e6; --s2: #ff9a5c; --s3: #35c99b; --s4: #f2a5d3; --s5: #e8b53c; "
    "--s6: #8fd3ff; --s7: #bdb6ff; }\n"
    + "".join(
        f".boxes .l{i} {{ color: var(--s{i}); }}\n"
        # Pointing at an answer shows its box alone.
        f".card:has([data-s='{i}']:is(tr):hover) .boxes g[data-s]:not([data-s='{i}']) {{ opacity: .12; }}\n"
        for i in range(COLOURS)
    )
)

# Everything can be read without it: it sorts tables by a column, and filters examples.
SCRIPT = """
'use strict';
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const original = [...body.rows];
  const key = (row, column) => {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.key ?? cell.textContent);
    return Number.isNaN(number) ? null : number;
  };
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.title = 'sort by this column';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const next = { descending: 'ascending', ascending: 'none' }[head.getAttribute('aria-sort')] || 'descending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      let rows = [...original];
      if (next !== 'none') {
        head.setAttribute('aria-sort', next);
        const sign = next === 'ascending' ? 1 : -1;
        rows.sort((a, b) => {
          const x = key(a, column), y = key(b, column);
          if (column === 0) return sign * a.cells[0].textContent.localeCompare(b.cells[0].textContent);
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (x - y);
        });
      }
      body.append(...rows);
    });
  });
}

const list = document.getElementById('examples-list');
if (list) {
  const tasks = [...list.querySelectorAll('.task')];
  const cards = [...list.querySelectorAll('.card')];
  const bar = document.createElement('div');
  bar.className = 'toolbar';
  bar.id = 'examples-toolbar';
  const choice = (name, options) => {
    const label = document.createElement('label');
    const select = document.createElement('select');
    select.name = name;
    for (const [value, text] of options) select.add(new Option(text, value));
    label.append(name + ' ', select);
    bar.append(label);
    select.addEventListener('change', show);
    return select;
  };
  const tag = (card) => card.querySelector('.tag').textContent.split(' · ')[0];
  const kinds = new Map(cards.map((card) => [card.dataset.kind, tag(card)]));
  const names = JSON.parse(list.dataset.strategies);
  const answers = names.flatMap((name, i) => [['right ' + i, name + ' right'], ['wrong ' + i, name + ' wrong']]);
  const task = choice('task', [['', 'all'], ...tasks.map((t) => [t.dataset.task, t.dataset.task])]);
  const kind = choice('chosen', [['', 'all'], ...kinds]);
  const answer = choice('answers', [['', 'all'], ...answers]);
  const count = document.createElement('output');
  bar.append(count);
  list.before(bar);

  function fits(card) {
    if (kind.value && card.dataset.kind !== kind.value) return false;
    if (!answer.value) return true;
    const [what, number] = answer.value.split(' ');
    const right = card.dataset.right.split(' ').includes(number);
    return card.dataset.asked.split(' ').includes(number) && right === (what === 'right');
  }
  function show() {
    let shown = 0;
    const filtered = Boolean(task.value || kind.value || answer.value);
    for (const section of tasks) {
      const here = [...section.querySelectorAll('.card')];
      here.forEach((card) => { card.hidden = !fits(card); });
      const left = here.filter((card) => !card.hidden).length;
      section.hidden = left === 0 || Boolean(task.value && section.dataset.task !== task.value);
      if (!section.hidden) shown += left;
      if (filtered && !section.hidden) section.open = true;
    }
    count.textContent = shown + ' of ' + cards.length + ' examples';
  }
  show();
}
"""
