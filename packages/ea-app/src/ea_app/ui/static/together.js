// Two videos side by side play, pause and jump together.
const others = (video) => [...element.querySelectorAll('video')].filter((one) => one !== video);
const follow = (name, act) => element.addEventListener(
  name, ({ target }) => others(target).forEach((one) => act(one, target)), true,
);
const place = (one, target) => {
  if (Math.abs(one.currentTime - target.currentTime) > 0.15) one.currentTime = target.currentTime;
};
follow('play', (one, target) => { place(one, target); if (one.paused) one.play().catch(() => {}); });
follow('pause', (one) => { if (!one.paused && !one.ended) one.pause(); });
follow('seeked', place);
