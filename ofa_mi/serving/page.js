'use strict';
// Colours by Okabe and Ito (2008), which people with any kind of colour blindness can tell apart.
const COLOURS = ['#d55e00', '#0072b2', '#009e73', '#cc79a7', '#b8860b'];
const REGION = '#56b4e9', OPTION = '#8a63d2', TRUTH = '#009e73';
const MOST_BYTES = 8 << 20; // of a file that is sent as it is; larger ones are made smaller
const LARGEST_SIDE = 2048;
const $ = (id) => document.getElementById(id);
const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
const svg = (name, attributes) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};
const state = { tasks: new Map(), examples: [], image: null, answers: [], selected: null, example: null, asking: 0 };

// -- values of the form

const isBox = (value) => Array.isArray(value) && value.length === 4 && value.every((c) => typeof c === 'number');

function richText(text) { // text, or text that mentions regions, as JSON
  if (text.trimStart().startsWith('[')) {
    try { return JSON.parse(text); } catch { /* text that begins with a bracket */ }
  }
  return text;
}
const written = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);
const kind = () => document.querySelector('input[name=kind]:checked').value;
const task = () => state.tasks.get($('task').value);

function boxesIn(value) {
  if (isBox(value)) return [value];
  return Array.isArray(value) ? value.flatMap(boxesIn) : [];
}
const regions = () => [...$('regions').children].map((item) =>
  [...item.querySelectorAll('input')].map((input) => Number(input.value)));

function shownInputs() { // names of the parts of the form that the question has
  if (kind() === 'own') { // texts that it mentions; regions and options follow it if it does not
    const mentioned = ['context', 'question', 'text'].filter((name) => $('instruction').value.includes(`{${name}}`));
    return [...mentioned, 'region', 'options'];
  }
  return (task()?.inputs ?? []).map((name) => (name.startsWith('region') ? 'region' : name));
}

function refresh() {
  $('with-task').hidden = kind() !== 'task';
  $('with-own').hidden = kind() !== 'own';
  const shown = shownInputs();
  for (const part of document.querySelectorAll('[data-input]')) part.hidden = !shown.includes(part.dataset.input);
  $('strip-panel').hidden = kind() !== 'task';
  drawMarks();
}

function question() {
  const shown = shownInputs(), asked = {};
  if (kind() === 'task') asked.task = $('task').value;
  else asked.instruction = $('instruction').value;
  if (kind() === 'own' && $('output').value) asked.output = $('output').value;
  if (shown.includes('region')) asked.region = regions();
  for (const name of ['question', 'text']) {
    if (shown.includes(name) && $(name).value.trim()) asked[name] = richText($(name).value);
  }
  if (shown.includes('context')) {
    const parts = lines($('context').value).map(richText);
    if (parts.length) asked.context = parts;
  }
  if (shown.includes('options')) {
    const options = lines($('options').value).map(richText);
    if (options.length) asked.options = options;
  }
  return asked;
}

// -- the image

async function setImage(blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error('The browser cannot show this file as an image.');
  }
  if (blob.size > MOST_BYTES) {
    URL.revokeObjectURL(url);
    return setImage(await smaller(image));
  }
  if (state.image) URL.revokeObjectURL(state.image.url);
  state.image = { blob, url, width: image.naturalWidth, height: image.naturalHeight };
  $('image').src = url;
  $('image').classList.toggle('small', Math.max(image.naturalWidth, image.naturalHeight) < 400);
  await $('image').decode();
  forgetAnswers();
  refreshImage();
  return undefined;
}

function smaller(image) {
  const scale = Math.min(1, LARGEST_SIDE / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = make('canvas', { width: image.naturalWidth * scale, height: image.naturalHeight * scale });
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92));
}

function clearImage() {
  if (state.image) URL.revokeObjectURL(state.image.url);
  state.image = null;
  $('image').removeAttribute('src');
  forgetAnswers();
  refreshImage();
}

function refreshImage() {
  $('image').hidden = !state.image;
  $('marks').toggleAttribute('hidden', !state.image); // SVG elements have no property of that name
  $('empty').hidden = Boolean(state.image);
  place();
  drawMarks();
}

function place() { // marks and heat lie exactly on the image
  if (!state.image) return;
  const { offsetLeft, offsetTop, clientWidth, clientHeight } = $('image');
  for (const layer of [$('marks'), $('heat')]) {
    Object.assign(layer.style, {
      left: offsetLeft + 'px', top: offsetTop + 'px', width: clientWidth + 'px', height: clientHeight + 'px',
    });
  }
  $('marks').setAttribute('viewBox', `0 0 ${clientWidth} ${clientHeight}`);
}

function drawMarks(pending = null) {
  $('marks').replaceChildren();
  $('legend').replaceChildren();
  if (!state.image) return;
  const scale = $('image').clientWidth / state.image.width;
  const known = new Set();
  const mark = (box, colour, label, legend, { dashed = false, below = false, shift = 0 } = {}) => {
    const [x0, y0, x1, y1] = box.map((c) => c * scale);
    const [width, height] = [Math.max(0, x1 - x0), Math.max(0, y1 - y0)];
    const rect = svg('rect', { x: x0, y: y0, width, height, stroke: colour });
    if (dashed) rect.setAttribute('stroke-dasharray', '7 5');
    const text = svg('text', { x: x0 + 5 + shift, y: below ? y1 - 6 : y0 + 15, fill: colour });
    text.textContent = label;
    $('marks').append(rect, text);
    if (legend && !known.has(legend)) {
      known.add(legend);
      const swatch = make('i');
      swatch.style.borderColor = colour;
      if (dashed) swatch.style.borderStyle = 'dashed';
      $('legend').append(make('span', { className: 'key' }, swatch, legend));
    }
  };
  const shown = shownInputs();
  if (shown.includes('options')) {
    lines($('options').value).map(richText).forEach((option, i) =>
      boxesIn(option).forEach((box) => mark(box, OPTION, `option ${i + 1}`, 'options', { below: true })));
  }
  if (shown.includes('region')) regions().forEach((box, i) => mark(box, REGION, String(i + 1), 'regions'));
  state.example?.answer_boxes.forEach((box) => mark(box, TRUTH, '', 'the right answer', { dashed: true }));
  state.answers.forEach((answer, i) => {
    if (state.selected === null || state.selected === i) {
      const colour = COLOURS[i % COLOURS.length]; // numbers of answers that agree stand beside each other
      answer.boxes.forEach((box) => mark(box, colour, String(i + 1), `answer ${i + 1}`, { shift: 13 * i }));
    }
  });
  if (pending) mark(pending, REGION, '', null);
  drawHeat();
}

function drawHeat() {
  const chosen = state.answers[state.selected ?? 0];
  const attention = $('look').checked ? chosen?.attention : null;
  $('heat').hidden = $('layer-label').hidden = $('scale').hidden = !attention;
  if (!attention) return;
  const { columns, rows, layers } = attention;
  if ($('layer').options.length !== layers.length + 1) {
    $('layer').replaceChildren(new Option('all', ''), ...layers.map((_, i) => new Option(String(i + 1), String(i))));
  }
  const picked = $('layer').value === '' ? layers : [layers[Number($('layer').value)]];
  const weights = Array.from({ length: columns * rows }, (_, i) => picked.reduce((sum, layer) => sum + layer[i], 0));
  const even = weights.reduce((a, b) => a + b, 0) / weights.length;
  $('heat').width = columns;
  $('heat').height = rows;
  const context = $('heat').getContext('2d');
  const pixels = context.createImageData(columns, rows);
  weights.forEach((weight, i) => { // orange above what even attention would be, violet below, opaque at eight times
    const times = Math.log2(Math.max(weight / even, 1e-6));
    const [red, green, blue] = times > 0 ? [230, 97, 1] : [94, 60, 153];
    pixels.data.set([red, green, blue, 255 * Math.min(0.9, Math.abs(times) / 3)], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
}

// -- regions

function addRegion(box) {
  const inputs = box.map((value, i) => {
    const input = make('input', { type: 'number', value: String(Math.round(value * 10) / 10), step: 'any' });
    input.setAttribute('aria-label', ['left', 'top', 'right', 'bottom'][i]);
    input.addEventListener('input', changed);
    return input;
  });
  const remove = make('button', { type: 'button', textContent: '×', title: 'remove this region' });
  remove.setAttribute('aria-label', 'remove this region');
  const item = make('li', {}, make('div', {}, ...inputs, remove));
  remove.addEventListener('click', () => { item.remove(); changed(); });
  $('regions').append(item);
}

function drawn(box) {
  const [x0, y0, x1, y1] = box;
  if (x1 - x0 < 2 || y1 - y0 < 2) return;
  const rounded = box.map((c) => Math.round(c * 10) / 10);
  const shown = shownInputs();
  if (shown.includes('options') && ($('as-option').checked || !shown.includes('region'))) {
    const text = $('options').value.replace(/\s+$/, '');
    $('options').value = (text ? text + '\n' : '') + JSON.stringify(rounded);
  } else if (shown.includes('region')) {
    const wanted = kind() === 'task' ? wantedRegions() : Infinity;
    while ($('regions').children.length >= wanted) $('regions').firstChild.remove();
    addRegion(rounded);
  } else {
    say('This task has no region; choose another one, or write your own instruction.', true);
  }
  changed();
}

function wantedRegions() {
  const inputs = task()?.inputs ?? [];
  if (inputs.includes('region')) return 1;
  return inputs.includes('region_1') ? 2 : Infinity;
}

let start = null;
function position(event) {
  const frame = $('image').getBoundingClientRect();
  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    clamp(((event.clientX - frame.left) / frame.width) * state.image.width, state.image.width),
    clamp(((event.clientY - frame.top) / frame.height) * state.image.height, state.image.height),
  ];
}
const span = ([x0, y0], [x1, y1]) => [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
$('stage').addEventListener('pointerdown', (event) => {
  const touch = event.pointerType !== 'mouse';
  if (!state.image || event.button || (touch && !$('stage').classList.contains('drawing'))) return;
  event.preventDefault();
  $('stage').setPointerCapture(event.pointerId);
  start = position(event);
});
$('stage').addEventListener('pointermove', (event) => { if (start) drawMarks(span(start, position(event))); });
$('stage').addEventListener('pointerup', (event) => {
  if (!start) return;
  const box = span(start, position(event));
  start = null;
  setDrawing(false);
  drawMarks();
  drawn(box);
});
$('stage').addEventListener('pointercancel', () => { start = null; drawMarks(); });
function setDrawing(on) {
  $('stage').classList.toggle('drawing', on);
  $('draw').setAttribute('aria-pressed', String(on));
}
$('draw').addEventListener('click', () => setDrawing(!$('stage').classList.contains('drawing')));
$('add').addEventListener('click', () => {
  if (!state.image) return say('A region needs an image.', true);
  const { width, height } = state.image;
  drawn([width / 4, height / 4, (3 * width) / 4, (3 * height) / 4]);
  return $('regions').lastChild?.querySelector('input')?.focus();
});

// -- images from elsewhere

async function take(file) {
  try {
    state.example = null;
    await setImage(file);
    $('regions').replaceChildren();
    changed();
    say('');
  } catch (error) {
    say(error.message, true);
  }
}
$('file').addEventListener('change', () => {
  if ($('file').files.length) take($('file').files[0]);
  $('file').value = '';
});
$('clear').addEventListener('click', () => {
  state.example = null;
  $('regions').replaceChildren();
  clearImage();
  refresh();
});
document.addEventListener('dragover', (event) => { event.preventDefault(); $('stage').classList.add('over'); });
document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) $('stage').classList.remove('over'); });
document.addEventListener('drop', (event) => {
  event.preventDefault();
  $('stage').classList.remove('over');
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});
document.addEventListener('paste', (event) => {
  const file = [...event.clipboardData.files].find((found) => found.type.startsWith('image/'));
  if (file) take(file);
});

// -- examples

function showExamples() {
  $('description').textContent = task()?.description ?? '';
  const found = state.examples.filter((example) => example.task === $('task').value);
  $('strip').replaceChildren(...found.map((example) => {
    const { question: asked, text, options } = example.inputs;
    const words = [asked, text].filter((part) => typeof part === 'string').join(' ') ||
      (options ?? []).filter((option) => typeof option === 'string').join(', ');
    const button = make('button', { type: 'button' });
    if (example.image !== null) button.append(make('img', { src: `examples/${example.image}`, alt: '' }));
    button.append(make('span', { textContent: words || 'an example' }));
    button.addEventListener('click', () => useExample(example));
    return button;
  }));
  $('strip-panel').hidden = kind() !== 'task' || !found.length;
  return found;
}

async function useExample(example) {
  const { inputs } = example;
  $('question').value = written(inputs.question ?? '');
  $('text').value = written(inputs.text ?? '');
  $('context').value = (inputs.context ?? []).map(written).join('\n');
  $('options').value = (inputs.options ?? []).map(written).join('\n');
  $('regions').replaceChildren();
  inputs.region.forEach(addRegion);
  if (example.image === null) clearImage();
  else {
    try {
      await setImage(await (await fetch(`examples/${example.image}`)).blob());
    } catch (error) {
      say(error.message, true);
    }
  }
  state.example = example;
  say('');
  refresh();
}

// -- asking

function say(text, trouble = false) {
  $('status').textContent = text;
  $('status').classList.toggle('trouble', trouble);
}

function forgetAnswers() {
  state.answers = [];
  state.selected = null;
  state.asking += 1; // an answer that is still on its way is of another question
  $('results').hidden = true;
}

function changed() { // the question is no longer that of the example, or of the answers
  state.example = null;
  forgetAnswers();
  drawMarks();
}

function base64(blob) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.onerror = () => fail(new Error('The image cannot be read.'));
    reader.readAsDataURL(blob);
  });
}

async function ask(event) {
  event.preventDefault();
  const example = state.example;
  forgetAnswers();
  const number = state.asking;
  $('ask').disabled = true;
  say('Asking …');
  try {
    const body = { questions: [question()], mode: $('mode').value, scores: true, attention: true };
    if (state.image) body.image = await base64(state.image.blob);
    const began = performance.now();
    const reply = await fetch('api/predict', {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    });
    const content = await reply.json();
    if (!reply.ok) throw new Error(content.error);
    if (number !== state.asking) return say('');
    const count = content.answers[0].length;
    say(`${count} ${count > 1 ? 'answers' : 'answer'} in ${((performance.now() - began) / 1000).toFixed(2)} s`);
    showAnswers(content.answers[0], example);
  } catch (error) {
    say(error instanceof TypeError ? 'The server does not answer.' : error.message, true);
  } finally {
    $('ask').disabled = false;
  }
  return undefined;
}

function showAnswers(answers, example) {
  state.answers = answers;
  state.selected = null;
  $('results').hidden = false;
  const truth = example && (example.answer || (example.answer_boxes.length ? 'the dashed box' : ''));
  $('truth').textContent = truth ? `Right answer: ${truth}` : '';
  $('answers').replaceChildren(...answers.map(card));
  drawMarks();
  $('results').scrollIntoView({ block: 'nearest' });
}

function card(answer, i) {
  const button = make('button', { type: 'button', className: 'answer' });
  button.style.setProperty('--colour', COLOURS[i % COLOURS.length]);
  button.setAttribute('aria-pressed', 'false');
  button.append(make('div', { className: 'instruction', textContent: `${i + 1}. ${answer.instruction}` }));
  const said = answer.text || (answer.boxes.length ? '' : '(nothing)');
  button.append(make('div', { className: 'said', textContent: said }));
  for (const box of answer.boxes) {
    button.append(make('div', { className: 'box', textContent: `[${box.map((c) => c.toFixed(1)).join(', ')}]` }));
  }
  if (answer.option_probabilities) button.append(optionList(answer));
  button.addEventListener('click', () => {
    state.selected = state.selected === i ? null : i;
    [...$('answers').children].forEach((other, j) => other.setAttribute('aria-pressed', String(j === state.selected)));
    drawMarks();
  });
  return button;
}

function optionList(answer) {
  const list = make('dl');
  answer.option_probabilities.forEach((probability, i) => {
    const meter = make('meter', { min: 0, max: 1, value: probability });
    const share = make('dd', { textContent: `${(100 * probability).toFixed(1)}%` });
    const place = /^\[[\d., ]+\]$/.test(answer.options[i]); // it has its number on the image
    const name = make('dt', { textContent: place ? `option ${i + 1}` : answer.options[i] });
    list.append(make('div', {}, name, make('dd', {}, meter), share));
  });
  return list;
}

// -- start

$('form').addEventListener('submit', ask);
$('form').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('form').requestSubmit();
});
for (const id of ['question', 'text', 'context', 'options', 'instruction']) $(id).addEventListener('input', changed);
$('instruction').addEventListener('input', refresh);
for (const id of ['mode', 'output']) $(id).addEventListener('change', forgetAnswers);
for (const radio of document.querySelectorAll('input[name=kind]')) {
  radio.addEventListener('change', () => { changed(); showExamples(); refresh(); });
}
$('task').addEventListener('change', () => {
  const [first] = showExamples();
  changed();
  if (first) useExample(first);
  refresh();
});
$('look').addEventListener('change', drawHeat);
$('layer').addEventListener('change', drawHeat);
new ResizeObserver(() => { place(); drawMarks(); }).observe($('stage'));

async function begin() {
  const [about, tasks] = await Promise.all(['api/about', 'api/tasks'].map(async (path) => (await fetch(path)).json()));
  $('model').textContent = about.model;
  document.title = `${about.model} · OFA-MI`;
  state.examples = about.examples;
  state.tasks = new Map(tasks.map((found) => [found.name, found]));
  const known = new Set(about.examples.map((example) => example.task));
  const groups = [
    ['Evaluation tasks', (found) => known.has(found.name) && found.split === 'eval' && found.benchmark],
    ['Further evaluation tasks', (found) => known.has(found.name) && found.split === 'eval' && !found.benchmark],
    ['Training tasks', (found) => known.has(found.name) && found.split === 'train'],
    ['Without an example here', (found) => !known.has(found.name)],
  ];
  for (const [label, belongs] of groups) {
    const options = tasks.filter(belongs).map((found) => new Option(found.name.replaceAll('_', ' '), found.name));
    if (options.length) $('task').append(make('optgroup', { label }, ...options));
  }
  $('task').selectedIndex = 0;
  const [first] = showExamples();
  refresh();
  if (first) await useExample(first);
  document.documentElement.dataset.ready = 'true';
}
begin().catch(() => say('The server does not answer.', true));
