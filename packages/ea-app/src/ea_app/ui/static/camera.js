// Moves one after the other, as words for the camera path: "pan left + zoom in 0.5, then clockwise".
const parts = [];

const words = () => parts.map((part) => {
  const moves = [part.move, part.second].filter(Boolean).map((move) => (part.speed === 1 ? move : `${move} ${part.speed}`));
  return moves.join(' + ') + (part.frames ? ` for ${part.frames}` : '');
}).join(', then ');

const choice = (part, key, empty) => {
  const select = document.createElement('select');
  for (const name of [...(empty ? [''] : []), ...Object.keys(MOVES)]) {
    const option = document.createElement('option');
    option.value = name;
    option.textContent = name ? props.moves[name] : props.also;
    option.selected = part[key] === name;
    select.append(option);
  }
  select.setAttribute('aria-label', key);
  select.addEventListener('change', () => { part[key] = select.value; tell(); });
  return select;
};

const number = (part, key, label, step) => {
  const input = document.createElement('input');
  Object.assign(input, { type: 'number', min: 0, step, placeholder: 'auto', value: part[key] || '' });
  input.setAttribute('aria-label', label);
  input.addEventListener('change', () => { part[key] = Math.max(0, Number(input.value)) || (key === 'speed' ? 1 : 0); tell(); });
  const named = document.createElement('label');
  named.append(label, input);
  return named;
};

const show = () => {
  const line = element.querySelector('.ea-timeline');
  line.replaceChildren(...parts.map((part, at) => {
    const box = document.createElement('div');
    box.className = 'ea-part';
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.textContent = '×';
    remove.setAttribute('aria-label', props.remove);
    remove.addEventListener('click', () => { parts.splice(at, 1); tell(); });
    box.append(choice(part, 'move', false), choice(part, 'second', true), number(part, 'speed', props.speed, 0.1), number(part, 'frames', props.frames, 1), remove);
    return box;
  }));
  draw();
};

// The path from above: x to the right, forwards up; a turn is an arc at its place.
const draw = () => {
  const canvas = element.querySelector('canvas');
  const context = canvas.getContext('2d');
  const style = getComputedStyle(canvas);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const points = [[0, 0, 0, 0]];
  for (const part of parts) {
    const motion = [0, 0, 0, 0];
    for (const move of [part.move, part.second].filter(Boolean)) MOVES[move].forEach((value, at) => { motion[at] += value * part.speed; });
    const [x, y, z, turn] = points[points.length - 1];
    points.push([x - motion[0], y - motion[1], z - motion[2], turn + motion[3]]);
  }
  const flat = points.map(([x, y, z]) => [x, -z - y * 0.5]);
  const spans = [0, 1].map((axis) => Math.max(...flat.map((point) => point[axis])) - Math.min(...flat.map((point) => point[axis])));
  const scale = Math.min(110, canvas.width * 0.7 / (spans[0] || 1), canvas.height * 0.6 / (spans[1] || 1));
  const middle = [0, 1].map((axis) => (Math.max(...flat.map((p) => p[axis])) + Math.min(...flat.map((p) => p[axis]))) / 2);
  const at = (point) => [canvas.width / 2 + (point[0] - middle[0]) * scale, canvas.height / 2 + (point[1] - middle[1]) * scale];
  context.strokeStyle = context.fillStyle = style.color;
  context.lineWidth = 3;
  context.beginPath();
  flat.forEach((point, index) => context[index ? 'lineTo' : 'moveTo'](...at(point)));
  context.stroke();
  flat.forEach((point, index) => {
    context.beginPath();
    context.arc(...at(point), index ? 5 : 7, 0, 7);
    context[index ? 'fill' : 'stroke']();
    const turned = index ? points[index][3] - points[index - 1][3] : 0;
    if (turned) {
      context.beginPath();
      context.arc(...at(point), 16, -1.57, -1.57 - turned, turned > 0);
      context.stroke();
    }
  });
};

const tell = () => {
  show();
  props.value = words();
  trigger('change');
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do === 'add') parts.push({ move: 'pan left', second: '', speed: 1, frames: 0 });
  else parts.length = 0;
  tell();
});
watch('value', show);
watch(['add', 'clear', 'moves'], show);
show();
