// Everything can be read without it: it sorts tables by a column, and filters examples.
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
