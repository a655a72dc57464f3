// Strokes over a picture. A mask becomes a black PNG with white strokes; a trajectory JSON, one path a stroke.
const strokes = [];
let drawing = null;

const kind = () => element.querySelector('.ea-editor').dataset.kind;
const canvas = () => element.querySelector('canvas');
const picture = () => element.querySelector('img');
const accent = () => getComputedStyle(element).getPropertyValue('--ea-accent').trim() || '#4f46e5';

// The size of what is drawn on: that of the picture, or of the box where there is none.
const size = () => {
  const image = picture();
  const box = canvas().getBoundingClientRect();
  const given = image.naturalWidth > 1;
  return given ? [image.naturalWidth, image.naturalHeight] : [Math.round(box.width) || 1, Math.round(box.height) || 1];
};

const trace = (context, stroke, width) => {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = 'round';
  context.beginPath();
  stroke.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (stroke.length === 1) context.lineTo(stroke[0][0] + 0.1, stroke[0][1]);
  context.stroke();
};

const brush = () => Math.max(4, Math.min(...size()) / (kind() === 'mask' ? 8 : 80));

const show = () => {
  const [width, height] = size();
  const target = canvas();
  if (!target) return;
  target.width = width;
  target.height = height;
  target.parentElement.classList.toggle('ea-drawn', strokes.length > 0);
  const context = target.getContext('2d');
  context.globalAlpha = kind() === 'mask' ? 0.55 : 1;
  context.strokeStyle = context.fillStyle = accent();
  for (const stroke of strokes) {
    trace(context, stroke, brush());
    if (kind() === 'trajectory') {
      const [x, y] = stroke[stroke.length - 1];
      context.beginPath();
      context.arc(x, y, brush() * 2.4, 0, 7);
      context.fill();
    }
  }
};

const result = () => {
  if (!strokes.length) return '';
  const [width, height] = size();
  if (kind() === 'trajectory') {
    const paths = strokes.map((stroke) => stroke.map(([x, y]) => ({ x: Math.round(x * 10) / 10, y: Math.round(y * 10) / 10 })));
    return JSON.stringify({ width, height, paths });
  }
  const made = document.createElement('canvas');
  made.width = width;
  made.height = height;
  const context = made.getContext('2d');
  context.fillRect(0, 0, width, height);
  context.strokeStyle = '#fff';
  strokes.forEach((stroke) => trace(context, stroke, brush()));
  return made.toDataURL('image/png');
};

let told = '';
const tell = () => {
  show();
  told = result();
  props.value = told;
  trigger('change');
};

const place = (event) => {
  const box = canvas().getBoundingClientRect();
  const [width, height] = size();
  const inside = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    inside(((event.clientX - box.left) / box.width) * width, width),
    inside(((event.clientY - box.top) / box.height) * height, height),
  ];
};

element.addEventListener('pointerdown', (event) => {
  if (event.target !== canvas()) return;
  event.preventDefault();
  drawing = [place(event)];
  strokes.push(drawing);
  show();
});
element.addEventListener('pointermove', (event) => {
  if (!drawing) return;
  drawing.push(place(event));
  show();
});
window.addEventListener('pointerup', () => {
  if (!drawing) return;
  drawing = null;
  tell();
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do === 'undo') strokes.pop();
  else strokes.length = 0;
  tell();
});

// The picture below stands elsewhere on the page, since gradio replaces what is in here.
const below = document.querySelector(BELOW);
const follow = () => {
  const given = below && below.querySelector('img');
  const image = picture();
  if (!image) return;
  image.hidden = !given;
  image.onload = show;
  image.src = given ? given.src : '';
  show();
};
if (below) new MutationObserver(follow).observe(below, { childList: true, subtree: true });
// Settings that come back from the history.
watch('value', () => {
  if (props.value !== told) {
    told = props.value || '';
    strokes.length = 0;
    if (kind() === 'trajectory' && told) {
      try {
        for (const path of JSON.parse(told).paths) strokes.push(path.map((point) => [point.x, point.y]));
      } catch { /* what cannot be shown is still sent */ }
    }
  }
  follow();
});
watch(['usable', 'title', 'hint'], follow);
requestAnimationFrame(follow);
